// The blocks of a run in order, read one at a time past the cache. Used by merges and scans.
// Guarantee: gives every block of the run from the start on, or throws CorruptBlock. Must not: hold more than one block.

import type { Block } from "./block.ts";
import type { Probe } from "./row-format.ts";
import type { Run } from "./run-set.ts";
import { META_SECTION, type TableReader } from "./table.ts";
import type { TableMeta } from "./table-meta.ts";

export class BlockStream {
  readonly #reader: TableReader;
  readonly #run: Run;
  #table = 0;
  #block = 0;
  #meta: TableMeta | undefined;

  constructor(reader: TableReader, run: Run) {
    this.#reader = reader;
    this.#run = run;
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
      const block = table.discarded.has(this.#block) ? undefined : await this.#reader.readBlock(table, this.#block);
      this.#block++;
      if (this.#block >= this.#meta!.blockCount) this.#leave();
      if (block !== undefined) return block;
    }
    return undefined;
  }

  /** Has the index of the current table, passing over tables without a readable one; false at the end. */
  async #enter(): Promise<boolean> {
    while (this.#meta === undefined) {
      const table = this.#run.tables[this.#table];
      if (table === undefined) return false;
      if (table.discarded.has(META_SECTION)) this.#leave();
      else this.#meta = await this.#reader.readMeta(table);
    }
    return true;
  }

  #leave(): void {
    this.#table++;
    this.#block = 0;
    this.#meta = undefined;
  }
}
