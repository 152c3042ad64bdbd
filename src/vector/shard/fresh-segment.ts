// The segment that grows: rows in memory, found at once. Values lie in the arena, padded, for exact scans in place.
// Guarantees: rows are numbered as they come and never change; replaced and deleted ones are marked. Must not: be durable; the log is.
import type { Arena, Pointer } from "../arena.ts";
import { type RowExtent, rowStride } from "../index/segment-index.ts";
import { BitSet } from "../metadata/bit-set.ts";
import { columnsOf, type IndexColumns } from "../metadata/columns.ts";
import { MetadataIndexBuilder } from "../metadata/index-builder.ts";
import type { JsonObject } from "../metadata/values.ts";
import type { RowStamp, VectorRow } from "../segment/row.ts";
import { EXTENT_BYTES, EXTENT_ROWS, FRESH_BYTES, FRESH_ROWS } from "./limits.ts";

interface FreshRow {
  readonly id: string;
  readonly stamp: RowStamp;
  readonly metadata: Uint8Array;
}

export interface FreshSegmentOptions {
  readonly arena: Arena;
  readonly dimension: number;
  /** CRC32C of an id's bytes, as sealed segments have it. */
  readonly hash: (id: string) => number;
}

const decoder = new TextDecoder();

export function parsedMetadata(bytes: Uint8Array): JsonObject {
  return bytes.length === 0 ? {} : (JSON.parse(decoder.decode(bytes)) as JsonObject);
}

export class FreshSegment {
  readonly #arena: Arena;
  readonly #dimension: number;
  readonly #hash: (id: string) => number;
  /** [hash, row] of the first rows, ascending: as many as there were when it was last asked for. */
  #byHash: readonly (readonly [hash: number, row: number])[] = [];
  readonly #rowsAnExtent: number;
  readonly #rows: FreshRow[] = [];
  readonly #rowOf = new Map<string, number>();
  readonly #extents: Pointer[] = [];
  readonly metadataIndex = new MetadataIndexBuilder();
  #deleted = new BitSet(EXTENT_ROWS);
  #deletedCount = 0;
  #bytes = 0;

  constructor({ arena, dimension, hash }: FreshSegmentOptions) {
    this.#arena = arena;
    this.#dimension = dimension;
    this.#hash = hash;
    this.#rowsAnExtent = Math.max(1, Math.min(EXTENT_ROWS, Math.floor(EXTENT_BYTES / rowStride(dimension))));
  }

  get rowCount(): number {
    return this.#rows.length;
  }

  get liveCount(): number {
    return this.rowCount - this.#deletedCount;
  }

  /** Of ids, values and metadata. */
  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.rowCount >= FRESH_ROWS || this.#bytes >= FRESH_BYTES;
  }

  /** Of exactly `rowCount` rows. */
  get deleted(): BitSet {
    const { rowCount } = this;
    return new BitSet(rowCount, this.#deleted.words.subarray(0, (rowCount + 31) >>> 5));
  }

  /** Rows in the arena, in order. */
  get extents(): readonly RowExtent[] {
    return this.#extents.map((at, index) => ({
      at,
      count: Math.max(0, Math.min(this.#rowsAnExtent, this.rowCount - index * this.#rowsAnExtent)),
    }));
  }

  /** Room for more rows: call before anything is changed. @throws ArenaFull */
  reserve(count: number): void {
    while (this.rowCount + count > this.#extents.length * this.#rowsAnExtent) {
      this.#extents.push(this.#arena.allocate(this.#rowsAnExtent * rowStride(this.#dimension), { zeroed: true }));
    }
  }

  /** A new row; an older one of its id must have been deleted. `values` and `metadata` are kept. Returns its number. */
  add({ id, stamp, metadata, values }: VectorRow): number {
    this.reserve(1);
    const row = this.#rows.push({ id, stamp, metadata }) - 1;
    this.#rowOf.set(id, row);
    this.#arena.bytes(this.#addressOf(row), values.length).set(values);
    this.metadataIndex.add(parsedMetadata(metadata));
    if (row >= this.#deleted.count) this.#growDeleted();
    this.#bytes += id.length + metadata.length + values.length;
    return row;
  }

  #growDeleted(): void {
    const grown = new BitSet(this.#deleted.count * 2);
    grown.words.set(this.#deleted.words);
    this.#deleted = grown;
  }

  #addressOf(row: number): Pointer {
    return (
      this.#extents[Math.floor(row / this.#rowsAnExtent)]! + (row % this.#rowsAnExtent) * rowStride(this.#dimension)
    );
  }

  find(id: string): number | undefined {
    return this.#rowOf.get(id);
  }

  /** As in a sealed segment. */
  *byHash(hash: number): Generator<readonly [hash: number, row: number]> {
    if (this.#byHash.length < this.rowCount) {
      this.#byHash = this.#rows
        .map(({ id }, row) => [this.#hash(id), row] as const)
        .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    }
    for (const entry of this.#byHash) if (entry[0] >= hash) yield entry;
  }

  delete(row: number): boolean {
    if (this.#deleted.has(row)) return false;
    this.#deleted.add(row);
    this.#deletedCount++;
    this.#rowOf.delete(this.#rows[row]!.id);
    return true;
  }

  isDeleted(row: number): boolean {
    return this.#deleted.has(row);
  }

  idOf(row: number): { readonly id: string; readonly stamp: RowStamp } {
    return this.#rows[row]!;
  }

  metadataOf(row: number): Uint8Array {
    return this.#rows[row]!.metadata;
  }

  /** A view: copy what is kept. */
  valuesOf(row: number): Uint8Array {
    return this.#arena.bytes(this.#addressOf(row), this.#dimension * 4);
  }

  rowAt(row: number): VectorRow {
    return { ...this.#rows[row]!, values: this.valuesOf(row) };
  }

  columns(): IndexColumns {
    return columnsOf(this.metadataIndex);
  }

  release(): void {
    for (const at of this.#extents) this.#arena.free(at);
    this.#extents.length = 0;
  }
}
