// Where a keyspace's versions are: an index of living and of ended versions by key, and the log with their values.
// Guarantees: rows and records are checked when they are read (CRC32C), never served otherwise; all of one turn commits together
// (the caller's SQLite). Must not: decide what may be written.
//
// Invariants: config_current holds a key's version while it lives, config_ended (history.ts) those from `mod` until before `ended`,
// both up to the record `indexed`; what the log says behind it is in memory (pending-index.ts), and read from the log at a start. Every
// row's `seq` names a log row of that key and revision. Log rows of ended versions go when `ended` ≤ the compacted revision.
import type { SqlStorage } from "../storage/types.ts";
import type { BinaryKey, KeyRange, KeyValue, LeaseId } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes, NO_END } from "../wire/config-keys.ts";
import { History } from "./history.ts";
import { IndexCheck } from "./index-row.ts";
import {
  countOf,
  inOrder,
  only,
  RowWriter,
  readVersions,
  rowsOfKeys,
  VERSION_COLUMNS,
  type VersionRow,
  versionOf,
  whereRange,
} from "./index-rows.ts";
import { HISTORY_RUN_ROWS, MAX_REVISION, PENDING_INDEX_MS, PENDING_INDEX_ROWS } from "./limits.ts";
import { LogRows } from "./log-rows.ts";
import { PendingIndex } from "./pending-index.ts";
import { CorruptRecord, type Crc32c } from "./record.ts";
import { type Scan, type Version, versionOfRecord } from "./version.ts";

const LIVING = `SELECT ${VERSION_COLUMNS}, 0 AS ended FROM config_current`;
const SELECT_CURRENT = `${LIVING} WHERE key = ?`;
const SELECT_STORED = `SELECT f.*, l.record FROM (${SELECT_CURRENT}) f LEFT JOIN config_log l ON l.seq = f.seq`;
/** In place where there is a row: replacing it would be a deletion and an insertion. */
const CURRENT_ROWS = {
  into: `config_current (${VERSION_COLUMNS})`,
  columnCount: 7,
  tail: ` ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, mod = excluded.mod, created = excluded.created,
    version = excluded.version, lease = excluded.lease, crc = excluded.crc`,
};
const DELETE_CURRENT = "DELETE FROM config_current WHERE key = ?";
const SELECT_BEHIND = "SELECT key FROM config_current WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?";
const SELECT_LEASED = `${LIVING} WHERE lease = ? AND lease <> '' ORDER BY key LIMIT ?`;

/** Where the index is: the number of the log's record up to which the tables hold it, and one more; 0 = of an older build. */
const INDEXED = "indexed";
/** How many keys the table of living ones has, and one more; 0 = of an older build. */
const STORED_KEYS = "storedKeys";
/** As {@link ConfigStore.indexedTo}: there is nothing of the log to be read into the index. */
export const ALL_INDEXED = MAX_REVISION - 1;

export interface CopyPage {
  readonly versions: readonly Version[];
  /** There are no keys behind these. */
  readonly isLast: boolean;
}

/** Index rows that are read at once. */
const COPIED_ROWS = 200;

/** Of batches; tests make them small. `pendingRows` 0 = nothing waits behind its turn. */
export interface IndexBatches {
  readonly pendingRows: number;
  readonly runRows: number;
}

const BATCHES: IndexBatches = { pendingRows: PENDING_INDEX_ROWS, runRows: HISTORY_RUN_ROWS };

export class ConfigStore extends LogRows {
  readonly #sql: SqlStorage;
  readonly #check: IndexCheck;
  readonly #history: History;
  readonly #current: RowWriter;
  readonly #pending = new PendingIndex();
  readonly #pendingRows: number;
  /** All living keys, those in memory too. Counting rows is a walk over all of them. */
  #keyCount = 0;
  #flushedMs = Number.NEGATIVE_INFINITY;
  /** The log cannot be read behind what the tables hold: nobody knows which keys that changed. */
  readonly damage: CorruptRecord | undefined;

