// Leases: a time to live that keys may hang on.
// Guarantees: no lease ends before its time to live has passed since it was granted or last kept alive, restarts included; all
// leases are in memory, their deadlines durable. Must not: delete keys (the keyspace does), read a clock.
//
// What is stored is a little later than the true deadline, so that keep-alives in quick succession are not written each; those of a turn are
// one row (lease-times.ts). A new owner does not know what its predecessor was about to hear: leases end later by the time from the last
// that is known of it to the new owner's start, a bound at most, whatever came in between.
import type { SqlStorage } from "../storage/types.ts";
import type { LeaseId } from "../wire/config.ts";
import { bytesOfKey, keyOfText } from "../wire/config-keys.ts";
import type { SnapshotLease } from "../wire/config-snapshot.ts";
import type { Damage } from "./damage.ts";
import { ConfigRefusal, invalid } from "./failure.ts";
import { leaseNotFound } from "./keyspace.ts";
import { LeaseTimes } from "./lease-times.ts";
import { MAX_LEASE_TTL_SECONDS, MAX_LEASES, TAKEOVER_EXTENSION_MS } from "./limits.ts";
import { CorruptRecord, type Crc32c } from "./record.ts";

export interface Lease {
  readonly id: LeaseId;
  readonly grantedTtlMs: number;
  deadlineMs: number;
  /** What is stored; ≥ deadlineMs. */
  storedDeadlineMs: number;
  /** Its time is over; a damaged key holds up its end. */
  isOver?: boolean;
}

export interface LeasesOptions {
  readonly nowMs: number;
  readonly damage?: Damage | undefined;
}

/** How much later than the deadline is stored: keep-alives within it are not written. A third of the time to live at most. Ms. */
const STORED_SLACK_MS = 500;
/** Leases one pass ends; the rest is due at once. */
const MAX_DUE = 1000;
const INT64_MAX = 2n ** 63n - 1n;

interface LeaseRow {
  readonly lease: string;
  readonly granted_ttl: number;
  readonly deadline_ms: number;
  readonly crc: number;
}

export class Leases {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #leases = new Map<LeaseId, Lease>();
  readonly #damaged = new Set<LeaseId>();
  readonly #times: LeaseTimes;
  /** A bound from below of the earliest deadline: keep-alives only move deadlines back. */
  #earliestMs = Number.POSITIVE_INFINITY;

