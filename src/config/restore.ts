// Restoring a snapshot into a keyspace: staged beside it, then put in its place in one commit.
// Guarantees: until `finish` the keyspace is untouched and goes on; `finish` takes all or nothing; after it the revision is above every
// one that the keyspace or the snapshot had, and all older ones count as compacted; keys keep their create and mod revisions, versions and
// leases. What a restore left that did not end is swept. Must not: wait; be used after `finish` (the object starts anew).
//
// Tables are renamed, not copied: config_x → old_x, staged_x → config_x. What is swept goes in slices.
import type { SqlStorage } from "../storage/types.ts";
import { MalformedBytes } from "../wire/bytes.ts";
import type { BinaryKey, KeyValue } from "../wire/config.ts";
import { bytesOfKey } from "../wire/config-keys.ts";
import { readSnapshotKeys, readSnapshotLeases, type SnapshotEnd } from "../wire/config-snapshot.ts";
import { ConfigRefusal } from "./failure.ts";
import { IndexCheck } from "./index-row.ts";
import { type Keyspace, LIVING_BYTES } from "./keyspace.ts";
import { isLeaseId, leaseCrc } from "./leases.ts";
import {
  MAX_KEY_BYTES,
  MAX_LEASE_TTL_SECONDS,
  MAX_LEASES,
  MAX_REVISION,
  MAX_VALUE_BYTES,
  RESTORE_SLICE_ROWS,
} from "./limits.ts";
import { type Crc32c, encodeRecord } from "./record.ts";
import type { ConfigStore } from "./store.ts";

/** Of each table the column by which it is swept. */
const SWAPPED = { log: "seq", current: "key", ended: "run", leases: "lease", lease_times: "id" } as const;
const NAMES = Object.keys(SWAPPED) as readonly (keyof typeof SWAPPED)[];
/** Rows of live writes that may come between a restore's begin and its end. */
const SEQ_GAP = 2 ** 32;
/** Records lie in the log in the order of their revisions, as everywhere: so many of one revision have room. A transaction writes 128. */
const REVISION_ROWS = 1024;
/** Sequence numbers are safe integers. */
const MAX_RESTORED_REVISION = 2 ** 42;
/** Above every revision of before: whoever goes on after the last one he saw must hear that there is a gap. */
const REVISION_GAP = 2;
/** Facts of the last restore. */
const FACT = {
  token: "restoreToken",
  checksum: "restoreChecksum",
  keys: "restoreKeys",
  leases: "restoreLeases",
  snapshotRevision: "restoreSnapshotRevision",
  revision: "restoredRevision",
} as const;

export interface RestoreOptions {
  readonly sql: SqlStorage;
  readonly crc32c: Crc32c;
  readonly store: ConfigStore;
  readonly keyspace: Keyspace;
  readonly now: () => number;
}

/** What a restore that ended made. */
export interface Restored {
  readonly token: number;
  readonly checksum: number;
  readonly keys: number;
  readonly leases: number;
  /** Of the snapshot, and of the keyspace now. */
  readonly snapshotRevision: number;
  readonly revision: number;
}

interface Staging {
  readonly token: number;
  readonly revision: number;
  readonly firstSeq: number;
  readonly leaseIds: Set<string>;
  chain: number;
  keys: number;
  /** Of keys and values. */
  bytes: number;
  lastKey: BinaryKey;
  touchedMs: number;
}

export class Restore {
  readonly #options: RestoreOptions;
  readonly #check: IndexCheck;
  #staging: Staging | undefined;

  constructor(options: RestoreOptions) {
    this.#options = options;
    this.#check = new IndexCheck(options.crc32c);
  }

  /** The last restore of this keyspace that ended. */
  get last(): Restored | undefined {
    const { store } = this.#options;
    const token = store.fact(FACT.token);
    if (token === 0) return undefined;
    return {
      token,
      checksum: store.fact(FACT.checksum),
      keys: store.fact(FACT.keys),
      leases: store.fact(FACT.leases),
      snapshotRevision: store.fact(FACT.snapshotRevision),
      revision: store.fact(FACT.revision),
    };
  }

  /** When something last came for the restore under way. */
  get touchedMs(): number | undefined {
    return this.#staging?.touchedMs;
  }

  /** A restore before this start did not end, or its sweep did not. */
  get hasLeftovers(): boolean {
    const { sql } = this.#options;
    return NAMES.some((name) => hasTable(sql, `staged_${name}`) || hasTable(sql, `old_${name}`));
  }

  /** One slice of removing what is of no restore under way; true when nothing is left. */
  sweep(): boolean {
    const { sql } = this.#options;
    for (const prefix of this.#staging ? ["old"] : ["staged", "old"]) {
      for (const name of NAMES) {
        const table = `${prefix}_${name}`;
        if (!hasTable(sql, table)) continue;
        const column = SWAPPED[name];
        const query = `DELETE FROM ${table} WHERE ${column} IN (SELECT ${column} FROM ${table} LIMIT ?) RETURNING 1 AS n`;
        let count = 0;
        for (const _ of sql.exec<{ n: number }>(query, RESTORE_SLICE_ROWS)) count++;
        if (count === 0) sql.exec(`DROP TABLE ${table}`);
        return false;
      }
    }
    return true;
  }

