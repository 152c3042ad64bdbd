// The commit log: what a turn wrote, as rows of at most 1 MiB, each under a CRC32C that also covers its place.
// Guarantees: replay yields exactly what was appended, in order, or throws CorruptLog; a gap, a torn group, a flipped bit or a
// row in another's place is never skipped. Must not: know entries.

import type { Region } from "./arena.ts";
import { drain } from "./drain.ts";
import { LOG_TRIM_SLICE_BYTES, MAX_LOG_ROW_BYTES } from "./limits.ts";
import { CorruptLog, type Kernels, type SqlStorage } from "./types.ts";

interface LogRow {
  readonly seq: number;
  readonly part: number;
  readonly parts: number;
  readonly atMs: number;
  readonly crc: number;
  readonly bytes: ArrayBuffer;
}

/** A group of rows written together: entries never straddle groups. */
export interface LogGroup {
  readonly lastSeq: number;
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

export interface DamagedGroup {
  /** Of its first row. */
  readonly seq: number;
  readonly rows: number;
  readonly bytes: number;
}

const HEADER_BYTES = 24;

export class CommitLog {
  readonly #sql: SqlStorage;
  readonly #kernels: Kernels;
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  #nextSeq = 1;
  /** First seq that may still be stored; rows below `trimBelow` are garbage. */
  #firstSeq = 1;
  #trimThrough = 0;
  /** Bytes of rows not yet trimmed, by estimate of what was appended and trimmed. */
  bytes = 0;

  constructor(sql: SqlStorage, kernels: Kernels) {
    this.#sql = sql;
    this.#kernels = kernels;
  }

  get lastSeq(): number {
    return this.#nextSeq - 1;
  }

  /** Writes the regions of a turn. Returns the bytes written. */
  append(regions: readonly Region[], atMs: number): number {
    let written = 0;
    for (const { buffer, start, end } of regions) {
      const parts = Math.ceil((end - start) / MAX_LOG_ROW_BYTES);
      for (let part = 0; part < parts; part++) {
        const from = start + part * MAX_LOG_ROW_BYTES;
        this.#insert(buffer.u8.subarray(from, Math.min(end, from + MAX_LOG_ROW_BYTES)), part, parts, atMs);
      }
      written += end - start;
    }
    this.bytes += written;
    return written;
  }