  constructor(sql: SqlStorage, crc32c: Crc32c, { pendingRows, runRows } = BATCHES) {
    super(sql, crc32c);
    this.#sql = sql;
    this.#pendingRows = pendingRows;
    this.#check = new IndexCheck(crc32c);
    this.#current = new RowWriter(sql, CURRENT_ROWS);
    this.#history = new History(sql, this.#check, runRows);
    try {
      const storedKeys = this.fact(STORED_KEYS);
      this.#keyCount = storedKeys > 0 ? storedKeys - 1 : countOf(sql, "SELECT count(*) AS n FROM config_current");
      const indexed = this.fact(INDEXED);
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

  /** The living version of `key` with its log row, by one statement where it can be: what a read makes is what the next collection of garbage costs. */
  findStored(key: BinaryKey): Version | undefined {
    const pending = this.#pending.get(key);
    if (pending) return pending.version;
    const row = only(this.#sql.exec<VersionRow>(SELECT_STORED, bytesOfKey(key)));
    return row && versionOf(this.#check, row);
  }

  /** The living versions of these keys, by few statements; undefined = there is none. */
  findAll(keys: readonly BinaryKey[]): Map<BinaryKey, Version | undefined> {
    const found = new Map<BinaryKey, Version | undefined>();
    const asked: Uint8Array[] = [];
    for (const key of keys) {
      const pending = this.#pending.get(key);
      found.set(key, pending?.version);
      if (!pending) asked.push(bytesOfKey(key));
    }
    for (const row of rowsOfKeys(this.#sql, LIVING, asked)) {
      const version = versionOf(this.#check, row);
      found.set(version.key, version);
    }
    return found;
  }

  /** Versions of a range in the order of their keys. */
  scan(scan: Scan): readonly Version[] {
    const { revision, limit, descending, values = false, ...range } = scan;
    if (revision > 0) this.flush();
    if (values) this.writeRecords();
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
    return this.#keyCount;
  }

  /** The key that many behind `key`; undefined = there are not so many. */
  keyBehind(key: BinaryKey, offset: number): BinaryKey | undefined {
    this.flush();
    const row = only(this.#sql.exec<{ key: ArrayBuffer }>(SELECT_BEHIND, bytesOfKey(key), offset));
    return row && keyOfBytes(new Uint8Array(row.key));
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
  override valueOf(version: Version): KeyValue {
    const { seq, stored } = version;
    const record = stored ? this.decode(stored, seq) : this.record(seq);
    if (record?.key !== version.key || record.revision !== version.modRevision) {
      throw new CorruptRecord(`the log row ${seq} is not the version that the index names`, { kind: "record", seq });
    }
    const { key, createRevision, modRevision, version: count, lease } = version;
    return { key, createRevision, modRevision, version: count, lease, value: record.value };
  }

  /** A row of the index and the revision that ended it; `modRevision` 0 = the living one, which has no end (0). */
  versionAt(key: BinaryKey, modRevision: number): { readonly version: Version; readonly ended: number } | undefined {
    this.flush();
    if (modRevision > 0) return this.#history.versionAt(key, modRevision);
    const version = this.find(key);
    return version && { version, ended: 0 };
  }

  /** For src/config/repair.ts: whatever the row says. */
  uncheckedCurrent(key: BinaryKey): Version | undefined {
    this.flush();
    const row = only(this.#sql.exec<VersionRow>(SELECT_CURRENT, bytesOfKey(key)));
    if (!row) return undefined;
    const { seq, mod, created, version, lease } = row;
    return { key, seq, modRevision: mod, createRevision: created, version, lease };
  }

  /** Replaces a damaged row. */
  putBack(version: Version, ended: number): void {
    this.flush();
    if (ended > 0) this.#history.putBack(version, ended);
    else this.#current.write([this.#check.rowOf(version)]);
  }

  /**
   * The living versions and their log rows, as they were at `revision`, of keys behind `after` ("" = from the first), in their order. Rows are
   * read one by one: each may be 1 MiB, and a page ends with the one that passes `pageBytes`.
   */
  copyPage(after: BinaryKey, revision: number, pageBytes: number): CopyPage {
    const versions: Version[] = [];
    let key = after === "" ? "\0" : `${after}\0`;
    let bytes = 0;
    for (;;) {
      const more = this.scan({ key, rangeEnd: NO_END, revision, limit: COPIED_ROWS });
      for (const version of more) {
        const { seq } = version;
        const stored = this.storedBytes(seq);
        if (!stored)
          throw new CorruptRecord(`the log row ${seq}, which the index names, is not there`, { kind: "record", seq });
        versions.push({ ...version, stored });
        bytes += version.key.length + stored.length;
        if (bytes >= pageBytes) return { versions, isLast: false };
      }
      if (more.length < COPIED_ROWS) return { versions, isLast: true };
      key = `${more.at(-1)!.key}\0`;
    }
  }

  /** Of all living keys and values: reads everything. */
  countBytes(): number {
    this.flush();
    let bytes = 0;
    for (const { key, seq } of this.#sql.exec<VersionRow>(LIVING)) bytes += key.byteLength + this.valueBytes(seq);
    return bytes;
  }

  /** All of it, or nothing where it throws: in memory as in the tables. Not within another. */
  atomically<T>(run: () => T): T {
    const keyCount = this.#keyCount;
    const undoPending = this.#pending.mark();
    const undoHistory = this.#history.mark();
    const undoGathered = this.markGathered();
    try {
      return this.#sql.transactionSync(run);
    } catch (error) {
      this.#keyCount = keyCount;
      undoPending();
      undoHistory();
      undoGathered();
      throw error;
    } finally {
      this.#pending.unmark();
    }
  }

  /** Forgets all keys and records in slices; true when nothing is left. */
  wipe(limit: number): boolean {
    this.replaced({ seq: ALL_INDEXED, keys: 0 });
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

  /** The tables are others, or go: they hold what the log says up to `seq`, and so many living keys. What was in memory is of before. */
  replaced({ seq, keys }: { readonly seq: number; readonly keys: number }): void {
    this.#pending.clear();
    this.#history.clear();
    this.forgetGathered();
    this.#keyCount = keys;
    this.indexedTo(seq);
  }

  override append(seq: number, record: Uint8Array): void {
    super.append(seq, record);
    this.#pending.seq = seq;
  }

  /** `isNew`: the key is not alive yet. */
  setCurrent(version: Version, isNew: boolean): void {
    this.#pending.set(version, !isNew);
    if (isNew) this.#keyCount++;
  }

  removeCurrent(key: BinaryKey): void {
    this.#pending.remove(key);
    this.#keyCount--;
  }

  addEnded(version: Version, ended: number): void {
    this.#pending.addEnded(version, ended);
  }

  /** A living version with its log row, in any order: of a copy, which says by {@link indexedTo} where it ends. */
  load(version: Version, record: Uint8Array): void {
    this.insertRecord(version.seq, record);
    this.#current.write([this.#check.rowOf(version)]);
    this.#keyCount++;
  }

  /** The tables hold what the log says up to `seq`, and no more is known. */
  indexedTo(seq: number): void {
    this.#pending.seq = seq;
    this.setFact(INDEXED, seq + 1);
    this.setFact(STORED_KEYS, this.#keyCount + 1);
  }

  /** To be called between changes, once a turn. Where writes are few the tables are brought up to the log at once. */
  endTurn(nowMs: number): void {
    this.writeRecords();
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
    this.writeRecords();
    this.#sql.transactionSync(() => {
      const living: Version[] = [];
      for (const [key, { version }] of pending.sortedKeys()) {
        if (version) living.push(version);
        else this.#sql.exec(DELETE_CURRENT, bytesOfKey(key));
      }
      this.#current.write(living.map((version) => this.#check.rowOf(version)));
      this.#history.add(pending.sortedEnded());
      this.setFact(INDEXED, pending.seq + 1);
      this.setFact(STORED_KEYS, this.#keyCount + 1);
    });
    pending.clear();
  }

  /** Forgets a stretch of ended versions that nobody may read after a compaction; false = there is none. */
  dropOldestEnded(compacted: number): boolean {
    return this.#history.dropOldest(compacted);
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
      const ended = versions.get(endedSeq) ?? (endedSeq > 0 ? this.#versionIn(endedSeq, key) : undefined);
      if (ended) pending.addEnded(ended, revision);
      if (type === "put") {
        const version = versionOfRecord(seq, record);
        versions.set(seq, version);
        this.setCurrent(version, endedSeq === 0);
      } else this.removeCurrent(key);
      pending.seq = seq;
    }
  }

  /** The version of `key` that a record made. Absent = compacted, with all that could show it. */
  #versionIn(seq: number, key: BinaryKey): Version | undefined {
    try {
      const record = this.record(seq);
      return record && versionOfRecord(seq, record);
    } catch (error) {
      // Its value is lost, not the keyspace: the row of what was alive when the tables were last brought up says the rest.
      const stored = error instanceof CorruptRecord ? this.#storedVersion(key) : undefined;
      if (stored?.seq !== seq) throw error;
      return stored;
    }
  }

  #storedVersion(key: BinaryKey): Version | undefined {
    const row = only(this.#sql.exec<VersionRow>(SELECT_CURRENT, bytesOfKey(key)));
    return row && versionOf(this.#check, row);
  }

  #versions(query: { query: string; values: boolean; bindings: readonly (number | string | Uint8Array)[] }): Version[] {
    return readVersions({ sql: this.#sql, check: this.#check }, query);
  }
}
