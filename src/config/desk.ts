// Takes the calls of a turn to one keyspace: runs each, in order, and gives the bytes of its answer.
// Guarantees: a repeated write id gets its first answer; a refusal wrote nothing; all calls of a turn commit together (the object's
// turn). Must not: wait for anything.

import type { SqlStorage } from "../storage/types.ts";
import { ByteWriter } from "../wire/bytes.ts";
import type {
  AnswerHeader,
  ConfigAnswer,
  ConfigFailure,
  ConfigRequest,
  LeaseId,
  PutRequest,
  TxnOperation,
  TxnRequest,
} from "../wire/config.ts";
import { writeConfigAnswer } from "../wire/config-answers.ts";
import { type ConfigCall, isWriting } from "../wire/config-requests.ts";
import { Compactor } from "./compactor.ts";
import { DAMAGED_LEASE_RETRY_MS, Damage } from "./damage.ts";
import { ConfigRefusal } from "./failure.ts";
import { KeptAnswers } from "./kept-answers.ts";
import { type Change, Keyspace, LIVING_BYTES, leaseNotFound } from "./keyspace.ts";
import { type Lease, Leases, leaseIdOf } from "./leases.ts";
import { MAX_KEPT_ANSWER, MAX_LEASE_KEYS } from "./limits.ts";
import { Locks } from "./locks.ts";
import { CorruptRecord, type Crc32c } from "./record.ts";
import { Retention, type RetentionLimits } from "./retention.ts";
import { SnapshotSource } from "./snapshot-source.ts";
import { ConfigStore, type IndexBatches } from "./store.ts";

/** As access/types.ts has it. */
export interface QuotaExcess {
  readonly quota: string;
  readonly used: number;
  readonly limit: number;
}

export interface DeskOptions {
  readonly sql: SqlStorage;
  readonly crc32c: Crc32c;
  readonly now: () => number;
  readonly random: (bytes: number) => Uint8Array;
  readonly cacheBytes: number;
  readonly retention: RetentionLimits;
  readonly onChange: (revision: number, changes: readonly Change[]) => void;
  readonly onDamage?: ((error: CorruptRecord) => void) | undefined;
  /** A quota of the tenant that is used up. */
  readonly excess?: (() => QuotaExcess | undefined) | undefined;
  /** For the status. */
  readonly watchCount?: () => number;
  /** Of the database. */
  readonly databaseBytes?: () => number;
  /** Of the index; absent = those of tenants' keyspaces. */
  readonly batches?: IndexBatches;
}

export class Desk {
  readonly store: ConfigStore;
  readonly keyspace: Keyspace;
  readonly leases: Leases;
  readonly locks: Locks;
  readonly snapshots: SnapshotSource;
  readonly damage: Damage;
  /** The last `run` met damage, and did nothing. */
  metDamage = false;
  readonly #options: DeskOptions;
  readonly #kept: KeptAnswers;
  readonly #compactor: Compactor;
  readonly #retention: Retention;
  readonly #writer = new ByteWriter(4096);
  #mustCompact = true;
  #notedBytes: number;

  constructor(options: DeskOptions) {
    const { sql, crc32c, cacheBytes, onChange } = options;
    this.#options = options;
    this.damage = new Damage(options.onDamage);
    this.store = new ConfigStore(sql, crc32c, options.batches);
    if (this.store.damage) throw this.store.damage;
    const term = this.store.fact("term") + 1;
    this.store.setFact("term", term);
    this.leases = new Leases(sql, crc32c, { nowMs: options.now(), damage: this.damage });
    this.keyspace = new Keyspace({
      ...{ store: this.store, crc32c, term, cacheBytes, onChange },
      isLease: (lease) => this.leases.has(lease),
    });
    this.#notedBytes = this.store.fact(LIVING_BYTES);
    this.locks = new Locks(this.keyspace, this.leases);
    const { store, keyspace, leases } = this;
    this.snapshots = new SnapshotSource({ store, keyspace, leases, now: options.now });
    this.#kept = new KeptAnswers(sql, crc32c, this.damage);
    this.#compactor = new Compactor(this.store);
    this.#retention = new Retention(sql, crc32c, { ...options.retention, damage: this.damage });
  }