  constructor(sql: SqlStorage, crc32c: Crc32c, { nowMs, damage }: LeasesOptions) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    this.#times = new LeaseTimes(sql, crc32c);
    let lastSeenMs = Number.NEGATIVE_INFINITY;
    const grantedAtMs = new Map<LeaseId, number>();
    for (const row of sql.exec<LeaseRow>("SELECT lease, granted_ttl, deadline_ms, crc FROM config_leases")) {
      const { lease: id, granted_ttl: grantedTtlMs, deadline_ms: storedDeadlineMs } = row;
      if (leaseCrc(crc32c, { id, grantedTtlMs, deadlineMs: storedDeadlineMs }) !== row.crc) {
        this.#damaged.add(id);
        damage?.lost(`the lease ${id} fails its checksum`);
        continue;
      }
      this.#leases.set(id, { id, grantedTtlMs, deadlineMs: 0, storedDeadlineMs });
      const atMs = storedDeadlineMs - grantedTtlMs - slackOf(grantedTtlMs);
      grantedAtMs.set(id, atMs);
      lastSeenMs = Math.max(lastSeenMs, atMs);
    }
    const areWhole = this.#times.load(({ id, storedDeadlineMs }, atMs) => {
      lastSeenMs = Math.max(lastSeenMs, atMs);
      const lease = this.#leases.get(id);
      // What is older than the grant was another lease's of the same id.
      if (lease && atMs >= grantedAtMs.get(id)!) lease.storedDeadlineMs = storedDeadlineMs;
    });
    if (!areWhole) this.#prolong(nowMs, damage);
    const extensionMs = Math.max(0, Math.min(nowMs - lastSeenMs, TAKEOVER_EXTENSION_MS));
    for (const lease of this.#leases.values()) {
      lease.deadlineMs = lease.storedDeadlineMs + extensionMs;
      this.#hold(lease);
    }
  }

  /** When they were kept alive is lost: each gets its whole time again, so that none ends early. */
  #prolong(nowMs: number, damage: Damage | undefined): void {
    damage?.lost("times of leases fail their checksum");
    for (const lease of this.#leases.values()) {
      lease.storedDeadlineMs = Math.max(lease.storedDeadlineMs, nowMs + lease.grantedTtlMs);
      this.#times.note(lease);
    }
  }

  get size(): number {
    return this.#leases.size;
  }

  has(id: LeaseId): boolean {
    this.#refuseDamaged(id);
    return this.#leases.has(id);
  }

  get(id: LeaseId): Lease | undefined {
    this.#refuseDamaged(id);
    return this.#leases.get(id);
  }

  isDamaged(id: LeaseId): boolean {
    return this.#damaged.has(id);
  }

  /** When it could have ended and how long it may live is not known: it is neither served nor ended, but by a revocation. */
  #refuseDamaged(id: LeaseId): void {
    if (this.#damaged.has(id)) throw new CorruptRecord(`the lease ${id} fails its checksum; revoke it`);
  }

  ids(): readonly LeaseId[] {
    return [...this.#leases.keys()];
  }

  /** All of them, with the time they have left. Throws CorruptRecord where one is damaged: keys may hang on it. */
  remaining(nowMs: number): readonly SnapshotLease[] {
    for (const id of this.#damaged) this.#refuseDamaged(id);
    return [...this.#leases.values()].map(({ id, grantedTtlMs, deadlineMs }) => ({
      ...{ id, grantedTtlMs },
      leftMs: Math.max(0, deadlineMs - nowMs),
    }));
  }

  grant({ id, ttlSeconds, nowMs }: { id: LeaseId; ttlSeconds: number; nowMs: number }): Lease {
    if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_LEASE_TTL_SECONDS)
      throw invalid("ttlSeconds", `is ${ttlSeconds}; it is from 1 to ${MAX_LEASE_TTL_SECONDS}`, {
        value: ttlSeconds,
        limit: MAX_LEASE_TTL_SECONDS,
      });
    this.#refuseDamaged(id);
    if (this.#leases.has(id)) throw new ConfigRefusal("leaseExists", `there is a lease ${id} already`, { leaseId: id });
    if (this.#leases.size >= MAX_LEASES)
      throw new ConfigRefusal("tooManyLeases", `the keyspace holds ${MAX_LEASES} leases, which is the limit`, {
        limit: MAX_LEASES,
      });
    const grantedTtlMs = ttlSeconds * 1000;
    const lease: Lease = { id, grantedTtlMs, deadlineMs: nowMs + grantedTtlMs, storedDeadlineMs: 0 };
    this.#hold(lease);
    this.#store(lease);
    return lease;
  }

  keepAlive(id: LeaseId, nowMs: number): Lease | undefined {
    this.#refuseDamaged(id);
    const lease = this.#leases.get(id);
    // One whose time is over ends at the next pass: it must not come back between the two.
    if (!lease || lease.isOver || lease.deadlineMs <= nowMs) return undefined;
    lease.deadlineMs = nowMs + lease.grantedTtlMs;
    if (lease.deadlineMs > lease.storedDeadlineMs) {
      lease.storedDeadlineMs = lease.deadlineMs + slackOf(lease.grantedTtlMs);
      this.#times.note(lease);
    }
    return lease;
  }

  /** Makes the turn's keep-alives durable. */
  endTurn(nowMs: number): void {
    this.#times.endTurn(nowMs, this.#leases.values(), this.#leases.size);
  }

  /** Forgets a lease; its keys are the caller's. Throws where there is none. */
  remove(id: LeaseId): void {
    if (!this.#leases.delete(id) && !this.#damaged.delete(id)) throw leaseNotFound(id);
    this.#sql.exec("DELETE FROM config_leases WHERE lease = ?", id);
  }

  /** Its time is over, and its keys cannot be deleted yet. */
  endLater(id: LeaseId, retryAtMs: number): void {
    const lease = this.#leases.get(id);
    if (!lease) return;
    lease.isOver = true;
    lease.deadlineMs = retryAtMs;
    this.#earliestMs = Math.min(this.#earliestMs, retryAtMs);
  }

  /** Leases whose time is over. */
  due(nowMs: number): readonly LeaseId[] {
    if (nowMs < this.#earliestMs) return [];
    const due: LeaseId[] = [];
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const { id, deadlineMs } of this.#leases.values()) {
      if (deadlineMs > nowMs || due.length >= MAX_DUE) earliestMs = Math.min(earliestMs, deadlineMs);
      else due.push(id);
    }
    this.#earliestMs = earliestMs;
    return due;
  }

  /** No lease ends before this; infinity = there is none. */
  get nextDueMs(): number {
    return this.#earliestMs;
  }

  #hold(lease: Lease): void {
    this.#leases.set(lease.id, lease);
    this.#earliestMs = Math.min(this.#earliestMs, lease.deadlineMs);
  }

  #store(lease: Lease): void {
    lease.storedDeadlineMs = lease.deadlineMs + slackOf(lease.grantedTtlMs);
    const { id, grantedTtlMs, storedDeadlineMs } = lease;
    this.#sql.exec(
      "INSERT OR REPLACE INTO config_leases (lease, granted_ttl, deadline_ms, crc) VALUES (?, ?, ?, ?)",
      id,
      grantedTtlMs,
      storedDeadlineMs,
      leaseCrc(this.#crc32c, { id, grantedTtlMs, deadlineMs: storedDeadlineMs }),
    );
  }
}

/** Of a lease's row. */
export function leaseCrc(
  crc32c: Crc32c,
  { id, grantedTtlMs, deadlineMs }: Pick<Lease, "id" | "grantedTtlMs" | "deadlineMs">,
): number {
  return crc32c(bytesOfKey(keyOfText(`${id} ${grantedTtlMs} ${deadlineMs}`)));
}

function slackOf(grantedTtlMs: number): number {
  return Math.min(STORED_SLACK_MS, Math.floor(grantedTtlMs / 3));
}

/** A lease id from 8 random bytes: positive, as etcd makes them. */
export function leaseIdOf(random: Uint8Array): LeaseId {
  let id = 0n;
  for (const byte of random.subarray(0, 8)) id = (id << 8n) | BigInt(byte);
  return String(id & INT64_MAX || 1n);
}

/** True for the decimal text of a positive int64. */
export function isLeaseId(text: string): boolean {
  return /^[1-9][0-9]{0,18}$/.test(text) && BigInt(text) <= INT64_MAX;
}
