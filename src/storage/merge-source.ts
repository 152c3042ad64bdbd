// One run as an input of a merge: its current block, the next row in it, and which of its tables are still needed.
// Guarantee: what `rest` leaves out was taken by the merge. Must not: change the manifest.

import type { Block } from "./block.ts";
import { BlockStream } from "./block-stream.ts";
import { LOCAL_MERGE_READ_BYTES, MERGE_READ_BYTES } from "./limits.ts";
import type { ClippedTable } from "./manifest.ts";
import { rowHi, rowKeyBytes, rowLo, rowTenant } from "./row-format.ts";
import type { Run } from "./run-set.ts";
import type { EngineState } from "./state.ts";
import type { Table } from "./table.ts";
import type { FirstRow } from "./table-meta.ts";
import { CorruptBlock } from "./types.ts";

/** What a source has still to give. */
export interface SourceRest {
  readonly tables: readonly Table[];
  /** Tables that gave all their rows. */
  readonly removed: readonly Table[];
  /** The table that gave some. */
  readonly clipped: readonly ClippedTable[];
}

export class MergeSource {
  /** The run as the set has it now; undefined = used up. */
  run: Run | undefined;
  /** The tables that are still needed, the first of them clipped to what is. */
  #tables: readonly Table[];
  readonly #tableCount: number;
  readonly #stream: BlockStream;
  block: Block | undefined;
  nextRow = 0;

  /** `skippedTables`: so many tables of the run take no part. */
  constructor(state: EngineState, run: Run, skippedTables: number) {
    this.run = run;
    this.#tables = run.tables.slice(skippedTables);
    this.#tableCount = run.tables.length;
    const readAheadBytes = state.reader.isRemote ? MERGE_READ_BYTES : LOCAL_MERGE_READ_BYTES;
    this.#stream = new BlockStream(state.reader, run, { fromTable: skippedTables, readAheadBytes });
  }

  /** Loads the next block when the current one is used up. Returns the bytes read. */
  async refill(): Promise<number> {
    if (this.block !== undefined && this.nextRow < this.block.rowCount) return 0;
    if (this.#stream.ended) return 0;
    let next: Block | undefined;
    try {
      next = await this.#stream.next();
    } catch (error) {
      if (error instanceof CorruptBlock && this.run !== undefined) this.run.quarantined = true;
      throw error;
    }
    if (next === undefined) return 0;
    this.block = next;
    this.nextRow = this.#stream.startRow;
    return next.sizeBytes;
  }

  get last(): boolean {
    return this.#stream.ended;
  }

  get used(): boolean {
    return this.last && (this.block === undefined || this.nextRow >= this.block.rowCount);
  }

  /** The place of the first table still needed and, where it is needed in part, the first row. */
  #ahead(): { readonly table: number; readonly first: FirstRow | undefined } {
    const { block, nextRow } = this;
    if (block === undefined || nextRow >= block.rowCount) return this.#stream.ahead;
    const offset = block.offsetAt(nextRow);
    const key = rowKeyBytes(block, offset).slice();
    const first = { hi: rowHi(block, offset), lo: rowLo(block, offset), tenant: rowTenant(block, offset), key };
    return { table: this.#stream.givenTable, first };
  }

  rest(): SourceRest {
    const { table, first } = this.#ahead();
    const removedCount = table - (this.#tableCount - this.#tables.length);
    const removed = this.#tables.slice(0, removedCount);
    const [head, ...others] = this.#tables.slice(removedCount);
    if (head === undefined || first === undefined)
      return { tables: this.#tables.slice(removedCount), removed, clipped: [] };
    const after = {
      ...head.info,
      firstHi: first.hi,
      firstLo: first.lo,
      firstTenant: first.tenant,
      firstKey: first.key,
    };
    return { tables: [head.clippedTo(after), ...others], removed, clipped: [{ before: head.info, after }] };
  }

  /** The manifest knows of `rest` now. */
  keep({ tables }: SourceRest, run: Run | undefined): void {
    this.#tables = tables;
    this.run = run;
  }
}
