// The blocks of a run in order, read one at a time past the cache. Used by merges and scans.
// Guarantee: yields every block of the run from the start on, or throws CorruptBlock. Must not: hold more than one block.

import type { Block } from "./block.ts";
import type { Probe } from "./row-format.ts";
import type { Run } from "./run-set.ts";
import type { TableReader } from "./table.ts";
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
    this.#meta = await this.#reader.readMeta(this.#run.tables[this.#table]!);
    this.#block = Math.max(0, this.#meta.blockFor(probe));
  }

  /** True when `next` has nothing more to give. */
  get ended(): boolean {
    return this.#table >= this.#run.tables.length;
  }

  /** The next block; call only while not `ended`. */
  async next(): Promise<Block> {
    const table = this.#run.tables[this.#table]!;
    this.#meta ??= await this.#reader.readMeta(table);
    const block = await this.#reader.readBlock(table, this.#block);
    this.#block++;
    if (this.#block >= this.#meta.blockCount) {
      this.#table++;
      this.#block = 0;
      this.#meta = undefined;
    }
    return block;
  }
}
