// Hints: states kept here for replicas that could not be reached, in the object's SQLite, in the commit of the turn that made them.
// Guarantees: bounded per target by rows and bytes; older than their lifetime they are dropped and their range is marked dirty, so
// that repair knows what is missing; delivered in order; a hint that fails its checksum is dropped, never delivered. Must not: count
// towards a quorum (the coordinator sees to that).
import type { TokenRange } from "../cluster/ring.ts";
import { firstOf } from "../storage/drain.ts";
import type { Kernels, RowKey, SqlStorage } from "../storage/types.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { writeOp } from "./frames.ts";
import { HINT_DELIVERY_BYTES, MAX_HINT_BYTES_PER_TARGET, MAX_HINTS_PER_TARGET } from "./limits.ts";
import type { HintSpan } from "./purge-round.ts";

/** Rows stay below the platform's 2 MB cap. */
const PIECE_BYTES = 1024 * 1024;
/** Rows read for one frame. More than one hint may have (a state is at most a few MiB), so that a frame always holds a whole one. */
const MAX_PIECES_PER_FRAME = 4096;
/** Dirty ranges are kept as the top 8 bits of the token. */
const RANGE_SHIFT = 24;
/** Of 256: one repair stays a bounded piece of work. */
const MAX_RANGES_TAKEN = 16;

interface Totals {
  count: number;
  bytes: number;
}

interface HintRow {
  readonly id: number;
  readonly part: number;
  readonly target: string;
  readonly tenant: number;
  readonly token_hi: number;
  readonly created_ms: number;
  readonly piece: ArrayBuffer | Uint8Array;
}

export interface HintBatch {
  readonly frame: Uint8Array;
  readonly hintCount: number;
  readonly lastId: number;
  /** In the order of the frame. */
  readonly ids: readonly number[];
}

const encoder = new TextEncoder();

export class HintLog {
  readonly #sql: SqlStorage;
  readonly #now: () => number;
  readonly #ttlMs: number;
  readonly #kernels: Pick<Kernels, "crc32c">;
  readonly #totals = new Map<string, Totals>();
  readonly #scratch = new ByteWriter(4096);
  #nextId = 1;
  /** There are dirty ranges: known without asking, since every turn asks. */
  hasDirtyRanges = false;
  expiredCount = 0;
  overflowCount = 0;
  corruptCount = 0;

  constructor(options: { sql: SqlStorage; now: () => number; ttlMs: number; kernels: Pick<Kernels, "crc32c"> }) {
    this.#kernels = options.kernels;
    this.#sql = options.sql;
    this.#now = options.now;
    this.#ttlMs = options.ttlMs;
    this.#load();
  }

