// The int8 quantizer: one affine map for all values, one byte a value. Squared distances of codes × step² estimate squared
// euclidean distances of the rows as the metric compares them (wasm/vector/int8.ts says how cosine and dot become that).
// Guarantees: integers within a range of 256 under the euclidean metric are kept exactly. Must not: hold rows.

import type { Pointer } from "../arena.ts";
import { CLIPPED_SHARE } from "../index/limits.ts";
import type { PreparedQuery } from "../index/segment-index.ts";
import { METRIC_CODES, type VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";

/** The map and what belongs to it; saved with the codes. */
export interface Int8Map {
  readonly metric: Metric;
  readonly dimension: number;
  readonly low: number;
  readonly step: number;
  /** True if every row is its codes. */
  readonly isExact: boolean;
  /** Dot: the greatest squared norm of the rows; else 0. */
  readonly radius: number;
  /** Dot: the code of the value 0. */
  readonly zero: number;
  /** Dot: codes behind the dimension that hold what a row's norm lacks. */
  readonly extras: number;
}

/** What a look at all rows found. */
export interface Survey {
  readonly squaredNorm: number;
  readonly low: number;
  readonly high: number;
  readonly isIntegers: boolean;
}

/** Bytes from one row's codes to the next: whole SIMD words. */
export function codeStride({ dimension, extras }: Pick<Int8Map, "dimension" | "extras">): number {
  return Math.ceil((dimension + extras) / 16) * 16;
}

/** Extra codes of dot: as many as keep them within the range of the values themselves. */
function extrasOf(metric: Metric, dimension: number): number {
  return metric === "dot" ? Math.max(4, Math.ceil(dimension / 16)) : 0;
}

/**
 * Chooses the map. `sample` holds values as they will be encoded (normalised under cosine); it is sorted in place.
 * Few far outliers are clipped, so that the others keep their resolution.
 */
export function chooseMap(metric: Metric, dimension: number, survey: Survey, sample: Float32Array): Int8Map {
  const extras = extrasOf(metric, dimension);
  const shape = { metric, dimension, radius: metric === "dot" ? survey.squaredNorm : 0, zero: 0, extras };
  if (metric === "euclidean" && survey.isIntegers && survey.high - survey.low <= 255) {
    const low = survey.low >= 0 && survey.high <= 255 ? 0 : survey.low;
    return { ...shape, low: Math.fround(low), step: 1, isExact: true };
  }
  sample.sort();
  const cut = Math.floor(sample.length * CLIPPED_SHARE);
  let low = sample[cut] ?? 0;
  let high = sample[sample.length - 1 - cut] ?? 0;
  if (metric !== "dot") {
    const step = high > low ? Math.fround((high - low) / 255) : 1;
    return { ...shape, low: Math.fround(low), step, isExact: false };
  }
  low = Math.min(0, low);
  high = Math.max(0, high, Math.sqrt(survey.squaredNorm / extras));
  const step = high > low ? (high - low) / 255 : 1;
  const zero = Math.min(254, Math.round(-low / step));
  return { ...shape, low: Math.fround(-zero * step), step: Math.fround(step), isExact: false, zero };
}

/** Encodes rows that lie in the arena. Returns true if the codes are the rows exactly. */
export function encodeRows(
  { kernels }: VectorCore,
  map: Int8Map,
  from: { readonly at: Pointer; readonly stride: number; readonly count: number; readonly into: Pointer },
): boolean {
  const perStep = Math.fround(1 / map.step);
  const metric = METRIC_CODES[map.metric];
  const { at, stride, count, into } = from;
  const { dimension, low, radius, zero, extras } = map;
  const out = codeStride(map);
  const flags = kernels.encodeRows(metric, at, stride, dimension, count, low, perStep, radius, zero, extras, into, out);
  return (flags & 1) === 0;
}

export interface EncodedQuery {
  /** i16 codes. */
  readonly at: Pointer;
  /** True if the query is its codes. */
  readonly isExact: boolean;
  /** Distance = squared distance of codes × scale + offset. */
  readonly scale: number;
  readonly offset: number;
}

/** How far behind an estimated distance another one may stand whose row is nearer: what `withinError` lets through. */
export function slackOf({ scale, offset }: Pick<EncodedQuery, "scale" | "offset">): (distance: number) => number {
  return (distance) => scale * (4 + 3.5 * Math.sqrt(Math.max(0, (distance - offset) / scale)));
}

/** Encodes a query into the workspace. Codes beyond 0..255 are kept: a query far away from all rows still orders them. */
export function encodeQuery({ kernels, workspace }: VectorCore, map: Int8Map, query: PreparedQuery): EncodedQuery {
  const stride = codeStride(map);
  const at = workspace.reserve("query", stride * 2);
  const norm = Math.sqrt(query.squaredNorm);
  // A dot product orders rows alike for any length of the query: it gets the rows' own.
  const length = map.metric === "dot" ? Math.sqrt(map.radius) : 1;
  const factor = map.metric === "euclidean" || norm === 0 ? 1 : length / norm;
  const reach = Math.floor(Math.sqrt((2 ** 32 - 1) / stride));
  const flags = kernels.encodeQuery(
    query.values,
    map.dimension,
    factor,
    map.low,
    Math.fround(1 / map.step),
    255 - reach,
    Math.min(reach, 32_767),
    map.zero,
    map.extras,
    at,
    stride,
  );
  const squaredStep = map.step * map.step;
  const isExact = map.isExact && flags === 0;
  switch (map.metric) {
    case "euclidean":
      return { at, isExact, scale: squaredStep, offset: 0 };
    case "cosine":
      return { at, isExact, scale: squaredStep / 2, offset: 0 };
    case "dot":
      return {
        at,
        isExact,
        scale: squaredStep / (2 * (factor || 1)),
        offset: -(query.squaredNorm * factor * factor + map.radius) / (2 * (factor || 1)),
      };
    default:
      return map.metric satisfies never;
  }
}