  /** `sweep` has nothing left to do. */
  begin({ token, revision }: { readonly token: number; readonly revision: number }): void {
    if (revision < 1 || revision > MAX_RESTORED_REVISION) throw damaged(`names the revision ${revision}`);
    const { sql, keyspace, now } = this.#options;
    for (const statement of STAGED_TABLES) sql.exec(statement);
    // The name of an index outlives the renaming of its table.
    sql.exec(`CREATE INDEX leased_${keyspace.term}_${token} ON staged_current (lease) WHERE lease <> ''`);
    const firstSeq = keyspace.lastSeq + SEQ_GAP;
    if (firstSeq + (revision + 1) * REVISION_ROWS > Number.MAX_SAFE_INTEGER)
      throw new ConfigRefusal(
        "conflict",
        "the namespace was restored too often; delete it and restore into a fresh one",
      );
    const fresh = { keys: 0, bytes: 0, lastKey: "", touchedMs: now(), leaseIds: new Set<string>() };
    // Another chain than any log of before: copies of those are told apart.
    this.#staging = { token, revision, firstSeq, chain: token >>> 0, ...fresh };
  }

  /** Forgets what was staged, or what was for `token`; `sweep` removes it. */
  giveUp(token = this.#staging?.token): void {
    if (this.#staging?.token === token) this.#staging = undefined;
  }

  leases(token: number, payload: Uint8Array): void {
    const staging = this.#stagingOf(token);
    for (const { id, grantedTtlMs } of wellFormed(() => readSnapshotLeases(payload))) {
      const isTtl = grantedTtlMs >= 1000 && grantedTtlMs <= MAX_LEASE_TTL_SECONDS * 1000 && grantedTtlMs % 1000 === 0;
      if (!isLeaseId(id) || !isTtl || staging.leaseIds.has(id)) throw damaged(`has a lease ${id} that is none`);
      if (staging.leaseIds.size >= MAX_LEASES) throw damaged(`has more than ${MAX_LEASES} leases, which is the limit`);
      staging.leaseIds.add(id);
      this.#options.sql.exec(
        "INSERT INTO staged_leases (lease, granted_ttl, deadline_ms, crc) VALUES (?, ?, 0, 0)",
        id,
        grantedTtlMs,
      );
    }
  }

  keys(token: number, payload: Uint8Array): void {
    const staging = this.#stagingOf(token);
    for (const kv of wellFormed(() => [...readSnapshotKeys(payload)])) this.#stage(staging, kv);
  }

  /** Puts what was staged in the keyspace's place. The revision will be above `leastRevision` too. */
  finish(token: number, end: SnapshotEnd, leastRevision: number): Restored {
    const staging = this.#stagingOf(token);
    const { sql, store, keyspace } = this.#options;
    if (end.keys !== staging.keys || end.leases !== staging.leaseIds.size || end.revision !== staging.revision)
      throw damaged("does not hold as many keys and leases as it says");
    if (keyspace.lastSeq >= staging.firstSeq)
      throw new ConfigRefusal("conflict", "too much was written meanwhile; begin anew");
    const revision = Math.max(keyspace.revision, staging.revision, leastRevision) + REVISION_GAP;
    if (revision > MAX_REVISION) throw damaged(`leads to the revision ${revision}`);
    const lastSeq = staging.firstSeq + (staging.revision + 1) * REVISION_ROWS;
    this.#startLeases();
    for (const name of NAMES) {
      sql.exec(`ALTER TABLE config_${name} RENAME TO old_${name}`);
      sql.exec(`ALTER TABLE staged_${name} RENAME TO config_${name}`);
    }
    const facts: Readonly<Record<string, number>> = {
      ...{ [FACT.token]: token, [FACT.checksum]: end.checksum, [FACT.keys]: end.keys, [FACT.leases]: end.leases },
      ...{ [FACT.snapshotRevision]: staging.revision, [FACT.revision]: revision, compacted: revision },
      ...{ restoredSeq: lastSeq, restoredChain: staging.chain, compactionSeq: lastSeq + 1 },
      [LIVING_BYTES]: staging.bytes,
    };
    for (const [name, value] of Object.entries(facts)) store.setFact(name, value);
    store.replaced({ seq: lastSeq, keys: end.keys });
    this.#staging = undefined;
    return this.last!;
  }

