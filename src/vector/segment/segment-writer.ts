// Writes a sealed segment row by row: ids, values, metadata, and what finds them. Indexes are added as sections of their own.
// Guarantees: nothing is served from it before its directory is in the manifest. Work per call is bounded; `finish` pauses by yielding.

import type { SyncBlobStore } from "../../storage/types.ts";
import type { IndexColumns } from "../metadata/columns.ts";
import { writeCompactIndex } from "../metadata/compact-writer.ts";
import { Slice } from "../slice.ts";
import type { Crc32c, Directory, Section } from "./directory.ts";
import { encodeIdHashes } from "./id-hashes.ts";
import { BLOCK_BYTES, MAX_SEGMENT_ROWS, SLICE_BLOCKS, VALUE_BLOCK_BYTES } from "./limits.ts";
import { type VectorRow, writeIdRow } from "./row.ts";
import { RowBlocksWriter } from "./row-blocks.ts";
import { SectionWriter } from "./sections.ts";

export interface SegmentWriterOptions {
  readonly dimension: number;
  readonly blobs: Pick<SyncBlobStore, "putSync">;
  readonly crc32c: Crc32c;
  readonly nextName: () => string;
  /** Milliseconds. */
  readonly now: () => number;
}

const encoder = new TextEncoder();

/** Columns of text, which repeats. Values are read a few rows at a time for the re-rank, and hardly become smaller. */
const PACKED: ReadonlySet<string> = new Set(["ids", "metadata", "metadata-index"]);

/** All sections but those of indexes. */
export const COLUMNS: ReadonlySet<string> = new Set(["ids", "metadata", "values", "id-hashes", "metadata-index"]);

export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  readonly #sections = new Map<string, Section>();
  readonly #ids: [RowBlocksWriter, SectionWriter];
  readonly #metadata: [RowBlocksWriter, SectionWriter];
  readonly #values: SectionWriter;
  readonly #rowsAValueBlock: number;
  #valueBlock: Uint8Array;
  #valueBytes = 0;
  #hashes = new Uint32Array(1024);
  #rowCount = 0;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#ids = this.#rowBlocks("ids");
    this.#metadata = this.#rowBlocks("metadata");
    this.#values = this.section("values");
    this.#rowsAValueBlock = rowsAValueBlock(options.dimension);
    this.#valueBlock = new Uint8Array(this.#rowsAValueBlock * options.dimension * 4);
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  #rowBlocks(name: string): [RowBlocksWriter, SectionWriter] {
    const section = this.section(name);
    return [new RowBlocksWriter(section), section];
  }

  section(name: string): SectionWriter {
    const { blobs, crc32c, nextName } = this.#options;
    return new SectionWriter({ name, blobs, crc32c, nextName, isPacked: PACKED.has(name) });
  }

  /** The next row, number `rowCount`. */
  add({ id, values, metadata, stamp }: VectorRow): void {
    const row = this.#rowCount++;
    if (row >= MAX_SEGMENT_ROWS) throw new RangeError(`a segment holds at most ${MAX_SEGMENT_ROWS} rows`);
    this.#ids[0].add(writeIdRow(id, stamp));
    this.#metadata[0].add(metadata);
    if (row >= this.#hashes.length) {
      const grown = new Uint32Array(this.#hashes.length * 2);
      grown.set(this.#hashes);
      this.#hashes = grown;
    }
    this.#hashes[row] = this.#options.crc32c(encoder.encode(id));
    this.#valueBlock.set(values, this.#valueBytes);
    this.#valueBytes += values.length;
    if (this.#valueBytes === this.#valueBlock.length) this.#endValueBlock();
  }

  #endValueBlock(): void {
    if (this.#valueBytes === 0) return;
    this.#values.block(
      this.#valueBlock.subarray(0, this.#valueBytes),
      this.#rowCount - Math.ceil(this.#valueBytes / (this.#options.dimension * 4)),
    );
    this.#valueBlock = new Uint8Array(this.#valueBlock.length);
    this.#valueBytes = 0;
  }

  /** A section of bytes that are there already, cut into blocks. */
  *bytes(name: string, bytes: Uint8Array): Generator<void, void> {
    const writer = this.section(name);
    const slice = new Slice(this.#options.now, SLICE_BLOCKS);
    for (let from = 0; from < bytes.length; from += BLOCK_BYTES) {
      writer.block(bytes.subarray(from, from + BLOCK_BYTES));
      if (slice.isOver()) yield;
    }
    this.addSection(writer.finish());
  }

  addSection(section: Section): void {
    this.#sections.set(section.name, section);
  }

  /** Ends the columns; yields between slices. `columns`: the metadata index of the rows as they were added. */
  *finish(columns: IndexColumns): Generator<void, void> {
    this.#endValueBlock();
    for (const [rows, section] of [this.#ids, this.#metadata]) {
      rows.flush();
      this.addSection(section.finish());
      yield;
    }
    this.addSection(this.#values.finish());
    yield* this.bytes("id-hashes", yield* encodeIdHashes(this.#hashes.subarray(0, this.#rowCount)));
    yield* this.bytes("metadata-index", yield* writeCompactIndex(columns));
  }

  /** After `finish` and all indexes. */
  directory(): Directory {
    return { rowCount: this.#rowCount, dimension: this.#options.dimension, sections: this.#sections };
  }
}

export function rowsAValueBlock(dimension: number): number {
  return Math.max(1, Math.floor(VALUE_BLOCK_BYTES / (dimension * 4)));
}
