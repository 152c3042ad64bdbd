// What every index over the rows of a segment is: how it is built, asked, saved and loaded.
// Words: a row is a number local to its segment, 0..count-1; a bitmap is one bit a row in the arena, u32-aligned, padded to 16 bytes,
// bit `row & 31` of word `row >> 5`. Must not: know ids, metadata or revisions.

import type { Pointer } from "../arena.ts";
import type { Metric } from "../metric.ts";

export type IndexKind = "FLAT" | "HNSW" | "IVF" | "LSH";

/** float32 rows of a segment: the source of an index and of exact distances. */
export interface Rows {
  readonly count: number;
  readonly dimension: number;
  /**
   * Copies rows `from`..`from + count - 1` to the arena, each at `into + i * rowStride(dimension)` with zeros behind the last value.
   * Those read from blobs must be loaded before the builder's `step` is called (`needs` says which come next).
   */
  read(from: number, count: number, into: Pointer): void;
  /** Copies these rows as `read` does, one behind the other; absent: they are read one by one. */
  gather?(rows: Uint32Array, into: Pointer): void;
  /** Told before rows are read: throws where some must be fetched first, with all that must. */
  require?(rows: Iterable<number>): void;
  /** Set when all rows lie in the arena, as `read` would lay them out: builders and scans use them in place. Not owned by an index. */
  readonly resident?: readonly RowExtent[];
}

/** Neighbouring rows in the arena, `rowStride(dimension)` bytes apart. Extents of a segment follow one another. */
export interface RowExtent {
  readonly at: Pointer;
  readonly count: number;
}

/** Bytes from one float32 row to the next: padded with zeros to whole SIMD words. */
export function rowStride(dimension: number): number {
  return Math.ceil(dimension / 4) * 16;
}

/** Rows that all lie in the arena. */
export function residentRows(dimension: number, resident: readonly RowExtent[]): Rows {
  return {
    count: resident.reduce((sum, { count }) => sum + count, 0),
    dimension,
    resident,
    read() {
      throw new Error("rows in the arena are not read");
    },
  };
}

/** Bytes of a bitmap over `count` rows. */
export function bitmapBytes(count: number): number {
  return Math.ceil(count / 128) * 16;
}

/** A query, ready for any index of its database. */
export interface PreparedQuery {
  readonly metric: Metric;
  readonly dimension: number;
  /** float32 as the caller gave them, `rowStride(dimension)` bytes. */
  readonly values: Pointer;
  /** Sum of the squares of the values. */
  readonly squaredNorm: number;
}

/** How hard to look. What is absent is the index's default; what an index does not know it ignores. */
export interface Effort {
  /** HNSW: candidates kept during the walk. */
  readonly ef?: number;
  /** IVF, LSH: lists or buckets read. */
  readonly probes?: number;
  /** Candidates given back for the exact re-rank; at least k. Absent: as many as the error of the estimates asks for. */
  readonly rerank?: number;
}

export interface SearchAsk {
  readonly k: number;
  readonly effort: Effort;
  /** Bitmap of the rows that may be given; absent = all. */
  readonly allowed?: Pointer;
  /** Bitmap of the rows that must not be given; absent = none. */
  readonly deleted?: Pointer;
}

export interface Found {
  /** Nearest first, equal distances by lower row. With codes: candidates, k or more if so many live. */
  readonly rows: Uint32Array;
  readonly distances: Float32Array;
  /** Of estimates that have a bound: no row is nearer than this, but in rare cases. The re-rank stops where it can. */
  readonly lowest?: Float32Array;
  /** Of estimates that err alike: how far behind `distance` one may stand whose row is nearer (wasm/vector/heap.ts says by which odds). */
  readonly slack?: (distance: number) => number;
  /** False: distances are estimates; re-rank `rows` from float32 rows. */
  readonly isExact: boolean;
  /** Rows whose distance was computed. */
  readonly scanned: number;
  /** What was done, for `explain`. */
  readonly plan: "scan" | "walk" | "filtered-walk" | "walk-then-scan" | "lists" | "buckets";
}

export interface IndexSection {
  readonly name: string;
  readonly byteLength: number;
  /** A copy of bytes `from`..`to - 1`, for the pieces of a segment file. */
  read(from: number, to: number): Uint8Array;
}

export interface SegmentIndex {
  readonly kind: IndexKind;
  readonly count: number;
  /** Bytes of the arena that it owns. */
  readonly memoryBytes: number;
  search(query: PreparedQuery, ask: SearchAsk): Found;
  /** What the segment file stores; an {@link IndexLoader} is the inverse. */
  save(): readonly IndexSection[];
  /** Gives its memory back. Nothing may be called afterwards. */
  release(): void;
}

export interface IndexBuilder {
  /** Rows that the next `step` of this budget reads from `Rows`: [from, to). Empty when none. */
  needs(budget: { readonly rows: number }): { readonly from: number; readonly to: number };
  /** A bounded slice of work; true when complete. */
  step(budget: { readonly rows: number }): boolean;
  /** 0..1. */
  readonly progress: number;
  /** Rows left out because a value is not finite (or all are zero, under cosine): named, not searched, not fatal. */
  readonly quarantined: readonly number[];
  /** The index. Once, after `step` gave true. */
  finish(): SegmentIndex;
  /** Gives all memory back at any step. */
  abandon(): void;
}

/** Where the bytes of a saved section go: straight into the arena, in pieces of any size, before `finish`. */
export interface IndexLoader {
  readonly targets: readonly { readonly name: string; readonly at: Pointer; readonly byteLength: number }[];
  /** Checks everything that was loaded. @throws MalformedIndex, after giving the memory back. */
  finish(): SegmentIndex;
  abandon(): void;
}

/** Saved bytes that are not an index of this kind over these rows: build it again from the rows. */
export class MalformedIndex extends Error {
  override readonly name = "MalformedIndex";
}
