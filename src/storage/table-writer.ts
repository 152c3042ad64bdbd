// Writes the tables of one job (flush or merge): intent row, blob, and at the end the manifest rows, all or nothing.
// Guarantees: until `tables()` is applied nothing refers to the blobs; `abandon` hands them to the sweep.
// Must not: decide which rows go in.

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
  readonly #tables: TableInfo[] = [];
  readonly #begun: string[] = [];

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

  /** Writes the table under construction, if it has rows. Returns its bytes. */
  async writeTable(): Promise<number> {
    if (this.builder.rowCount === 0) return 0;
    const { bytes, cuts, ...built } = this.builder.finish();
    const { job, ...place } = this.#options;
    const name = this.#state.manifest.beginBlob();
    this.#begun.push(name);
    if (this.#state.sync !== undefined) {
      this.#state.sync.putSync(name, bytes, cuts);
    } else {
      await this.#state.durable?.();
      if (this.#state.atFailPoint) await this.#state.atFailPoint(`${job}.blobIntended`);
      await this.#state.blobs.put(name, bytes);
    }
    if (this.#state.atFailPoint) await this.#state.atFailPoint(`${job}.blobWritten`);
    const position = this.#tables.length;
    this.#tables.push({ ...built, ...place, name, position, sizeBytes: bytes.length });
    return bytes.length;
  }

  /** The tables written, for the manifest. */
  tables(): readonly TableInfo[] {
    return this.#tables;
  }

  /** The job failed: its blobs are dead. */
  abandon(): void {
    this.#state.manifest.abandon(this.#begun);
  }
}