  #load(): void {
    this.#checkDirtyRanges();
    this.hasDirtyRanges = this.dirtyRanges().length > 0;
    const totals = this.#sql.exec<{ target: string; count: number; bytes: number; last: number }>(
      "SELECT target, COUNT(DISTINCT id) AS count, SUM(LENGTH(piece)) AS bytes, MAX(id) AS last FROM hints GROUP BY target",
    );
    for (const { target, count, bytes, last } of totals) {
      this.#totals.set(target, { count, bytes });
      this.#nextId = Math.max(this.#nextId, last + 1);
    }
  }

  /** The oldest hint that is kept, and the newest there was: later ones have higher numbers. */
  span(): HintSpan {
    const row = firstOf(this.#sql.exec<{ first: number | null }>("SELECT MIN(id) AS first FROM hints"));
    return { first: row?.first ?? null, last: this.#nextId - 1 };
  }

  /** Targets that hints wait for. */
  targets(): string[] {
    return [...this.#totals].filter(([, totals]) => totals.count > 0).map(([target]) => target);
  }

  pendingCount(target?: string): number {
    if (target !== undefined) return this.#totals.get(target)?.count ?? 0;
    let sum = 0;
    for (const { count } of this.#totals.values()) sum += count;
    return sum;
  }

  add(target: string, row: RowKey, state: Uint8Array): boolean {
    this.#scratch.reset();
    writeOp(this.#scratch, { kind: "merge", row, state });
    const bytes = this.#scratch.take();
    const totals = this.#totals.get(target) ?? { count: 0, bytes: 0 };
    if (totals.count >= MAX_HINTS_PER_TARGET || totals.bytes + bytes.length > MAX_HINT_BYTES_PER_TARGET) {
      this.overflowCount++;
      this.#markDirty(target, row.token.hi);
      return false;
    }
    const id = this.#nextId++;
    for (let part = 0; part * PIECE_BYTES < bytes.length; part++) {
      const piece = bytes.slice(part * PIECE_BYTES, (part + 1) * PIECE_BYTES);
      const { tenant } = row;
      const created_ms = this.#now();
      const crc = this.#crc({ id, part, target, tenant, token_hi: row.token.hi, created_ms, piece });
      this.#sql.exec(
        "INSERT INTO hints (id, part, target, tenant, token_hi, created_ms, piece, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        part,
        target,
        tenant,
        row.token.hi,
        created_ms,
        piece,
        crc,
      );
    }
    this.#totals.set(target, { count: totals.count + 1, bytes: totals.bytes + bytes.length });
    return true;
  }

  #crc({ id, part, target, tenant, token_hi, created_ms, piece }: HintRow): number {
    const place = encoder.encode(JSON.stringify([id, part, target, tenant, token_hi, created_ms]));
    return this.#kernels.crc32c(new Uint8Array(piece), this.#kernels.crc32c(place));
  }

  /** The oldest hints of a target behind `afterId` as one replica frame, at least one. */
  next(target: string, afterId = 0): HintBatch | undefined {
    for (;;) {
      const batch = this.#read(target, afterId);
      if (!batch || batch.corrupt.length === 0) return batch;
      this.#dropCorrupt(target, batch.corrupt);
    }
  }

  /** What these hints said, and for whom, is not known: repair must look everywhere. */
  #dropCorrupt(target: string, ids: readonly number[]): void {
    for (const id of ids) this.#sql.exec("DELETE FROM hints WHERE id = ?", id);
    for (const each of new Set([target, ...this.#totals.keys()])) this.#markAllDirty(each);
    this.corruptCount += ids.length;
    this.#recount(target);
  }

  #markAllDirty(target: string): void {
    for (let range = 0; range < 1 << (32 - RANGE_SHIFT); range++) this.#markDirty(target, range * 2 ** RANGE_SHIFT);
  }

  /** A mark that was changed hides which range needs repair: then all do. Those of before the checksum are taken. */
  #checkDirtyRanges(): void {
    const marks = this.#sql.exec<{ target: string; range: number; crc: number | null }>(
      "SELECT target, range, crc FROM dirty_ranges",
    );
    const changed = [...marks].filter((mark) => mark.crc !== null && mark.crc !== this.#markCrc(mark));
    if (changed.length === 0) return;
    this.corruptCount += changed.length;
    for (const { target, range } of changed)
      this.#sql.exec("DELETE FROM dirty_ranges WHERE target = ? AND range = ?", target, range);
    // Repair compares a range with all of its replicas, whatever the target.
    this.#markAllDirty("?");
  }

  #markCrc({ target, range }: { target: string; range: number }): number {
    return this.#kernels.crc32c(encoder.encode(JSON.stringify(["dirty", target, range])));
  }

  #read(target: string, afterId: number): (HintBatch & { readonly corrupt: readonly number[] }) | undefined {
    const lastId = this.#lastOfFrame(target, afterId);
    if (lastId === undefined) return undefined;
    const writer = new ByteWriter(64 * 1024);
    const ids = new Set<number>();
    const corrupt = new Set<number>();
    const rows = this.#sql.exec<HintRow & { crc: number | null }>(
      "SELECT id, part, target, tenant, token_hi, created_ms, piece, crc FROM hints WHERE target = ? AND id > ? AND id <= ? ORDER BY id, part",
      target,
      afterId,
      lastId,
    );
    for (const row of rows) {
      const { id, piece, crc } = row;
      if (crc !== null && crc !== this.#crc(row)) corrupt.add(id);
      ids.add(id);
      writer.raw(new Uint8Array(piece));
    }
    return { frame: writer.take(), hintCount: ids.size, lastId, ids: [...ids], corrupt: [...corrupt] };
  }

  /** The last hint that one frame takes, by lengths alone: rows that are not read to their end keep SQLite's log from starting over. */
  #lastOfFrame(target: string, afterId: number): number | undefined {
    const rows = this.#sql.exec<{ id: number; bytes: number }>(
      "SELECT id, length(piece) AS bytes FROM hints WHERE target = ? AND id > ? ORDER BY id, part LIMIT ?",
      target,
      afterId,
      MAX_PIECES_PER_FRAME,
    );
    let last: number | undefined;
    let before: number | undefined;
    let frameBytes = 0;
    let rowCount = 0;
    let isFull = false;
    for (const { id, bytes } of rows) {
      rowCount++;
      if (id !== last) {
        isFull ||= frameBytes >= HINT_DELIVERY_BYTES;
        if (!isFull) [before, last] = [last, id];
      }
      frameBytes += bytes;
    }
    // Without room left the last hint may go on beyond the rows that were read: it waits for the next frame.
    return !isFull && rowCount === MAX_PIECES_PER_FRAME ? before : last;
  }

  /** Drops the hints of a target up to and including `lastId`, once it has acknowledged them; all but `kept`. */
  drop(target: string, lastId: number, kept: readonly number[] = []): void {
    this.#sql.exec(
      "DELETE FROM hints WHERE target = ? AND id <= ? AND id NOT IN (SELECT value FROM json_each(?))",
      target,
      lastId,
      JSON.stringify(kept),
    );
    this.#recount(target);
  }

  /** Drops what has outlived its time and marks the ranges dirty. Returns how many. */
  expire(): number {
    const before = this.#now() - this.#ttlMs;
    const due = [
      ...this.#sql.exec<{ id: number; target: string; token_hi: number }>(
        "SELECT DISTINCT id, target, token_hi FROM hints WHERE created_ms < ?",
        before,
      ),
    ];
    if (due.length === 0) return 0;
    for (const { target, token_hi } of due) this.#markDirty(target, token_hi);
    this.#sql.exec("DELETE FROM hints WHERE created_ms < ?", before);
    for (const target of new Set(due.map((hint) => hint.target))) this.#recount(target);
    this.expiredCount += due.length;
    return due.length;
  }

  eraseTenant(tenant: number): void {
    this.#sql.exec("DELETE FROM hints WHERE tenant = ?", tenant);
    for (const target of this.#totals.keys()) this.#recount(target);
  }

  /** Ranges (top byte of the token) that a target may miss writes in: repair must look there. */
  dirtyRanges(): { target: string; range: number }[] {
    return [
      ...this.#sql.exec<{ target: string; range: number }>("SELECT target, range FROM dirty_ranges ORDER BY 1, 2"),
    ];
  }

  /**
   * Takes the first dirty ranges that adjoin each other, whatever their targets; their marks are gone. For the commit that puts the
   * repair of them down: a hint that is lost from then on marks its range anew.
   */
  takeDirtyRange(): TokenRange | undefined {
    const marked = [...new Set(this.dirtyRanges().map(({ range }) => range))].sort((a, b) => a - b);
    const first = marked[0];
    this.hasDirtyRanges = first !== undefined;
    if (first === undefined) return undefined;
    let last = first;
    while (marked.includes(last + 1) && last - first + 1 < MAX_RANGES_TAKEN) last++;
    this.#sql.exec("DELETE FROM dirty_ranges WHERE range BETWEEN ? AND ?", first, last);
    return { fromHi: (first << RANGE_SHIFT) >>> 0, toHi: (((last + 1) << RANGE_SHIFT) - 1) >>> 0 };
  }

  #markDirty(target: string, tokenHi: number): void {
    this.hasDirtyRanges = true;
    const range = tokenHi >>> RANGE_SHIFT;
    this.#sql.exec(
      "INSERT OR IGNORE INTO dirty_ranges (target, range, crc) VALUES (?, ?, ?)",
      target,
      range,
      this.#markCrc({ target, range }),
    );
  }

  #recount(target: string): void {
    const row = firstOf(
      this.#sql.exec<{ count: number; bytes: number | null }>(
        "SELECT COUNT(DISTINCT id) AS count, SUM(LENGTH(piece)) AS bytes FROM hints WHERE target = ?",
        target,
      ),
    );
    this.#totals.set(target, { count: row?.count ?? 0, bytes: row?.bytes ?? 0 });
  }
}
