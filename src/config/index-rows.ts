// Rows of the index: versions by key, as SQLite holds them.
// Guarantees: a row whose checksum does not match is refused (CRC32C). Must not: know which rows a read needs.
import type { SqlStorage } from "../storage/types.ts";
import type { KeyRange, LeaseId } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes, NO_END } from "../wire/config-keys.ts";
import type { IndexCheck } from "./index-row.ts";
import { CorruptRecord } from "./record.ts";
import type { Version } from "./version.ts";

export interface VersionRow {
  readonly key: ArrayBuffer;
  readonly seq: number;
  readonly mod: number;
  readonly created: number;
  readonly version: number;
  readonly lease: LeaseId;
  readonly crc: number;
  /** 0 = alive. */
  readonly ended: number;
  readonly record?: ArrayBuffer;
}

/** Of both tables of versions. */
export const VERSION_COLUMNS = "key, seq, mod, created, version, lease, crc";

/** The one row. A cursor that is not read to its end keeps its statement busy. */
export function only<Row>(rows: Iterable<Row>): Row | undefined {
  let found: Row | undefined;
  for (const row of rows) found = row;
  return found;
}

export function countOf(sql: SqlStorage, query: string, ...bindings: readonly (number | Uint8Array)[]): number {
  return only(sql.exec<{ n: number }>(query, ...bindings))?.n ?? 0;
}

/** The two ends of a range as SQL and its bindings. */
export function whereRange({ key, rangeEnd }: KeyRange): {
  readonly where: string;
  readonly keys: readonly Uint8Array[];
} {
  if (rangeEnd === "") return { where: "key = ?", keys: [bytesOfKey(key)] };
  if (rangeEnd === NO_END) return { where: "key >= ?", keys: [bytesOfKey(key)] };
  return { where: "key >= ? AND key < ?", keys: [bytesOfKey(key), bytesOfKey(rangeEnd)] };
}

export function versionOf(check: IndexCheck, row: VersionRow): Version {
  const bytes = new Uint8Array(row.key);
  const { seq, mod, created, version, lease, ended } = row;
  const found = { key: keyOfBytes(bytes), seq, modRevision: mod, createRevision: created, version, lease };
  if (check.crcOf(bytes, found, ended) !== row.crc) {
    const place = { kind: "version", key: found.key, modRevision: ended === 0 ? 0 : mod } as const;
    throw new CorruptRecord("an index row fails its checksum", place);
  }
  return row.record ? { ...found, stored: new Uint8Array(row.record) } : found;
}

/** Versions of an ordered query; with `values` their log rows come along, in the same statement. */
export function readVersions(
  { sql, check }: { readonly sql: SqlStorage; readonly check: IndexCheck },
  { query, values, bindings }: { query: string; values: boolean; bindings: readonly (number | string | Uint8Array)[] },
): Version[] {
  const versions: Version[] = [];
  const joined = values ? `SELECT f.*, l.record FROM (${query}) f LEFT JOIN config_log l ON l.seq = f.seq` : query;
  for (const row of sql.exec<VersionRow>(joined, ...bindings)) versions.push(versionOf(check, row));
  return versions;
}

/** Below {@link MAX_BINDINGS}, a power of two. */
const MOST_KEYS_AT_ONCE = 64;

/** Rows of a table of versions with one of these keys; statements of few lengths, so that they stay prepared. */
export function rowsOfKeys(sql: SqlStorage, query: string, keys: readonly Uint8Array[]): readonly VersionRow[] {
  const rows: VersionRow[] = [];
  let count = MOST_KEYS_AT_ONCE;
  for (let at = 0; at < keys.length; at += count) {
    while (count > keys.length - at) count >>>= 1;
    const places = "?, ".repeat(count - 1);
    for (const row of sql.exec<VersionRow>(`${query} WHERE key IN (${places}?)`, ...keys.slice(at, at + count)))
      rows.push(row);
  }
  return rows;
}

/** Bindings of one statement that Durable Objects take. */
const MAX_BINDINGS = 100;
type Row = readonly (number | string | Uint8Array)[];

/** Writes rows many at a time: a statement costs as much as a row. `tail` stands behind the values. */
export class RowWriter {
  readonly #sql: SqlStorage;
  readonly #one: string;
  readonly #many: string;
  readonly #manyRows: number;

  constructor(sql: SqlStorage, { into, columnCount, tail = "" }: { into: string; columnCount: number; tail?: string }) {
    const row = `(${"?, ".repeat(columnCount - 1)}?)`;
    this.#sql = sql;
    this.#manyRows = Math.floor(MAX_BINDINGS / columnCount);
    this.#one = `INSERT INTO ${into} VALUES ${row}${tail}`;
    this.#many = `INSERT INTO ${into} VALUES ${`${row}, `.repeat(this.#manyRows - 1)}${row}${tail}`;
  }

  write(rows: readonly Row[]): void {
    let at = 0;
    for (; at + this.#manyRows <= rows.length; at += this.#manyRows)
      this.#sql.exec(this.#many, ...rows.slice(at, at + this.#manyRows).flat());
    for (; at < rows.length; at++) this.#sql.exec(this.#one, ...rows[at]!);
  }
}

/** In the order of keys; at most `limit`. */
export function inOrder(versions: Version[], limit: number, descending = false): Version[] {
  versions.sort((a, b) => (a.key < b.key === !descending ? -1 : 1));
  return versions.length > limit ? versions.slice(0, limit) : versions;
}