  #insert(bytes: Uint8Array, part: number, parts: number, atMs: number): void {
    const seq = this.#nextSeq++;
    const crc = this.#crc({ seq, part, parts, atMs }, bytes);
    drain(
      this.#sql.exec(
        "INSERT INTO storage_log (seq, part, parts, atMs, crc, bytes) VALUES (?, ?, ?, ?, ?, ?)",
        seq,
        part,
        parts,
        atMs,
        crc,
        bytes,
      ),
    );
  }

  #crc(row: Pick<LogRow, "seq" | "part" | "parts" | "atMs">, bytes: Uint8Array): number {
    this.#headerView.setFloat64(0, row.seq, true);
    this.#headerView.setUint32(8, row.part, true);
    this.#headerView.setUint32(12, row.parts, true);
    this.#headerView.setFloat64(16, row.atMs, true);
    return this.#kernels.crc32c(bytes, this.#kernels.crc32c(this.#header));
  }

  /** Calls `take` with every group after `logThrough`, oldest first. Throws CorruptLog. */
  replay(logThrough: number, take: (group: LogGroup) => void): void {
    this.#checkPages();
    let expected = logThrough + 1;
    this.#firstSeq = expected;
    for (const group of this.read(logThrough)) {
      this.bytes += group.bytes.length;
      expected = group.lastSeq + 1;
      take(group);
    }
    this.#nextSeq = expected;
    this.#findGarbage(logThrough);
  }

  /** The groups after `after` up to `through`, oldest first; to be read to their end. Throws CorruptLog. */
  *read(after: number, through = Number.MAX_SAFE_INTEGER): Generator<LogGroup, void> {
    let expected = after + 1;
    let parts: Uint8Array[] = [];
    for (const row of this.#sql.exec<LogRow>(
      "SELECT seq, part, parts, atMs, crc, bytes FROM storage_log WHERE seq > ? AND seq <= ? ORDER BY seq",
      after,
      through,
    )) {
      const bytes = new Uint8Array(row.bytes);
      if (row.seq !== expected) throw new CorruptLog(`commit log row ${expected} is missing, found ${row.seq}`);
      if (this.#crc(row, bytes) !== row.crc) throw new CorruptLog(`commit log row ${row.seq} fails its CRC32C`);
      if (row.part !== parts.length)
        throw new CorruptLog(`commit log row ${row.seq} is part ${row.part}, not ${parts.length}`);
      expected++;
      parts.push(bytes);
      if (parts.length < row.parts) continue;
      yield { lastSeq: row.seq, atMs: row.atMs, bytes: parts.length === 1 ? bytes : concat(parts) };
      parts = [];
    }
    if (parts.length > 0) throw new CorruptLog(`the commit log ends within the group of row ${expected - 1}`);
  }

  /**
   * The first group after `after` with a row that fails its CRC32C: where it begins, and the bytes of its rows. For a repair before `replay`;
   * undefined = none does, or what is damaged is not a row's bytes.
   */
  firstDamaged(after: number): DamagedGroup | undefined {
    let group: { seq: number; bytes: number; isDamaged: boolean } | undefined;
    let expected = after + 1;
    let found: DamagedGroup | undefined;
    for (const row of this.#sql.exec<LogRow>(
      "SELECT seq, part, parts, atMs, crc, bytes FROM storage_log WHERE seq > ? ORDER BY seq",
      after,
    )) {
      if (found || row.seq !== expected++) continue;
      const bytes = new Uint8Array(row.bytes);
      if (row.part === 0) group = { seq: row.seq, bytes: 0, isDamaged: false };
      if (!group) continue;
      group.bytes += bytes.length;
      group.isDamaged ||= this.#crc(row, bytes) !== row.crc;
      if (row.part + 1 === row.parts && group.isDamaged)
        found = { seq: group.seq, rows: row.parts, bytes: group.bytes };
    }
    return found;
  }

  /** Puts a group's bytes right again. False: they are not what was logged. */
  repair({ seq, rows, bytes: length }: DamagedGroup, whole: Uint8Array): boolean {
    if (whole.length !== length) return false;
    const stored = [
      ...this.#sql.exec<LogRow>(
        "SELECT seq, part, parts, atMs, crc, bytes FROM storage_log WHERE seq >= ? AND seq < ? ORDER BY seq",
        seq,
        seq + rows,
      ),
    ];
    let at = 0;
    const parts = stored.map((row) => {
      const bytes = whole.slice(at, at + row.bytes.byteLength);
      at += bytes.length;
      return { row, bytes };
    });
    if (!parts.every(({ row, bytes }) => this.#crc(row, bytes) === row.crc)) return false;
    for (const { row, bytes } of parts)
      drain(this.#sql.exec("UPDATE storage_log SET bytes = ? WHERE seq = ?", bytes, row.seq));
    return true;
  }

  /** A damaged page could hide the last rows, and what is missing at the end leaves no gap: SQLite knows what its pages should hold. */
  #checkPages(): void {
    for (const { quick_check } of this.#sql.exec<{ quick_check: string }>("PRAGMA quick_check(storage_log)")) {
      if (quick_check !== "ok") throw new CorruptLog(`the commit log's pages are damaged: ${quick_check}`);
    }
  }

  /** Covered rows that are not trimmed yet. The last row of the log must not hide among them, so each must be what it was. */
  #findGarbage(logThrough: number): void {
    this.#trimThrough = logThrough;
    const rows = this.#sql.exec<LogRow>(
      "SELECT seq, part, parts, atMs, crc, bytes FROM storage_log WHERE seq <= ? ORDER BY seq DESC",
      logThrough,
    );
    for (const row of rows) {
      this.#firstSeq = row.seq;
      const bytes = new Uint8Array(row.bytes);
      if (this.#crc(row, bytes) !== row.crc) throw new CorruptLog(`covered commit log row ${row.seq} fails its CRC32C`);
    }
  }

  /** Rows up to `seq` are covered by tables: garbage from now on. */
  cover(seq: number): void {
    this.#trimThrough = seq;
  }

  get trimDue(): boolean {
    return this.#firstSeq <= this.#trimThrough;
  }

  /** Deletes a bounded number of covered rows. */
  trim(): void {
    let freed = 0;
    let through = this.#firstSeq - 1;
    const rows = [
      ...this.#sql.exec<{ seq: number; size: number }>(
        "SELECT seq, length(bytes) AS size FROM storage_log WHERE seq <= ? ORDER BY seq LIMIT 512",
        this.#trimThrough,
      ),
    ];
    for (const { seq, size } of rows) {
      if (freed > 0 && freed + size > LOG_TRIM_SLICE_BYTES) break;
      freed += size;
      through = seq;
    }
    if (freed === 0) through = this.#trimThrough;
    else drain(this.#sql.exec("DELETE FROM storage_log WHERE seq <= ?", through));
    this.#firstSeq = through + 1;
    this.bytes = Math.max(0, this.bytes - freed);
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
