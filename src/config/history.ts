// The versions that ended: in runs, each a stretch of revisions, its rows by key. What ends together is stored together, so that a batch
// is written at the end of the table and old history goes by whole runs.
// Guarantees: a version that lived at a permitted revision is found, once. Must not: hold values; know which revisions are permitted.
//
// Invariant: a row of run r has r ≤ ended ≤ the next run's number: a run's number is the first revision that ended something in it.
import type { SqlStorage } from "../storage/types.ts";
import type { BinaryKey, KeyRange } from "../wire/config.ts";
import { bytesOfKey } from "../wire/config-keys.ts";
import type { IndexCheck } from "./index-row.ts";
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
import type { EndedVersion } from "./pending-index.ts";
import type { Scan, Version } from "./version.ts";

const ENDED = `SELECT ${VERSION_COLUMNS}, ended FROM config_ended WHERE run = ?`;
const SELECT_ONE = `${ENDED} AND key = ? AND mod <= ? AND ended > ? LIMIT 1`;
const SELECT_AT = `${ENDED} AND key = ? AND mod = ?`;
const PUT_BACK = `UPDATE config_ended SET seq = ?, created = ?, version = ?, lease = ?, crc = ?, ended = ?
  WHERE run = ? AND key = ? AND mod = ?`;
const SELECT_RUN = "SELECT run FROM config_ended WHERE run > ? ORDER BY run LIMIT 1";
const ROWS = { into: `config_ended (run, ${VERSION_COLUMNS}, ended)`, columnCount: 9 };

export class History {
  readonly #sql: SqlStorage;
  readonly #check: IndexCheck;
  readonly #rows: RowWriter;
  readonly #runRows: number;
  /** Ascending. */
  #runs: number[] = [];
  /** Rows of the newest run that are known of: after a restart a run is closed. */
  #newestRows: number;

  constructor(sql: SqlStorage, check: IndexCheck, runRows: number) {
    this.#sql = sql;
    this.#check = check;
    this.#rows = new RowWriter(sql, ROWS);
    this.#runRows = runRows;
    this.#newestRows = runRows;
    for (let run = -1; ; this.#runs.push(run)) {
      const next = only(sql.exec<{ run: number }>(SELECT_RUN, run));
      if (!next) return;
      run = next.run;
    }
  }

  get runCount(): number {
    return this.#runs.length;
  }

  /** In the order of keys; none of them ended before what is here. */
  add(versions: readonly EndedVersion[]): void {
    if (versions.length === 0) return;
    if (this.#newestRows >= this.#runRows) {
      const run = versions.reduce((least, { ended }) => Math.min(least, ended), Number.MAX_SAFE_INTEGER);
      // One revision may be written in two batches.
      if (this.#runs.at(-1) !== run) this.#runs.push(run);
      this.#newestRows = 0;
    }
    const run = this.#runs.at(-1)!;
    this.#newestRows += versions.length;
    this.#rows.write(versions.map(({ version, ended }) => [run, ...this.#check.rowOf(version, ended), ended]));
  }

  /** Gives what takes back what is added from here on. */
  mark(): () => void {
    const [count, newestRows] = [this.#runs.length, this.#newestRows];
    return () => {
      this.#runs.length = count;
      this.#newestRows = newestRows;
    };
  }

  versionAt(key: BinaryKey, modRevision: number): EndedVersion | undefined {
    for (const run of this.#runsSince(modRevision)) {
      const row = only(this.#sql.exec<VersionRow>(SELECT_AT, run, bytesOfKey(key), modRevision));
      if (row) return { version: versionOf(this.#check, row), ended: row.ended };
    }
    return undefined;
  }

  /** Replaces a damaged row. */
  putBack(version: Version, ended: number): void {
    const [key, seq, mod, created, count, lease, crc] = this.#check.rowOf(version, ended);
    for (const run of this.#runsSince(mod))
      this.#sql.exec(PUT_BACK, seq, created, count, lease, crc, ended, run, key, mod);
  }

  find(key: BinaryKey, revision: number): Version | undefined {
    const bytes = bytesOfKey(key);
    for (const run of this.#runsSince(revision)) {
      const row = only(this.#sql.exec<VersionRow>(SELECT_ONE, run, bytes, revision, revision));
      if (row) return versionOf(this.#check, row);
    }
    return undefined;
  }

  /** Adds the versions that lived at the scan's revision to `found`; the first `limit` of both are the answer. */
  scanInto(found: Version[], { revision, limit, descending = false, values = false, ...range }: Scan): Version[] {
    let versions = found;
    let bounded: KeyRange = range;
    for (const run of this.#runsSince(revision)) {
      const { where, keys } = whereRange(bounded);
      const order = `ORDER BY key ${descending ? "DESC" : "ASC"} LIMIT ?`;
      const query = `${ENDED} AND ${where} AND mod <= ? AND ended > ? ${order}`;
      const more = readVersions(
        { sql: this.#sql, check: this.#check },
        { query, values, bindings: [run, ...keys, revision, revision, limit] },
      );
      if (more.length === 0) continue;
      versions = inOrder(versions.concat(more), limit, descending);
      if (versions.length < limit || range.rangeEnd === "") continue;
      // What lies behind the last one that is wanted need not be looked at in the other runs.
      const last = versions.at(-1)!.key;
      bounded = descending ? { key: last, rangeEnd: range.rangeEnd } : { key: range.key, rangeEnd: `${last}\0` };
    }
    return versions;
  }

  count(range: KeyRange, revision: number): number {
    const { where, keys } = whereRange(range);
    const query = `SELECT count(*) AS n FROM config_ended WHERE run = ? AND ${where} AND mod <= ? AND ended > ?`;
    let count = 0;
    for (const run of this.#runsSince(revision)) count += countOf(this.#sql, query, run, ...keys, revision, revision);
    return count;
  }

  /** Forgets the oldest run of which no read at `compacted` or later can show a row; false = there is none. */
  dropOldest(compacted: number): boolean {
    const [oldest, next] = this.#runs;
    if (oldest === undefined) return false;
    const last = next ?? countOf(this.#sql, "SELECT max(ended) AS n FROM config_ended WHERE run = ?", oldest);
    if (last > compacted) return false;
    this.#sql.exec("DELETE FROM config_ended WHERE run = ?", oldest);
    this.#runs = this.#runs.slice(1);
    if (next === undefined) this.#newestRows = this.#runRows;
    return true;
  }

  /** All rows are gone. */
  clear(): void {
    this.#runs = [];
    this.#newestRows = this.#runRows;
  }

  /** Runs that may hold a version which lived at `revision`: it ended later. */
  #runsSince(revision: number): readonly number[] {
    let first = 0;
    while (first + 1 < this.#runs.length && this.#runs[first + 1]! <= revision) first++;
    return this.#runs.slice(first);
  }
}
