// Where a keyspace's versions are: an index of living and of ended versions by key, and the log with their values.
// Guarantees: rows and records are checked when they are read (CRC32C), never served otherwise; all of one turn commits together
// (the caller's SQLite). Must not: decide what may be written.
//
// Invariants: config_current holds a key's version while it lives, config_ended (history.ts) those from `mod` until before `ended`,
// both up to the record `indexed`; what the log says behind it is in memory (pending-index.ts), and read from the log at a start. Every
// row's `seq` names a log row of that key and revision. Log rows of ended versions go when `ended` ≤ the compacted revision.
import type { SqlStorage } from "../storage/types.ts";
import type { BinaryKey, KeyRange, KeyValue, LeaseId } from "../wire/config.ts";
import { bytesOfKey, NO_END } from "../wire/config-keys.ts";
import { History } from "./history.ts";
import { IndexCheck } from "./index-row.ts";
import {
  countOf,
  inOrder,
  only,
  RowWriter,
  readVersions,
  VERSION_COLUMNS,
  type VersionRow,
  versionOf,
  whereRange,
} from "./index-rows.ts";
import { HISTORY_RUN_ROWS, MAX_REVISION, PENDING_INDEX_MS, PENDING_INDEX_ROWS } from "./limits.ts";
import { PendingIndex } from "./pending-index.ts";
import { CorruptRecord, type Crc32c, decodeRecord, type LogRecord } from "./record.ts";
import { type Scan, type Version, versionOfRecord } from "./version.ts";

interface LogRow {
  readonly seq: number;
  readonly record: ArrayBuffer;
}

const LIVING = `SELECT ${VERSION_COLUMNS}, 0 AS ended FROM config_current`;
const SELECT_CURRENT = `${LIVING} WHERE key = ?`;
const SELECT_RECORD = "SELECT record FROM config_log WHERE seq = ?";
const INSERT_RECORD = "INSERT INTO config_log (seq, record) VALUES (?, ?)";
/** In place where there is a row: replacing it would be a deletion and an insertion. */
const CURRENT_ROWS = {
  into: `config_current (${VERSION_COLUMNS})`,
  columnCount: 7,
  tail: ` ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, mod = excluded.mod, created = excluded.created,
    version = excluded.version, lease = excluded.lease, crc = excluded.crc`,
};
const DELETE_CURRENT = "DELETE FROM config_current WHERE key = ?";
const DELETE_RECORD = "DELETE FROM config_log WHERE seq = ?";
const SELECT_LOG = "SELECT seq, record FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LAST = "SELECT seq, record FROM config_log ORDER BY seq DESC LIMIT 1";
const SELECT_LEASED = `${LIVING} WHERE lease = ? AND lease <> '' ORDER BY key LIMIT ?`;

/** Where the index is: the number of the log's record up to which the tables hold it, and one more; 0 = of an older build. */
const INDEXED = "indexed";
/** How many keys the table of living ones has, and one more; 0 = of an older build. */
const STORED_KEYS = "storedKeys";
/** As {@link ConfigStore.indexedTo}: there is nothing of the log to be read into the index. */
export const ALL_INDEXED = MAX_REVISION - 1;

/** Of batches; tests make them small. */
export interface IndexBatches {
  readonly pendingRows: number;
  readonly runRows: number;
}

const BATCHES: IndexBatches = { pendingRows: PENDING_INDEX_ROWS, runRows: HISTORY_RUN_ROWS };

export class ConfigStore {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #check: IndexCheck;
  readonly #history: History;
  readonly #current: RowWriter;
  readonly #pending = new PendingIndex();
  readonly #pendingRows: number;
  /** Rows of config_current. Counting them is a walk over all of it. */
  #storedKeys: number;
  #flushedMs = Number.NEGATIVE_INFINITY;
  /** The log cannot be read behind what the tables hold: nobody knows which keys that changed. */
  readonly damage: CorruptRecord | undefined;

  constructor(sql: SqlStorage, crc32c: Crc32c, { pendingRows, runRows } = BATCHES) {
    this.#sql = sql;
    this.#pendingRows = pendingRows;
    this.#crc32c = crc32c;
    this.#check = new IndexCheck(crc32c);
    this.#current = new RowWriter(sql, CURRENT_ROWS);
    this.#history = new History(sql, this.#check, runRows);
    const storedKeys = this.fact(STORED_KEYS);
    this.#storedKeys = storedKeys > 0 ? storedKeys - 1 : countOf(sql, "SELECT count(*) AS n FROM config_current");
    const indexed = this.fact(INDEXED);
    try {
      if (indexed > 0) this.#replay(indexed);
      else this.indexedTo(this.lastRecord()?.seq ?? 0);
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      this.damage = error;
    }
  }

