// The blocks of a run in order, read one at a time past the cache. Used by merges and scans.
// Guarantee: gives every block of the run from the start on, or throws CorruptBlock. Must not: hold more than `readAheadBytes`.

import type { Block } from "./block.ts";
import type { Probe } from "./row-format.ts";
import type { Run } from "./run-set.ts";
import { META_SECTION, type Table, type TableReader } from "./table.ts";
import type { FirstRow, TableMeta } from "./table-meta.ts";
import { CorruptBlock } from "./types.ts";

export interface BlockStreamOptions {
  /** What cannot be read is passed over. */
  readonly pastCorrupt?: boolean;
  /** Bytes for one request; 0 = block by block. */
  readonly readAheadBytes?: number;
  /** Place of the first table to read. */
  readonly fromTable?: number;
}

export class BlockStream {
  readonly #reader: TableReader;
  readonly #run: Run;
  #table: number;
  #given = 0;
  #block = 0;
  /** The first block of the current table with rows that count. */
  #startBlock = 0;
  #meta: TableMeta | undefined;
  /** First row that counts in the block that `next` gave last; above 0 where a merge took rows before it. */
  startRow = 0;
  readonly #readAheadBytes: number;
  /** Blocks that were read ahead: from `#aheadFrom` on. */
  #aheadBlocks: Block[] = [];
  #aheadFrom = 0;
  readonly #pastCorrupt: boolean;

  constructor(reader: TableReader, run: Run, options: BlockStreamOptions = {}) {
    const { pastCorrupt = false, fromTable = 0, readAheadBytes = 0 } = options;
    this.#reader = reader;
    this.#run = run;
    this.#pastCorrupt = pastCorrupt;
    this.#table = fromTable;
    this.#readAheadBytes = readAheadBytes;
  }

  /** Starts at the block that may hold the probed row or its successor. */
  async seek(probe: Probe): Promise<void> {
    this.#table = Math.max(0, this.#run.tableFor(probe));
    if (await this.#enter()) this.#block = Math.max(this.#block, this.#meta!.blockFor(probe));
  }

  /** True when `next` has nothing more to give. */
  get ended(): boolean {
    return this.#table >= this.#run.tables.length;
  }

  /** The next block; undefined at the end. Blocks that were given up are passed over, and rows before a table's first. */
  async next(): Promise<Block | undefined> {
    while (await this.#enter()) {
      const table = this.#run.tables[this.#table]!;
      this.#given = this.#table;
      const index = this.#block;
      const block = table.discarded.has(index) ? undefined : await this.#unlessCorrupt(() => this.#read(table, index));
      const isFirst = index === this.#startBlock;
      this.#block++;
      if (this.#block >= this.#meta!.blockCount) this.#leave();
      if (block === undefined) continue;
      this.startRow = isFirst ? block.lowerBound(table.first) : 0;
      if (this.startRow < block.rowCount) return block;
    }
    return undefined;
  }

  async #read(table: Table, index: number): Promise<Block> {
    const meta = this.#meta!;
    if (this.#readAheadBytes > 0 && this.#aheadBlocks[index - this.#aheadFrom] === undefined) {
      this.#aheadBlocks = await this.#reader.readAhead(table, meta, { from: index, lengthBytes: this.#readAheadBytes });
      this.#aheadFrom = index;
    }
    return this.#aheadBlocks[index - this.#aheadFrom] ?? this.#reader.readBlock(table, index, meta);
  }

  /** Has the index of the current table, passing over tables without a readable one; false at the end. */
  async #enter(): Promise<boolean> {
    while (this.#meta === undefined) {
      const table = this.#run.tables[this.#table];
      if (table === undefined) return false;
      const isLost = table.discarded.has(META_SECTION);
      this.#meta = isLost ? undefined : await this.#unlessCorrupt(() => this.#reader.readMeta(table));
      if (this.#meta === undefined) {
        this.#leave();
        continue;
      }
      this.#startBlock = Math.max(0, this.#meta.blockFor(table.first));
      this.#block = this.#startBlock;
    }
    return true;
  }

  /** The table that the block given last was of, by its place in the run. */
  get givenTable(): number {
    return this.#given;
  }

  /** Where `next` goes on: a table by its place in the run, and the first row there, undefined = where that table begins. */
  get ahead(): { readonly table: number; readonly first: FirstRow | undefined } {
    return { table: this.#table, first: this.#meta?.firstOf(this.#block) };
  }

  async #unlessCorrupt<T>(read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (this.#pastCorrupt && error instanceof CorruptBlock) return undefined;
      throw error;
    }
  }

  #leave(): void {
    this.#aheadBlocks = [];
    this.#table++;
    this.#block = 0;
    this.#meta = undefined;
  }
}
