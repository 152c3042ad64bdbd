// Where a keyspace's versions are: an index of living and of ended versions by key, and the log with their values.
// Guarantees: rows and records are checked when they are read (CRC32C), never served otherwise; all of one turn commits together
// (the caller's SQLite). Must not: decide what may be written.
//
// Invariants: config_current holds a key's version while it lives; config_history those from `mod` until before `ended`. Every
// row's `seq` names a log row of that key and revision. Log rows of ended versions go when `ended` ≤ the compacted revision.
import type { SqlStorage } from "../storage/types.ts";
import type { BinaryKey, KeyRange, KeyValue, LeaseId } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes, NO_END } from "../wire/config-keys.ts";
import { IndexCheck } from "./index-row.ts";
import { CorruptRecord, type Crc32c, decodeRecord, type LogRecord } from "./record.ts";

/** A version's place and metadata, without its value. */
export interface Version {
  readonly key: BinaryKey;
  readonly seq: number;
  readonly modRevision: number;
  readonly createRevision: number;
  readonly version: number;
  readonly lease: LeaseId;
  /** The log row, where a scan brought it along. */
  readonly stored?: Uint8Array | undefined;
}

interface VersionRow {
  readonly key: ArrayBuffer;
  readonly seq: number;
  readonly mod: number;
  readonly created: number;
  readonly version: number;
  readonly lease: string;
  readonly crc: number;
  /** 0 = alive. */
  readonly ended: number;
  readonly record?: ArrayBuffer;
}

interface LogRow {
  readonly seq: number;
  readonly record: ArrayBuffer;
}

const COLUMNS = "key, seq, mod, created, version, lease, crc";
const LIVING = `SELECT ${COLUMNS}, 0 AS ended FROM config_current`;
const ENDED = `SELECT ${COLUMNS}, ended FROM config_history`;
const SELECT_CURRENT = `${LIVING} WHERE key = ?`;
const SELECT_ENDED = `${ENDED} WHERE key = ? AND mod <= ? AND ended > ? ORDER BY mod DESC LIMIT 1`;
const SELECT_RECORD = "SELECT record FROM config_log WHERE seq = ?";
const INSERT_RECORD = "INSERT INTO config_log (seq, record) VALUES (?, ?)";
const INSERT_CURRENT = `INSERT INTO config_current (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)`;
const UPDATE_CURRENT =
  "UPDATE config_current SET seq = ?, mod = ?, created = ?, version = ?, lease = ?, crc = ? WHERE key = ?";
