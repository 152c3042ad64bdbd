// What an index knows about one path, whichever form it has: rows by value, by order, by word, by place.
import type { Bounds } from "../filter/filter.ts";
import type { Rows } from "./bit-set.ts";
import type { Point, Scalar } from "./values.ts";

export interface PointsOfField {
  readonly count: number;
  row(at: number): number;
  point(at: number): Point;
  /** Positions of the points of a cell (geo.ts). */
  inCell(cell: number): ArrayLike<number>;
}

export interface FieldLookup {
  /** Rows with anything at the path. */
  readonly present: Rows;
  /** Rows with text here that is too long to be indexed whole: what is asked about text, they may match. Their words are known. */
  readonly long: Rows;
  readonly points: PointsOfField;
  /** Rows with this scalar; not asked for text beyond MAX_INDEXED_CHARACTERS. */
  equal(value: Scalar): Rows;
  word(word: string): Rows;
  /** Rows of each number or text within the bounds. */
  between(bounds: Bounds): Iterable<Rows>;
  withPrefix(prefix: string): Iterable<Rows>;
}

export interface MetadataLookup {
  /** Rows are 0..count-1. */
  readonly count: number;
  field(path: string): FieldLookup | undefined;
  /** Rows with paths that are not indexed: asked about a path without an index, they may match. */
  readonly unindexed: Rows;
}
