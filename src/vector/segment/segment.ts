// A sealed segment as searches read it: rows by number, rows by id, the metadata index. Its rows never change; they may be deleted.
// Guarantees: what is read fits its checksum, or CorruptSegment. In memory: id hashes and the metadata index; the rest by block.

import { MalformedBytes } from "../../wire/bytes.ts";
import { BitSet } from "../metadata/bit-set.ts";
import type { IndexColumns } from "../metadata/columns.ts";
import { CompactMetadataIndex } from "../metadata/compact-index.ts";
import type { SegmentBlobs } from "./away.ts";
import { CorruptSegment, type Crc32c, type Directory, type Section } from "./directory.ts";
import { IdHashes } from "./id-hashes.ts";
import { MAX_KEPT_READ_BYTES } from "./limits.ts";
import { type RowStamp, readIdRow, type VectorRow } from "./row.ts";
import { RowBlocks } from "./row-blocks.ts";
import { type BlockCache, SectionReader } from "./sections.ts";
import { rowsAValueBlock } from "./segment-writer.ts";

export interface SegmentOptions {
  /** Its number in the manifest: never given twice in a shard. */
  readonly number: number;
  readonly directory: Directory;
  readonly blobs: SegmentBlobs;
  readonly crc32c: Crc32c;
  readonly cache: BlockCache;
  readonly deleted?: BitSet;
  /** Has the same columns: what was read of them is not read again. */
  readonly twin?: Segment | undefined;
}

export class Segment {
  readonly number: number;
  /** Its columns never change; indexes may come and go. */
  directory: Directory;
  /** Rows that are deleted or replaced. */
  readonly deleted: BitSet;
  readonly metadataIndex: CompactMetadataIndex;
  readonly #options: SegmentOptions;
  readonly #ids: RowBlocks;
  readonly #metadata: RowBlocks;
  readonly #values: SectionReader;
  readonly #hashes: IdHashes;
  #deletedCount: number;
  #valueReads = 0;
  /** Stored bytes of each blob of its values. */
  #valueBytes: number[] | undefined;

  constructor(options: SegmentOptions) {
    const { number, directory, deleted, twin } = options;
    this.#options = options;
    this.number = number;
    this.directory = directory;
    this.deleted = deleted ?? new BitSet(directory.rowCount);
    this.#deletedCount = this.deleted.size;
    this.#ids = new RowBlocks(this.reader("ids"));
    this.#metadata = new RowBlocks(this.reader("metadata"));
    this.#values = this.reader("values");
    this.#hashes = twin ? twin.#hashes : new IdHashes(this.reader("id-hashes").all());
    try {
      this.metadataIndex = twin ? twin.metadataIndex : new CompactMetadataIndex(this.reader("metadata-index").all());
    } catch (error) {
      if (error instanceof MalformedBytes)
        throw new CorruptSegment(`the metadata index of segment ${number}: ${error.message}`);
      throw error;
    }
  }

  get rowCount(): number {
    return this.directory.rowCount;
  }

  get liveCount(): number {
    return this.rowCount - this.#deletedCount;
  }

  /** Bytes held by JavaScript for this segment, without its indexes. */
  get memoryBytes(): number {
    return this.#hashes.byteLength + this.metadataIndex.byteLength + this.deleted.words.byteLength;
  }

  /** How often values were read since it was opened. */
  get valueReads(): number {
    return this.#valueReads;
  }

  /** Values are in the blob store, all or some. */
  get isAway(): boolean {
    const { away } = this.#options.blobs;
    return away !== undefined && away.isAny && this.#values.section.parts.some((blob) => away.has(blob));
  }

  /** The blobs of its values. */
  get valueBlobs(): readonly string[] {
    return this.#values.section.parts;
  }