  /** The answer's bytes (a body of wire/config-answers.ts), refusals included. */
  run(call: ConfigCall): Uint8Array {
    this.metDamage = false;
    try {
      const { writeId, bodyHash = new Uint8Array(0), request } = call;
      if (!isWriting(request)) return this.#bytesOf(this.answer(request));
      // A lease that is kept alive twice is kept alive: there is no answer to keep.
      if (writeId === undefined || request.kind === "leaseKeepAlive") return this.#bytesOf(this.answer(request));
      const kept = this.#kept.find(writeId, bodyHash);
      if (kept) return kept;
      const before = this.keyspace.revision;
      const bytes = this.#bytesOf(this.answer(request));
      // Where nothing was written a repetition is a new try; one that was must not become one because its answer is long.
      const mayRunAgain = request.kind === "txn" && this.keyspace.revision === before;
      if (!mayRunAgain || bytes.length <= MAX_KEPT_ANSWER) this.#kept.add(writeId, bodyHash, bytes);
      return bytes;
    } catch (error) {
      if (error instanceof ConfigRefusal) return this.#bytesOf(failureOf(error));
      // What is damaged is an error of the call that meets it; one that writes has written nothing.
      if (!(error instanceof CorruptRecord)) throw error;
      this.metDamage = true;
      this.damage.found(error);
      return this.#bytesOf({ kind: "error", code: "dataCorrupt", message: error.message });
    }
  }

  /** Ends the turn: what repetitions will be answered is written with what they did, and history that is too old is given up. */
  endTurn(): void {
    const nowMs = this.#options.now();
    this.#noteBytes();
    this.#kept.endTurn(nowMs);
    this.leases.endTurn(nowMs);
    this.store.endTurn(nowMs);
    const { revision, compactedRevision: compacted } = this.keyspace;
    this.#retention.note(nowMs, revision);
    const target = this.#retention.due(nowMs, { revision, compacted });
    if (target === undefined) return;
    this.keyspace.compact(target);
    this.#mustCompact = true;
  }

  #noteBytes(): void {
    const { livingBytes } = this.keyspace;
    if (livingBytes === this.#notedBytes) return;
    this.#notedBytes = livingBytes;
    this.store.setFact(LIVING_BYTES, Math.max(0, livingBytes));
  }

