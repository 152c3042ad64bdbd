// Rows in order across memtables and runs, page by page, for export, streaming of hash ranges and repair.
// Guarantees: each row once, its newest version as of some moment during the page; a page is bounded in rows and bytes.
// Must not: fill the block cache.

import type { Arena } from "./arena.ts";
import { BlockStream } from "./block-stream.ts";
import type { Memtable } from "./memtable.ts";
import {
  type Buffer,
  compareRows,
  compareToProbe,
  decodeKey,
  type Probe,
  rowHi,
  rowKeyBytes,
  rowLo,
  rowTenant,
  rowValue,
} from "./row-format.ts";
import type { Run } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import type { ScanOptions, ScanPage } from "./types.ts";

/** A sorted source standing at one row. */
export interface Source {
  readonly buffer: Buffer;
  readonly offset: number;
  /** False when exhausted. Steps to the next row (the first at the first call). */
  step(): boolean | Promise<boolean>;
}

class MemtableSource implements Source {
  readonly #arena: Arena;
  readonly #memtable: Memtable;
  #bucket: number;
  #positions: number[] = [];
  #next = 0;
  buffer: Buffer;
  offset = 0;

  constructor(memtable: Memtable, fromHi: number) {
    this.#memtable = memtable;
    this.#arena = memtable.arena;
    this.buffer = this.#arena.bufferAt(0);
    this.#bucket = memtable.ordered()!.bucketOf(fromHi) - 1;
  }

  step(): boolean {
    // Writes that came while the page waited are filed too, so that a bucket is complete when it is entered.
    const order = this.#memtable.ordered()!;
    while (this.#next >= this.#positions.length) {
      if (++this.#bucket >= order.bucketCount) return false;
      this.#positions = order.sorted(this.#bucket, this.#memtable.positionOf);
      this.#next = 0;
    }
    const position = this.#positions[this.#next++]!;
    this.buffer = this.#arena.bufferAt(position);
    this.offset = this.#arena.offsetAt(position);
    return true;
  }
}

export class RunSource implements Source {
  readonly #stream: BlockStream;
  readonly #from: Probe;
  #sought = false;
  #rowCount = 0;
  #nextRow = 0;
  #offsetAt: (row: number) => number = () => 0;
  buffer!: Buffer;
  offset = 0;

  constructor(
    state: EngineState,
    run: Run,
    start: { readonly from: Probe; readonly pastCorrupt: boolean | undefined },
  ) {
    const { from, pastCorrupt = false } = start;
    this.#stream = new BlockStream(state.reader, run, { pastCorrupt });
    this.#from = from;
  }

  step(): boolean | Promise<boolean> {
    if (this.#nextRow < this.#rowCount) {
      this.offset = this.#offsetAt(this.#nextRow++);
      return true;
    }
    return this.#nextBlock();
  }

  async #nextBlock(): Promise<boolean> {
    let nextRow = 0;
    if (!this.#sought) await this.#stream.seek(this.#from);
    for (;;) {
      const block = await this.#stream.next();
      if (block === undefined) return false;
      nextRow = this.#sought ? this.#stream.startRow : Math.max(this.#stream.startRow, block.lowerBound(this.#from));
      this.#sought = true;
      if (nextRow >= block.rowCount) continue;
      this.buffer = block;
      this.#rowCount = block.rowCount;
      this.#offsetAt = (row) => block.offsetAt(row);
      this.#nextRow = nextRow + 1;
      this.offset = block.offsetAt(nextRow);
      return true;
    }
  }
}

/** Where a scan starts; `inclusive` is false after a row that was given already. */
export interface ScanStart {
  readonly from: Probe;
  readonly inclusive: boolean;
}

/** One page. Throws CorruptBlock, or the blob store's error. */
export async function scanPage(state: EngineState, options: ScanOptions, start: ScanStart): Promise<ScanPage> {
  const { from, inclusive } = start;
  const sources: Source[] = [];
  const memtables = [state.active, ...[...state.frozen].reverse()];
  const candidates: Source[] = [
    ...memtables.map((memtable) => new MemtableSource(memtable, from.hi)),
    ...state.rows.runs.map((run) => new RunSource(state, run, { from, pastCorrupt: options.pastCorrupt })),
  ];
  for (const source of candidates) if (await source.step()) sources.push(source);
  const toHi = options.toTokenHi ?? 0xffff_ffff;
  const rows: ScanPage["rows"][number][] = [];
  let bytes = 0;
  for (;;) {
    const best = leastOf(sources);
    if (best === undefined || rowHi(best.buffer, best.offset) > toHi) return { rows, done: true };
    const { buffer, offset } = best;
    const order = compareToProbe(buffer, offset, from);
    const tenant = rowTenant(buffer, offset);
    const wanted = options.tenant === undefined || options.tenant === tenant;
    if ((order > 0 || (inclusive && order === 0)) && wanted && !state.erased.all.has(tenant)) {
      const value = rowValue(buffer, offset);
      if (rows.length > 0 && (rows.length >= options.limitRows || bytes + value.length > options.limitBytes)) {
        return { rows, done: false };
      }
      const token = { hi: rowHi(buffer, offset), lo: rowLo(buffer, offset) };
      rows.push({ row: { token, tenant, key: decodeKey(rowKeyBytes(buffer, offset)) }, value });
      bytes += value.length + 64;
    }
    await stepPast(sources, buffer, offset);
  }
}

/** The source at the least row; the newest (first) among equals. */
export function leastOf(sources: readonly Source[]): Source | undefined {
  let best = sources[0];
  for (let i = 1; i < sources.length; i++) {
    const source = sources[i]!;
    if (compareRows(source.buffer, source.offset, best!.buffer, best!.offset) < 0) best = source;
  }
  return best;
}

/** Steps every source that stands at this row. */
export async function stepPast(sources: Source[], buffer: Buffer, offset: number): Promise<void> {
  for (let i = sources.length - 1; i >= 0; i--) {
    const source = sources[i]!;
    if (compareRows(source.buffer, source.offset, buffer, offset) !== 0) continue;
    const stepped = source.step();
    if (!(typeof stepped === "boolean" ? stepped : await stepped)) sources.splice(i, 1);
  }
}
