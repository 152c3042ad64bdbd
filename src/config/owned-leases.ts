// Leases that sessions own: which are to be revoked when a session is closed as such.
// Guarantees: a lease is owned by the session that granted or kept it alive last, and is given out for revocation once, and only for a
// session that its client closed. Bounded for each session. Must not: revoke (its caller does), read a clock.
import type { LeaseId } from "../wire/config.ts";
import { MAX_OWNED_LEASES, TAKEOVER_EXTENSION_MS } from "./limits.ts";

/** One session as an owner. */
export interface LeaseOwner {
  /** `closed`: by its client, in order. `cut`: in any other way. */
  state: "open" | "closed" | "cut";
  readonly leases: Map<string, OwnedLease>;
}

export interface OwnedLease {
  /** The object's name. */
  readonly keyspace: string;
  readonly lease: LeaseId;
  /** When it has ended at the latest unless it is kept alive. Ms. */
  readonly overMs: number;
}

export function newLeaseOwner(): LeaseOwner {
  return { state: "open", leases: new Map() };
}

export class OwnedLeases {
  readonly #owners = new Map<string, LeaseOwner>();

  get size(): number {
    return this.#owners.size;
  }

  /** False = the session owns as many as it may. */
  hasRoom({ leases }: LeaseOwner, nowMs: number): boolean {
    if (leases.size < MAX_OWNED_LEASES) return true;
    for (const [id, { overMs }] of leases) if (overMs < nowMs) this.#forget(id);
    return leases.size < MAX_OWNED_LEASES;
  }

  /** The lease was granted or kept alive for this session. What it gives must be revoked: its session was closed meanwhile. */
  own(
    owner: LeaseOwner,
    { keyspace, lease, ttlMs, nowMs }: { keyspace: string; lease: LeaseId; ttlMs: number; nowMs: number },
  ): OwnedLease | undefined {
    const id = `${keyspace} ${lease}`;
    this.#forget(id);
    const owned = { keyspace, lease, overMs: nowMs + ttlMs + TAKEOVER_EXTENSION_MS };
    if (owner.state === "closed") return owned;
    if (owner.state === "cut") return undefined;
    this.#owners.set(id, owner);
    owner.leases.set(id, owned);
    return undefined;
  }

  /** The lease is no more, or is kept alive without a session. */
  disown(keyspace: string, lease: LeaseId): void {
    this.#forget(`${keyspace} ${lease}`);
  }

  /** The session's end; gives the leases to be revoked. */
  ended(owner: LeaseOwner, isClosed: boolean): readonly OwnedLease[] {
    owner.state = isClosed ? "closed" : "cut";
    const leases = [...owner.leases.values()];
    for (const id of owner.leases.keys()) this.#owners.delete(id);
    owner.leases.clear();
    return isClosed ? leases : [];
  }

  #forget(id: string): void {
    this.#owners.get(id)?.leases.delete(id);
    this.#owners.delete(id);
  }
}
