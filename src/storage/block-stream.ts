// The blocks of a run in order, read one at a time past the cache. Used by merges and scans.
// Guarantee: gives every block of the run from the start on, or throws CorruptBlock. Must not: hold more than one block.

import type { Block } from "./block.ts";
import type { Probe } from "./row-format.ts";
import type { Run } from "./run-set.ts";
import { META_SECTION, type TableReader } from "./table.ts";
import type { TableMeta } from "./table-meta.ts";
import { CorruptBlock } from "./types.ts";

export class BlockStream {
  readonly #reader: TableReader;
  readonly #run: Run;
  #table = 0;
  #block = 0;
  #meta: TableMeta | undefined;
  readonly #pastCorrupt: boolean;

  /** `pastCorrupt`: what cannot be read is passed over. */
  constructor(reader: TableReader, run: Run, pastCorrupt = false) {
    this.#reader = reader;
    this.#run = run;
    this.#pastCorrupt = pastCorrupt;
  }

  /** Starts at the block that may hold the probed row or its successor. */
  async seek(probe: Probe): Promise<void> {
    this.#table = Math.max(0, this.#run.tableFor(probe));
    if (await this.#enter()) this.#block = Math.max(0, this.#meta!.blockFor(probe));
  }

  /** True when `next` has nothing more to give. */
  get ended(): boolean {
    return this.#table >= this.#run.tables.length;
  }

  /** The next block; undefined at the end. Blocks that were given up are passed over. */
  async next(): Promise<Block | undefined> {
    while (await this.#enter()) {
      const table = this.#run.tables[this.#table]!;
      const index = this.#block;
      const meta = this.#meta!;
      const block = table.discarded.has(index)
        ? undefined
        : await this.#unlessCorrupt(() => this.#reader.readBlock(table, index, meta));
      this.#block++;
      if (this.#block >= meta.blockCount) this.#leave();
      if (block !== undefined) return block;
    }
    return undefined;
  }

  /** Has the index of the current table, passing over tables without a readable one; false at the end. */
  async #enter(): Promise<boolean> {
    while (this.#meta === undefined) {
      const table = this.#run.tables[this.#table];
      if (table === undefined) return false;
      const isLost = table.discarded.has(META_SECTION);
      this.#meta = isLost ? undefined : await this.#unlessCorrupt(() => this.#reader.readMeta(table));
      if (this.#meta === undefined) this.#leave();
    }
    return true;
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
    this.#table++;
    this.#block = 0;
    this.#meta = undefined;
  }
}
