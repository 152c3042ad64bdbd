// Locks and elections on keys that hang on leases: `<name>/<lease in hex>`, owned by the oldest key. etcd's recipe, done by the server.
// Guarantees: at most one owner, in the order of arrival; a fencing token (the key's createRevision) grows with every owner; only the
// owner releases. Must not: wait (LockWaits does), read a clock.
import type { AcquireRequest, BinaryKey, KeyValue, LeaseId, ReleaseRequest } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
import { ConfigRefusal, invalid } from "./failure.ts";
import { type Keyspace, leaseNotFound } from "./keyspace.ts";
import type { Leases } from "./leases.ts";

/** A place in a line. */
export interface Place {
  readonly name: BinaryKey;
  readonly key: BinaryKey;
  /** createRevision of the key. */
  readonly token: number;
}

/** `owner`: it is its turn. `behind`: that key must go first. `lost`: the place is no more. */
export type Turn =
  | { readonly kind: "owner" }
  | { readonly kind: "behind"; readonly key: BinaryKey }
  | { readonly kind: "lost" };

export function lockKey(name: BinaryKey, lease: LeaseId): BinaryKey {
  return `${name}/${BigInt(lease).toString(16)}`;
}

export class Locks {
  readonly #keyspace: Keyspace;
  readonly #leases: Leases;

  constructor(keyspace: Keyspace, leases: Leases) {
    this.#keyspace = keyspace;
    this.#leases = leases;
  }

  /** Takes a place in line, or the one that the lease has already. Undefined: taken by another, and `waitMs` is 0. */
  enter({ name, lease, value, waitMs }: AcquireRequest): Place | undefined {
    if (name === "") throw invalid("name", "is empty");
    if (!this.#leases.has(lease)) throw leaseNotFound(lease);
    const key = lockKey(name, lease);
    const held = this.#get(key);
    if (held) {
      if (held.lease !== lease) throw new ConfigRefusal("conflict", "the lock's key was overwritten without its lease");
      const place = { name, key, token: held.createRevision };
      return waitMs > 0 || this.turnOf(place).kind === "owner" ? place : undefined;
    }
    if (waitMs === 0 && this.owner(name)) return undefined;
    this.#keyspace.put({ kind: "put", key, value, lease });
    return { name, key, token: this.#keyspace.revision };
  }

  turnOf({ name, key, token }: Place): Turn {
    if (this.#get(key)?.createRevision !== token) return { kind: "lost" };
    const before = this.#line(name, { maxCreateRevision: token - 1, descending: true });
    return before ? { kind: "behind", key: before.key } : { kind: "owner" };
  }

  /** Gives a place up; nothing happens where it is lost already. */
  leave({ key, token }: Place): void {
    if (this.#get(key)?.createRevision === token)
      this.#keyspace.deleteRange({ kind: "deleteRange", key, rangeEnd: "" });
  }

  owner(name: BinaryKey): KeyValue | undefined {
    return this.#line(name, {});
  }

  waiting(name: BinaryKey): number {
    const { count } = this.#keyspace.range({ kind: "range", ...prefixRange(`${name}/`), countOnly: true });
    return Math.max(0, count - 1);
  }

  /** Ends the owner's hold, or changes its value. Throws `notOwner` for anyone else. */
  release({ name, lease, fencingToken, proclaim }: ReleaseRequest): void {
    const owner = this.owner(name);
    const isOwner =
      owner !== undefined &&
      (fencingToken === undefined || owner.createRevision === fencingToken) &&
      (lease === undefined || owner.key === lockKey(name, lease)) &&
      (fencingToken !== undefined || lease !== undefined);
    if (!isOwner) throw new ConfigRefusal("notOwner", "this lease or fencing token does not hold it", tokenOf(owner));
    const { key } = owner;
    if (proclaim === undefined) this.#keyspace.deleteRange({ kind: "deleteRange", key, rangeEnd: "" });
    else this.#keyspace.put({ kind: "put", key, value: proclaim, ignoreLease: true });
  }

  /** The first key of the line by its creation. */
  #line(name: BinaryKey, more: { maxCreateRevision?: number; descending?: boolean }): KeyValue | undefined {
    const range = { kind: "range", ...prefixRange(`${name}/`), sortTarget: "create", limit: 1, ...more } as const;
    return this.#keyspace.range(range).kvs[0];
  }

  #get(key: BinaryKey): KeyValue | undefined {
    return this.#keyspace.range({ kind: "range", key, rangeEnd: "" }).kvs[0];
  }
}

export function tokenOf(owner: KeyValue | undefined): Readonly<Record<string, unknown>> {
  return owner ? { fencingToken: owner.createRevision } : {};
}
