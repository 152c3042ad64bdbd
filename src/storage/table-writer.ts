// Writes the tables of one job (flush or merge): intent row, then blob; the job adds the manifest rows.
// Guarantees: until the manifest names them nothing refers to the blobs; `abandon` hands those to the sweep.
// Must not: decide which rows go in.

import { BLOB_PART_BYTES } from "./limits.ts";
import type { EngineState } from "./state.ts";
import type { TableInfo } from "./table.ts";
import { TableBuilder } from "./table-builder.ts";

export interface TableWriterOptions {
  readonly job: "flush" | "merge";
  readonly kind: "row" | "record";
  readonly runOrder: number;
  readonly minMs: number;
  readonly maxMs: number;
}

export class TableWriter {
  readonly #state: EngineState;
  readonly #options: TableWriterOptions;
  readonly builder: TableBuilder;
  #tables: TableInfo[] = [];
  #begun: string[] = [];
  #position = 0;

  constructor(state: EngineState, options: TableWriterOptions) {
    this.#state = state;
    this.#options = options;
    const { blockBytes, bloomBitsPerRow, bloomBitsPerRecord } = state.limits;
    const bitsPerRow = options.kind === "row" ? bloomBitsPerRow : bloomBitsPerRecord;
    this.builder = new TableBuilder({ kernels: state.kernels, blockBytes, bloomBitsPerRow: bitsPerRow });
  }

  /** True when the table under construction has its target size. */
  get full(): boolean {
    return this.builder.dataBytes >= this.#state.limits.tableBytes;
  }

  /** Writes the table under construction, if it has rows, in slices. Returns its bytes. */
  async *writeTable(): AsyncGenerator<void, number, void> {
    if (this.builder.rowCount === 0) return 0;
    yield;
    const { bytes, cuts, ...built } = this.builder.finish();
    const { job, ...place } = this.#options;
    const name = this.#state.manifest.beginBlob();
    this.#begun.push(name);
    if (this.#state.sync !== undefined) {
      // A turn's commit writes all its pages at once, and whoever waits for the object waits for that.
      yield* this.#state.sync.putParts(name, bytes, { cuts, partBytes: BLOB_PART_BYTES });
    } else {
      await this.#state.durable?.();
      if (this.#state.atFailPoint) await this.#state.atFailPoint(`${job}.blobIntended`);
      await this.#state.blobs.put(name, bytes);
    }
    if (this.#state.atFailPoint) await this.#state.atFailPoint(`${job}.blobWritten`);
    this.#tables.push({ ...built, ...place, name, position: this.#position++, sizeBytes: bytes.length });
    return bytes.length;
  }

  /** Bytes of the tables written and not taken. */
  get writtenBytes(): number {
    return this.#tables.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  /** The tables written since the last call, for the manifest, to which they must be added in this turn. */
  takeTables(): readonly TableInfo[] {
    const tables = this.#tables;
    this.#tables = [];
    this.#begun = [];
    return tables;
  }

  /** The job failed: blobs of it that no manifest row names are dead. */
  abandon(): void {
    this.#state.manifest.abandon(this.#begun);
  }
}