  /** The version of `key` at `revision` (0 = now), if it was there. */
  find(key: BinaryKey, revision = 0): Version | undefined {
    if (revision > 0) this.flush();
    const pending = this.#pending.get(key);
    if (pending) return pending.version;
    const row = only(this.#sql.exec<VersionRow>(SELECT_CURRENT, bytesOfKey(key)));
    if (row && (revision === 0 || row.mod <= revision)) return versionOf(this.#check, row);
    return revision === 0 ? undefined : this.#history.find(key, revision);
  }

  /** Versions of a range in the order of their keys. */
  scan(scan: Scan): readonly Version[] {
    const { revision, limit, descending, values = false, ...range } = scan;
    if (revision > 0) this.flush();
    const { where, keys } = whereRange(range);
    const changed = this.#pending.inRange(range);
    const query = `${LIVING} WHERE ${where}${revision > 0 ? " AND mod <= ?" : ""} ORDER BY key ${descending ? "DESC" : "ASC"} LIMIT ?`;
    const past = revision > 0 ? [revision] : [];
    const found = this.#versions({ query, values, bindings: [...keys, ...past, limit + changed.length] });
    if (revision > 0) return this.#history.scanInto(inOrder(found, limit, descending), scan);
    if (changed.length === 0) return values ? inOrder(found, limit, descending) : found;
    const stored = found.filter(({ key }) => !this.#pending.get(key));
    return inOrder(stored.concat(changed.flatMap(([, { version }]) => version ?? [])), limit, descending);
  }

  count(range: KeyRange, revision: number): number {
    if (revision > 0) this.flush();
    const { where, keys } = whereRange(range);
    const query = `SELECT count(*) AS n FROM config_current WHERE ${where}`;
    if (revision > 0)
      return countOf(this.#sql, `${query} AND mod <= ?`, ...keys, revision) + this.#history.count(range, revision);
    let count = countOf(this.#sql, query, ...keys);
    for (const [, { version, isStored }] of this.#pending.inRange(range))
      count += (version ? 1 : 0) - (isStored ? 1 : 0);
    return count;
  }

  /** All living keys. */
  get keyCount(): number {
    let count = this.#storedKeys;
    for (const [, { version, isStored }] of this.#pending.keys()) count += (version ? 1 : 0) - (isStored ? 1 : 0);
    return count;
  }

  /** Versions under a lease, in the order of their keys. */
  leased(lease: LeaseId, limit: number): readonly Version[] {
    const changed = this.#pending.leased(lease);
    // What is stored may have left the lease since: rows that do not count take no place.
    const bindings = [lease, limit + this.#pending.rowCount];
    const stored = this.#versions({ query: SELECT_LEASED, values: false, bindings });
    return inOrder(stored.filter(({ key }) => !this.#pending.get(key)).concat(changed), limit);
  }
  /** Throws CorruptRecord where it is absent or is another key's. */
  valueOf(version: Version): KeyValue {
    const record = version.stored ? decodeRecord(this.#crc32c, version.stored) : this.record(version.seq);
    if (record?.key !== version.key || record.revision !== version.modRevision) {
      throw new CorruptRecord(`the log row ${version.seq} is not the version that the index names`);
    }
    const { key, createRevision, modRevision, version: count, lease } = version;
    return { key, createRevision, modRevision, version: count, lease, value: record.value };
  }

  record(seq: number): LogRecord | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_RECORD, seq));
    return row && this.#decode(row.record);
  }

  lastRecord(): { readonly seq: number; readonly record: LogRecord } | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_LAST));
    return row && { seq: row.seq, record: this.#decode(row.record) };
  }

  /** Records in order from `seq` on; compaction leaves gaps. */
  log(seq: number, limit: number): readonly { readonly seq: number; readonly record: LogRecord }[] {
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      records.push({ seq: row.seq, record: this.#decode(row.record) });
    }
    return records;
  }

  /** As {@link log}, with the bytes as stored. */
  rawLog(
    seq: number,
    limit: number,
  ): readonly { readonly seq: number; readonly revision: number; readonly bytes: Uint8Array }[] {
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      const bytes = new Uint8Array(row.record);
      records.push({ seq: row.seq, revision: decodeRecord(this.#crc32c, bytes).revision, bytes });
    }
    return records;
  }

  /** The living version and its log row, as it was at `revision`, of keys behind `after` ("" = from the first), in their order. */
  copyPage(after: BinaryKey, revision: number, limit: number): readonly Version[] {
    const range = after === "" ? { key: "\0", rangeEnd: NO_END } : { key: `${after}\0`, rangeEnd: NO_END };
    return this.scan({ ...range, revision, limit, values: true });
  }

  isEmpty(): boolean {
    return only(this.#sql.exec("SELECT 1 AS n FROM config_log LIMIT 1")) === undefined;
  }

  /** Forgets all keys and records in slices; true when nothing is left. */
  wipe(limit: number): boolean {
    this.#pending.clear();
    this.#history.clear();
    this.#storedKeys = 0;
    this.indexedTo(ALL_INDEXED);
    let isEmpty = true;
    for (const [table, column] of [
      ["config_current", "key"],
      ["config_ended", "run"],
      ["config_log", "seq"],
    ]) {
      const query = `DELETE FROM ${table} WHERE ${column} IN (SELECT ${column} FROM ${table} LIMIT ?) RETURNING 1 AS n`;
      for (const _ of this.#sql.exec<{ n: number }>(query, limit)) isEmpty = false;
    }
    return isEmpty;
  }

  append(seq: number, record: Uint8Array): void {
    this.#sql.exec(INSERT_RECORD, seq, record);
    this.#pending.seq = seq;
  }

  /** `isNew`: the key is not alive yet. */
  setCurrent(version: Version, isNew: boolean): void {
    this.#pending.set(version, !isNew);
  }

  removeCurrent(key: BinaryKey): void {
    this.#pending.remove(key);
  }

  addEnded(version: Version, ended: number): void {
    this.#pending.addEnded(version, ended);
  }

  /** A living version with its log row, in any order: of a copy, which says by {@link indexedTo} where it ends. */
  load(version: Version, record: Uint8Array): void {
    this.#sql.exec(INSERT_RECORD, version.seq, record);
    this.#current.write([this.#check.rowOf(version)]);
    this.#storedKeys++;
  }

  /** The tables hold what the log says up to `seq`, and no more is known. */
  indexedTo(seq: number): void {
    this.#pending.seq = seq;
    if (this.fact(INDEXED) !== seq + 1) this.setFact(INDEXED, seq + 1);
    if (this.fact(STORED_KEYS) !== this.#storedKeys + 1) this.setFact(STORED_KEYS, this.#storedKeys + 1);
  }

  /** To be called between changes, once a turn. Where writes are few the tables are brought up to the log at once. */
  endTurn(nowMs: number): void {
    if (this.#pending.rowCount < this.#pendingRows && nowMs < this.#flushedMs + PENDING_INDEX_MS) return;
    this.#flushedMs = nowMs;
    this.flush();
  }

  get pendingRows(): number {
    return this.#pending.rowCount;
  }

  /** Brings the tables up to the log. Never within a change, of which only a part may be known. */
  flush(): void {
    const pending = this.#pending;
    if (pending.rowCount === 0) return;
    const storedKeys = this.keyCount;
    this.#sql.transactionSync(() => {
      const living: Version[] = [];
      for (const [key, { version }] of pending.sortedKeys()) {
        if (version) living.push(version);
        else this.#sql.exec(DELETE_CURRENT, bytesOfKey(key));
      }
      this.#current.write(living.map((version) => this.#check.rowOf(version)));
      this.#history.add(pending.sortedEnded());
      this.setFact(INDEXED, pending.seq + 1);
      if (storedKeys !== this.#storedKeys) this.setFact(STORED_KEYS, storedKeys + 1);
    });
    this.#storedKeys = storedKeys;
    pending.clear();
  }

  /** Forgets a stretch of ended versions that nobody may read after a compaction; false = there is none. */
  dropOldestEnded(compacted: number): boolean {
    return this.#history.dropOldest(compacted);
  }

  dropRecord(seq: number): void {
    this.#sql.exec(DELETE_RECORD, seq);
  }

  /** A durable number; 0 = never set. */
  fact(name: string): number {
    const row = only(this.#sql.exec<{ value: ArrayBuffer }>("SELECT value FROM config_facts WHERE name = ?", name));
    return row ? this.#check.factOf(name, new Uint8Array(row.value)) : 0;
  }

  setFact(name: string, value: number): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO config_facts (name, value) VALUES (?, ?)",
      name,
      this.#check.factBytes(name, value),
    );
  }

  /** What the log says behind the tables. */
  #replay(from: number): void {
    const pending = this.#pending;
    pending.seq = from - 1;
    const versions = new Map<number, Version>();
    for (const { seq, record } of this.log(from, Number.MAX_SAFE_INTEGER)) {
      const { type, key, endedSeq, revision } = record;
      const ended = versions.get(endedSeq) ?? (endedSeq > 0 ? this.#versionIn(endedSeq) : undefined);
      if (ended) pending.addEnded(ended, revision);
      if (type === "put") {
        const version = versionOfRecord(seq, record);
        versions.set(seq, version);
        pending.set(version, endedSeq > 0);
      } else pending.remove(key);
      pending.seq = seq;
    }
  }

  /** The version that a record made. Absent = compacted, with all that could show it. */
  #versionIn(seq: number): Version | undefined {
    const record = this.record(seq);
    return record && versionOfRecord(seq, record);
  }

  #versions(query: { query: string; values: boolean; bindings: readonly (number | string | Uint8Array)[] }): Version[] {
    return readVersions({ sql: this.#sql, check: this.#check }, query);
  }

  #decode(bytes: ArrayBuffer): LogRecord {
    return decodeRecord(this.#crc32c, new Uint8Array(bytes));
  }
}