  /** Stored bytes of its values: here, and in the blob store. */
  valueBytes(): { readonly hot: number; readonly cold: number } {
    const { away } = this.#options.blobs;
    const { blocks, parts } = this.#values.section;
    if (!this.#valueBytes) {
      this.#valueBytes = parts.map(() => 0);
      for (const { part, storedBytes } of blocks) this.#valueBytes[part]! += storedBytes;
    }
    let [hot, cold] = [0, 0];
    for (const [part, bytes] of this.#valueBytes.entries()) {
      if (away?.has(parts[part]!)) cold += bytes;
      else hot += bytes;
    }
    return { hot, cold };
  }

  /** Of rows whose values will be read: all that must be fetched first. @throws AwayBlocks */
  requireValues(rows: Iterable<number>): void {
    this.#valueReads++;
    if (this.#options.blobs.away?.isAny) this.#values.require(this.#valueBlocksOf(rows));
  }

  *#valueBlocksOf(rows: Iterable<number>): Generator<number, void> {
    const rowsABlock = rowsAValueBlock(this.directory.dimension);
    for (const row of rows) yield Math.floor(row / rowsABlock);
  }

  section(name: string): Section | undefined {
    return this.directory.sections.get(name);
  }

  reader(name: string): SectionReader {
    const { blobs, crc32c, cache, number } = this.#options;
    const section = this.section(name);
    if (!section) throw new CorruptSegment(`segment ${number} has no section ${name}`);
    return new SectionReader({ section, blobs, crc32c, cache });
  }

  /** The live row of an id. `hash`: CRC32C of its bytes. */
  find(id: string, hash: number): number | undefined {
    return this.#hashes.find(hash, (row) => !this.deleted.has(row) && this.idOf(row).id === id);
  }

  /** Rows by the hash of their id, from `hash` on; deleted ones too. */
  byHash(hash: number): Iterable<readonly [hash: number, row: number]> {
    return this.#hashes.from(hash);
  }

  /** False = was deleted before. */
  delete(row: number): boolean {
    if (this.deleted.has(row)) return false;
    this.deleted.add(row);
    this.#deletedCount++;
    return true;
  }

  isDeleted(row: number): boolean {
    return this.deleted.has(row);
  }

  columns(): IndexColumns {
    return this.metadataIndex.columns();
  }

  idOf(row: number): { readonly id: string; readonly stamp: RowStamp } {
    try {
      return readIdRow(this.#ids.row(row));
    } catch (error) {
      if (error instanceof MalformedBytes)
        throw new CorruptSegment(`row ${row} of segment ${this.number}: ${error.message}`);
      throw error;
    }
  }

  /** JSON text; empty = none. A view: copy what is kept. */
  metadataOf(row: number): Uint8Array {
    return this.#metadata.row(row);
  }

  /** float32 bytes as they came in. A view: copy what is kept. */
  valuesOf(row: number): Uint8Array {
    this.#valueReads++;
    const rowBytes = this.directory.dimension * 4;
    const rowsABlock = rowsAValueBlock(this.directory.dimension);
    const start = (row % rowsABlock) * rowBytes;
    return this.#values.block(Math.floor(row / rowsABlock)).subarray(start, start + rowBytes);
  }

  /** The values of neighbouring rows, stretch by stretch; long ones pass the block cache, which they would only empty. */
  *valuesFrom(from: number, count: number): Generator<Uint8Array, void> {
    this.#valueReads++;
    const rowBytes = this.directory.dimension * 4;
    const rowsABlock = rowsAValueBlock(this.directory.dimension);
    const isKept = count * rowBytes <= MAX_KEPT_READ_BYTES;
    for (let row = from; row < from + count; ) {
      const block = Math.floor(row / rowsABlock);
      const end = Math.min(from + count, (block + 1) * rowsABlock);
      const start = (row - block * rowsABlock) * rowBytes;
      yield this.#values.block(block, isKept).subarray(start, start + (end - row) * rowBytes);
      row = end;
    }
  }

  rowAt(row: number): VectorRow {
    return { ...this.idOf(row), metadata: this.metadataOf(row), values: this.valuesOf(row) };
  }
}