  /** When something is due that no call brings about: the end of a lease, or of what is kept of the history. */
  get nextDueMs(): number {
    return Math.min(this.leases.nextDueMs, this.#retention.nextDueMs);
  }

  /** Throws ConfigRefusal. */
  answer(request: ConfigRequest): ConfigAnswer {
    const body = this.#run(request);
    return { ...body, header: this.header };
  }

  get header(): AnswerHeader {
    return { revision: this.keyspace.revision, term: this.keyspace.term };
  }

  /** Ends what is due; true when there may be more at once. */
  expireLeases(): boolean {
    const due = this.leases.due(this.#options.now());
    for (const lease of due) this.#endInTime(lease);
    return due.length > 0 && this.leases.nextDueMs <= this.#options.now();
  }

  get mustCompact(): boolean {
    return this.#mustCompact && !this.snapshots.isReading;
  }

  /**
   * One slice of removing what is compacted. Not while a snapshot is read, which may need it. At a damaged record it stops until that is
   * repaired, or the next compaction.
   */
  compactStep(): void {
    if (this.snapshots.isReading) return;
    try {
      this.#mustCompact = !this.#compactor.step(this.keyspace.compactedRevision);
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.damage.found(error);
      this.#mustCompact = false;
    }
  }

  #run(request: ConfigRequest) {
    switch (request.kind) {
      case "put":
      case "txn":
        this.#refuseOverQuota(request);
        return this.keyspace.apply(request);
      case "range":
      case "deleteRange":
        return this.keyspace.apply(request);
      case "compact":
        this.keyspace.compact(request.revision);
        this.#mustCompact = true;
        return { kind: "compact" } as const;
      case "leaseGrant": {
        const id = request.lease === "" ? leaseIdOf(this.#options.random(8)) : request.lease;
        const lease = this.leases.grant({ id, ttlSeconds: request.ttlSeconds, nowMs: this.#options.now() });
        return this.#shown(lease);
      }
      case "leaseRevoke": {
        const lease = this.leases.isDamaged(request.lease) ? UNKNOWN_TTL : this.leases.get(request.lease);
        if (!lease) throw leaseNotFound(request.lease);
        this.#endLease(request.lease);
        return { ...this.#shown({ ...lease, id: request.lease }), ttlSeconds: 0 };
      }
      case "leaseKeepAlive": {
        const lease = this.leases.keepAlive(request.lease, this.#options.now());
        return lease ? this.#shown(lease) : absent(request.lease);
      }
      case "leaseTimeToLive": {
        const lease = this.leases.get(request.lease);
        if (!lease) return absent(request.lease);
        const keys = request.withKeys ? this.keyspace.leasedKeys(request.lease, MAX_LEASE_KEYS) : [];
        return { ...this.#shown(lease), keys };
      }
      case "leases":
        return { kind: "leases", leases: this.leases.ids() } as const;
      case "status":
        return {
          kind: "status",
          compactedRevision: this.keyspace.compactedRevision,
          keys: this.keyspace.keyCount,
          leases: this.leases.size,
          watches: this.#options.watchCount?.() ?? 0,
          databaseBytes: this.#options.databaseBytes?.() ?? 0,
          chain: this.keyspace.chain >>> 0,
        } as const;
      default:
        return request satisfies never;
    }
  }

  /** What stores nothing goes on. */
  #refuseOverQuota(request: PutRequest | TxnRequest): void {
    const excess = this.#options.excess?.();
    if (!excess || !storesValue(request)) return;
    const { quota, used, limit } = excess;
    throw new ConfigRefusal("quotaExceeded", `${quota} is ${used}, the limit is ${limit}`, { quota, used, limit });
  }

  /** A lease one of whose keys is damaged ends when that is repaired; it cannot be kept alive, and holds up no other. */
  #endInTime(lease: LeaseId): void {
    try {
      this.#endLease(lease);
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.damage.found(error);
      this.leases.endLater(lease, this.#options.now() + DAMAGED_LEASE_RETRY_MS);
    }
  }

  #endLease(lease: LeaseId): void {
    this.keyspace.deleteLeased(lease);
    this.leases.remove(lease);
  }

  #shown({ id, grantedTtlMs, deadlineMs }: Lease) {
    // Rounded down as etcd does: what is promised is never more than what is left.
    const ttlSeconds = Math.max(0, Math.floor((deadlineMs - this.#options.now()) / 1000));
    return {
      kind: "lease",
      lease: id,
      ttlSeconds,
      grantedTtlSeconds: grantedTtlMs / 1000,
      keys: [] as string[],
    } as const;
  }

  #bytesOf(answer: ConfigAnswer | ConfigFailure): Uint8Array {
    this.#writer.reset();
    writeConfigAnswer(this.#writer, answer);
    return this.#writer.take();
  }
}

/** Of a lease whose row is damaged: it can be revoked. */
const UNKNOWN_TTL = { grantedTtlMs: 0, deadlineMs: 0, storedDeadlineMs: 0 };

function storesValue(request: TxnOperation): boolean {
  if (request.kind !== "txn") return request.kind === "put";
  return request.success.some(storesValue) || request.failure.some(storesValue);
}

function absent(lease: LeaseId) {
  return { kind: "lease", lease, ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] as string[] } as const;
}

export function failureOf({ code, message, details }: ConfigRefusal): ConfigFailure {
  return { kind: "error", code, message, details };
}