  /** Each lease gets its whole time again: how long the restore took is nobody's fault. */
  #startLeases(): void {
    const { sql, crc32c, now } = this.#options;
    const nowMs = now();
    const granted: { lease: string; granted_ttl: number }[] = [];
    for (const row of sql.exec<{ lease: string; granted_ttl: number }>("SELECT lease, granted_ttl FROM staged_leases"))
      granted.push(row);
    for (const { lease, granted_ttl: ttl } of granted) {
      const deadlineMs = nowMs + ttl;
      const crc = leaseCrc(crc32c, { id: lease, grantedTtlMs: ttl, deadlineMs });
      sql.exec("UPDATE staged_leases SET deadline_ms = ?, crc = ? WHERE lease = ?", deadlineMs, crc, lease);
    }
  }

  #stage(staging: Staging, kv: KeyValue): void {
    const { sql, crc32c, keyspace } = this.#options;
    const { key, createRevision, modRevision, version, lease, value } = kv;
    if (key.length === 0 || key.length > MAX_KEY_BYTES || value.length > MAX_VALUE_BYTES)
      throw damaged(`has a key of ${key.length} bytes with a value of ${value.length}`);
    if (key <= staging.lastKey) throw damaged("has its keys in another order");
    const isCounted =
      createRevision > 0 && createRevision <= modRevision && modRevision <= staging.revision && version > 0;
    if (!isCounted) throw damaged("has a key whose revisions cannot be");
    if (lease !== "" && !staging.leaseIds.has(lease))
      throw damaged(`has a key of the lease ${lease}, which it does not hold`);
    const put = { type: "put", key, createRevision, version, lease, value, endedMod: 0, endedSeq: 0 } as const;
    const seq = this.#seqFor(staging.firstSeq + modRevision * REVISION_ROWS);
    const record = encodeRecord(crc32c, staging.chain, { ...put, term: keyspace.term, revision: modRevision });
    const bytes = bytesOfKey(key);
    const crc = this.#check.crcOf(bytes, { seq, modRevision, createRevision, version, lease });
    sql.exec("INSERT INTO staged_log (seq, record) VALUES (?, ?)", seq, record.bytes);
    sql.exec(INSERT_STAGED, bytes, seq, modRevision, createRevision, version, lease, crc);
    staging.bytes += key.length + value.length;
    Object.assign(staging, { chain: record.chain, keys: staging.keys + 1, lastKey: key });
  }

  /** The first free place of a revision. */
  #seqFor(first: number): number {
    let last: number | null = null;
    for (const row of this.#options.sql.exec<{ last: number | null }>(LAST_STAGED, first, first + REVISION_ROWS))
      ({ last } = row);
    if (last === null) return first;
    if (last + 1 === first + REVISION_ROWS) throw damaged(`has more than ${REVISION_ROWS} keys of one revision`);
    return last + 1;
  }

  #stagingOf(token: number): Staging {
    const staging = this.#staging;
    if (staging?.token !== token)
      throw new ConfigRefusal("unavailable", "the restore was given up; nothing of it was restored; begin anew");
    staging.touchedMs = this.#options.now();
    return staging;
  }
}

const LAST_STAGED = "SELECT max(seq) AS last FROM staged_log WHERE seq >= ? AND seq < ?";
const INSERT_STAGED =
  "INSERT INTO staged_current (key, seq, mod, created, version, lease, crc) VALUES (?, ?, ?, ?, ?, ?, ?)";

/** As migrations/config.ts makes config_log, config_current, config_ended, config_leases and config_lease_times. */
const STAGED_TABLES = [
  "CREATE TABLE staged_log (seq INTEGER PRIMARY KEY, record BLOB NOT NULL)",
  `CREATE TABLE staged_current (key BLOB PRIMARY KEY, seq INTEGER NOT NULL, mod INTEGER NOT NULL, created INTEGER NOT NULL,
    version INTEGER NOT NULL, lease TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE staged_ended (run INTEGER NOT NULL, key BLOB NOT NULL, mod INTEGER NOT NULL, ended INTEGER NOT NULL,
    seq INTEGER NOT NULL, created INTEGER NOT NULL, version INTEGER NOT NULL, lease TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (run, key, mod)) WITHOUT ROWID`,
  `CREATE TABLE staged_leases (lease TEXT PRIMARY KEY, granted_ttl INTEGER NOT NULL, deadline_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL) WITHOUT ROWID`,
  "CREATE TABLE staged_lease_times (id INTEGER PRIMARY KEY, times BLOB NOT NULL)",
] as const;

function hasTable(sql: SqlStorage, name: string): boolean {
  let isThere = false;
  for (const _ of sql.exec("SELECT 1 AS n FROM sqlite_master WHERE type = 'table' AND name = ?", name)) isThere = true;
  return isThere;
}

function wellFormed<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof MalformedBytes) throw damaged(`has a malformed block: ${error.message}`);
    throw error;
  }
}

function damaged(what: string): ConfigRefusal {
  return new ConfigRefusal("invalidRequest", `the snapshot ${what}; nothing was restored`);
}
