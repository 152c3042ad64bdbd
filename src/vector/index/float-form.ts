// float32 vectors of a graph, compared by squared distance whatever the metric: rows as they are (euclidean), normalised (cosine), or
// with one more value that makes all norms alike (dot; Bachrach et al. 2014), which turns the greatest product into the least distance.

import { METRIC_CODES, type VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import type { EncodedQuery } from "../quantize/int8.ts";
import type { Piece } from "./row-pieces.ts";
import { type PreparedQuery, rowStride } from "./segment-index.ts";

export interface FloatMap {
  readonly quantizer: "none";
  readonly metric: Metric;
  readonly dimension: number;
  /** Dot: the greatest squared norm of the rows; else 0. */
  readonly radius: number;
}

/** Bytes from one vector to the next. */
export function floatStride({ metric, dimension }: Pick<FloatMap, "metric" | "dimension">): number {
  return rowStride(metric === "dot" ? dimension + 1 : dimension);
}

/** Copies rows of the arena into the graph. */
export function copyRows(core: VectorCore, map: FloatMap, piece: Piece, into: number): void {
  copyInto(core, map, piece, { at: into, stride: floatStride(map) });
}

/** Copies rows of the arena so that they can be compared by squared distance, `stride` bytes apart, with zeros behind. */
export function copyInto(
  { kernels }: VectorCore,
  map: FloatMap,
  { at, count }: Piece,
  { at: into, stride }: { readonly at: number; readonly stride: number },
): void {
  const { metric, dimension, radius } = map;
  kernels.transformRows(METRIC_CODES[metric], at, rowStride(dimension), dimension, count, radius, into, stride);
}

/** The query as the graph compares it. Exact under the euclidean metric only: the others are re-ranked by their own formula. */
export function floatQuery({ workspace, arena }: VectorCore, map: FloatMap, query: PreparedQuery): EncodedQuery {
  const { metric, dimension, radius } = map;
  if (metric === "euclidean") return { at: query.values, isExact: true, scale: 1, offset: 0 };
  const stride = floatStride(map);
  const at = workspace.reserve("query", stride);
  const norm = Math.sqrt(query.squaredNorm);
  const factor = norm === 0 ? 1 : (metric === "dot" ? Math.sqrt(radius) : 1) / norm;
  const out = arena.floats(at, stride / 4);
  const values = arena.floats(query.values, dimension);
  out.fill(0);
  for (let i = 0; i < dimension; i++) out[i] = values[i]! * factor;
  if (metric === "cosine") return { at, isExact: false, scale: 0.5, offset: 0 };
  const half = 1 / (2 * (factor || 1));
  return { at, isExact: false, scale: half, offset: -(query.squaredNorm * factor * factor + radius) * half };
}