const DELETE_CURRENT = "DELETE FROM config_current WHERE key = ?";
const INSERT_ENDED = `INSERT INTO config_history (${COLUMNS}, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
const DELETE_ENDED = "DELETE FROM config_history WHERE key = ? AND mod = ?";
const DELETE_RECORD = "DELETE FROM config_log WHERE seq = ?";
const SELECT_LOG = "SELECT seq, record FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LENGTHS = "SELECT length(record) AS bytes FROM config_log WHERE seq >= ? ORDER BY seq LIMIT ?";
const SELECT_LAST = "SELECT seq, record FROM config_log ORDER BY seq DESC LIMIT 1";
const SELECT_BEHIND = "SELECT key FROM config_current WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?";
const SELECT_LEASED = `${LIVING} WHERE lease = ? AND lease <> '' ORDER BY key LIMIT ?`;

/** The one row. A cursor that is not read to its end keeps its statement busy. */
function only<Row>(rows: Iterable<Row>): Row | undefined {
  let found: Row | undefined;
  for (const row of rows) found = row;
  return found;
}

/** The two ends of a range as SQL and its bindings. */
function whereRange({ key, rangeEnd }: KeyRange): { readonly where: string; readonly keys: readonly Uint8Array[] } {
  if (rangeEnd === "") return { where: "key = ?", keys: [bytesOfKey(key)] };
  if (rangeEnd === NO_END) return { where: "key >= ?", keys: [bytesOfKey(key)] };
  return { where: "key >= ? AND key < ?", keys: [bytesOfKey(key), bytesOfKey(rangeEnd)] };
}

export interface CopyPage {
  readonly versions: readonly Version[];
  /** There are no keys behind these. */
  readonly isLast: boolean;
}

/** Index rows that are read at once. */
const COPIED_ROWS = 200;

export interface Scan extends KeyRange {
  /** 0 = the living keys. */
  readonly revision: number;
  readonly limit: number;
  readonly descending?: boolean | undefined;
  /** Brings the values along, in the same statement. */
  readonly values?: boolean | undefined;
}

export class ConfigStore {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #check: IndexCheck;

  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    this.#check = new IndexCheck(crc32c);
  }

  /** The version of `key` at `revision` (0 = now), if it was there. */
  find(key: BinaryKey, revision = 0): Version | undefined {
    const bytes = bytesOfKey(key);
    const current = only(this.#sql.exec<VersionRow>(SELECT_CURRENT, bytes));
    if (current && (revision === 0 || current.mod <= revision)) return this.#versionOf(current);
    if (revision === 0) return undefined;
    const ended = only(this.#sql.exec<VersionRow>(SELECT_ENDED, bytes, revision, revision));
    return ended && this.#versionOf(ended);
  }

  /** Versions of a range in the order of their keys. */
  scan({ revision, limit, descending, values, ...range }: Scan): readonly Version[] {
    const { where, keys } = whereRange(range);
    const ended = `UNION ALL ${ENDED} WHERE ${where} AND mod <= ? AND ended > ?`;
    const found = `${LIVING} WHERE ${where}${revision === 0 ? "" : ` AND mod <= ? ${ended}`}`;
    const order = `ORDER BY key ${descending ? "DESC" : "ASC"} LIMIT ?`;
    const query = values
      ? `SELECT f.*, l.record FROM (${found} ${order}) f LEFT JOIN config_log l ON l.seq = f.seq`
      : `${found} ${order}`;
    const past = revision === 0 ? [] : [revision, ...keys, revision, revision];
    const versions: Version[] = [];
    for (const row of this.#sql.exec<VersionRow>(query, ...keys, ...past, limit)) versions.push(this.#versionOf(row));
    if (values) versions.sort((a, b) => (a.key < b.key === !descending ? -1 : 1));
    return versions;
  }

  count(range: KeyRange, revision: number): number {
    const { where, keys } = whereRange(range);
    const current = `SELECT count(*) AS n FROM config_current WHERE ${where}`;
    if (revision === 0) return this.#number(current, ...keys);
    const ended = `SELECT count(*) AS n FROM config_history WHERE ${where} AND mod <= ? AND ended > ?`;
    return (
      this.#number(`${current} AND mod <= ?`, ...keys, revision) + this.#number(ended, ...keys, revision, revision)
    );
  }

  /** The key that many rows behind `key` in the index; undefined = there are not so many. */
  keyBehind(key: BinaryKey, offset: number): BinaryKey | undefined {
    const row = only(this.#sql.exec<{ key: ArrayBuffer }>(SELECT_BEHIND, bytesOfKey(key), offset));
    return row && keyOfBytes(new Uint8Array(row.key));
  }

  leased(lease: LeaseId, limit: number): readonly Version[] {
    const versions: Version[] = [];
    for (const row of this.#sql.exec<VersionRow>(SELECT_LEASED, lease, limit)) versions.push(this.#versionOf(row));
    return versions;
  }

  /** Throws CorruptRecord where it is absent or is another key's. */
  valueOf(version: Version): KeyValue {
    const { seq, stored } = version;
    const record = stored ? decodeRecord(this.#crc32c, stored, seq) : this.record(seq);
    if (record?.key !== version.key || record.revision !== version.modRevision) {
      throw new CorruptRecord(`the log row ${seq} is not the version that the index names`, { kind: "record", seq });
    }
    const { key, createRevision, modRevision, version: count, lease } = version;
    return { key, createRevision, modRevision, version: count, lease, value: record.value };
  }

  record(seq: number): LogRecord | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_RECORD, seq));
    return row && this.#decode(row.record, seq);
  }

  /** As stored; throws where it is damaged. */
  recordBytes(seq: number): Uint8Array | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_RECORD, seq));
    if (!row) return undefined;
    this.#decode(row.record, seq);
    return new Uint8Array(row.record);
  }

  /** A row of the index and the revision that ended it; `modRevision` 0 = the living one, which has no end (0). */
  versionAt(key: BinaryKey, modRevision: number): { readonly version: Version; readonly ended: number } | undefined {
    const bytes = bytesOfKey(key);
    const rows =
      modRevision === 0
        ? this.#sql.exec<VersionRow>(SELECT_CURRENT, bytes)
        : this.#sql.exec<VersionRow>(`${ENDED} WHERE key = ? AND mod = ?`, bytes, modRevision);
    const row = only(rows);
    return row && { version: this.#versionOf(row), ended: row.ended };
  }

  /** For src/config/repair.ts: whatever the row says. */
  uncheckedCurrent(key: BinaryKey): Version | undefined {
    const row = only(this.#sql.exec<VersionRow>(SELECT_CURRENT, bytesOfKey(key)));
    if (!row) return undefined;
    const { seq, mod, created, version, lease } = row;
    return { key, seq, modRevision: mod, createRevision: created, version, lease };
  }

  /** Replaces a damaged row. */
  putBack(version: Version, ended: number): void {
    if (ended === 0) return this.setCurrent(version, false);
    this.#sql.exec(DELETE_ENDED, bytesOfKey(version.key), version.modRevision);
    this.addEnded(version, ended);
  }

  putBackRecord(seq: number, record: Uint8Array): void {
    this.#sql.exec("INSERT OR REPLACE INTO config_log (seq, record) VALUES (?, ?)", seq, record);
  }

  lastRecord(): { readonly seq: number; readonly record: LogRecord } | undefined {
    const row = only(this.#sql.exec<LogRow>(SELECT_LAST));
    return row && { seq: row.seq, record: this.#decode(row.record, row.seq) };
  }

  /** Records in order from `seq` on; compaction leaves gaps. */
  log(seq: number, limit: number): readonly { readonly seq: number; readonly record: LogRecord }[] {
    const records = [];
    for (const row of this.#sql.exec<LogRow>(SELECT_LOG, seq, limit)) {
      records.push({ seq: row.seq, record: this.#decode(row.record, row.seq) });
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
      records.push({ seq: row.seq, revision: decodeRecord(this.#crc32c, bytes, row.seq).revision, bytes });
    }
    return records;
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
        const row = only(this.#sql.exec<LogRow>(SELECT_RECORD, version.seq));
        if (!row) {
          const place = { kind: "record", seq: version.seq } as const;
          throw new CorruptRecord(`the log row ${version.seq}, which the index names, is not there`, place);
        }
        versions.push({ ...version, stored: new Uint8Array(row.record) });
        bytes += version.key.length + row.record.byteLength;
        if (bytes >= pageBytes) return { versions, isLast: false };
      }
      if (more.length < COPIED_ROWS) return { versions, isLast: true };
      key = `${more.at(-1)!.key}\0`;
    }
  }

  /** How many records from `seq` on, of at most `limit`, have `pageBytes` together; the last one may pass it. */
  recordsWithin(seq: number, limit: number, pageBytes: number): number {
    let count = 0;
    let bytes = 0;
    for (const row of this.#sql.exec<{ bytes: number }>(SELECT_LENGTHS, seq, limit)) {
      if (bytes < pageBytes) count++;
      bytes += row.bytes;
    }
    return count;
  }

  /** All of it, or nothing where it throws. */
  atomically<T>(run: () => T): T {
    return this.#sql.transactionSync(run);
  }

  /** Of a record's value; 0 where it is damaged. */
  valueBytes(seq: number): number {
    try {
      return this.record(seq)?.value.length ?? 0;
    } catch (error) {
      if (error instanceof CorruptRecord) return 0;
      throw error;
    }
  }

  /** Of all living keys and values: reads everything. */
  countBytes(): number {
    let bytes = 0;
    for (const { key, seq } of this.#sql.exec<VersionRow>(`${LIVING}`)) bytes += key.byteLength + this.valueBytes(seq);
    return bytes;
  }

  isEmpty(): boolean {
    return only(this.#sql.exec("SELECT 1 AS n FROM config_log LIMIT 1")) === undefined;
  }

  /** Forgets all keys and records in slices; true when nothing is left. */
  wipe(limit: number): boolean {
    let isEmpty = true;
    for (const [table, column] of [
      ["config_current", "key"],
      ["config_history", "key"],
      ["config_log", "seq"],
    ]) {
      const query = `DELETE FROM ${table} WHERE ${column} IN (SELECT ${column} FROM ${table} LIMIT ?) RETURNING 1 AS n`;
      for (const _ of this.#sql.exec<{ n: number }>(query, limit)) isEmpty = false;
    }
    return isEmpty;
  }

  append(seq: number, record: Uint8Array): void {
    this.#sql.exec(INSERT_RECORD, seq, record);
  }

  /** `isNew`: the key is not alive yet. */
  setCurrent(version: Version, isNew: boolean): void {
    const key = bytesOfKey(version.key);
    const { seq, modRevision, createRevision, version: count, lease } = version;
    const crc = this.#check.crcOf(key, version);
    // In place where there is a row: replacing it is a deletion and an insertion.
    if (isNew) this.#sql.exec(INSERT_CURRENT, key, seq, modRevision, createRevision, count, lease, crc);
    else this.#sql.exec(UPDATE_CURRENT, seq, modRevision, createRevision, count, lease, crc, key);
  }

  removeCurrent(key: BinaryKey): void {
    this.#sql.exec(DELETE_CURRENT, bytesOfKey(key));
  }

  addEnded(version: Version, ended: number): void {
    const key = bytesOfKey(version.key);
    const { seq, modRevision, createRevision, version: count, lease } = version;
    const crc = this.#check.crcOf(key, version, ended);
    this.#sql.exec(INSERT_ENDED, key, seq, modRevision, createRevision, count, lease, crc, ended);
  }

  /** Forgets an ended version and its value. */
  dropEnded({ key, modRevision, seq }: Pick<Version, "key" | "modRevision" | "seq">): void {
    this.#sql.exec(DELETE_ENDED, bytesOfKey(key), modRevision);
    this.dropRecord(seq);
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

  #number(query: string, ...bindings: readonly (number | Uint8Array)[]): number {
    return only(this.#sql.exec<{ n: number }>(query, ...bindings))?.n ?? 0;
  }

  #decode(bytes: ArrayBuffer, seq: number): LogRecord {
    return decodeRecord(this.#crc32c, new Uint8Array(bytes), seq);
  }

  #versionOf(row: VersionRow): Version {
    const bytes = new Uint8Array(row.key);
    const { seq, mod, created, version, lease, ended } = row;
    const found = { key: keyOfBytes(bytes), seq, modRevision: mod, createRevision: created, version, lease };
    if (this.#check.crcOf(bytes, found, ended) !== row.crc) {
      const place = { kind: "version", key: found.key, modRevision: ended === 0 ? 0 : mod } as const;
      throw new CorruptRecord("an index row fails its checksum", place);
    }
    return row.record ? { ...found, stored: new Uint8Array(row.record) } : found;
  }
}
