// The int8 quantizer: u8 codes of float32 rows by one affine map, code = round((x × factor − low) / step), clamped to 0..255.
// Squared distances of codes × step² estimate squared euclidean distances of what was encoded: the row (euclidean), the normalised row
// (cosine), or the row with the extra coordinates that make its norm the radius (dot: Bachrach et al. 2014, spread over `extras` codes).

import { COSINE, DOT, productsF } from "./distances";

/** Flags of a row. */
const INEXACT: u32 = 1;
const NOT_FINITE: u32 = 2;
const ZERO: u32 = 4;

const NO_FLOAT: f32 = f32.MAX_VALUE * 2;

@inline
function normOf(p: usize, stride: usize): f32 {
  return f32x4.extract_lane(productsF(p, p, p, p, p, stride), 0);
}

@inline
function isUsable(metric: u32, norm: f32): bool {
  // The norm of a row with a value that is not finite is not finite either; one that overflows cannot be compared.
  return norm < NO_FLOAT && !(metric == COSINE && norm == 0);
}

/**
 * Looks at `count` rows: per row 1 to `flags` (u8) if it cannot be indexed, else 0. `state`: largest squared norm, least and greatest
 * value (f32), and 1 while all values are integers (u32); over the usable rows, together with what it held before.
 */
export function survey(metric: u32, rows: usize, stride: usize, dimension: u32, count: u32, flags: usize, state: usize): void {
  let norm = load<f32>(state);
  let low = f32x4.splat(load<f32>(state, 4));
  let high = f32x4.splat(load<f32>(state, 8));
  let fractions = i32x4.splat(0);
  for (let i: u32 = 0; i < count; i++) {
    const row = rows + <usize>i * stride;
    const squared = normOf(row, stride);
    const usable = isUsable(metric, squared);
    store<u8>(flags + i, usable ? 0 : 1);
    if (!usable) continue;
    norm = max(norm, squared);
    let at: u32 = 0;
    for (; at + 4 <= dimension; at += 4) {
      const x = v128.load(row + (<usize>at << 2));
      low = f32x4.min(low, x);
      high = f32x4.max(high, x);
      fractions = v128.or(fractions, f32x4.ne(x, f32x4.nearest(x)));
    }
    for (; at < dimension; at++) {
      const x = f32x4.splat(load<f32>(row + (<usize>at << 2)));
      low = f32x4.min(low, x);
      high = f32x4.max(high, x);
      fractions = v128.or(fractions, f32x4.ne(x, f32x4.nearest(x)));
    }
  }
  store<f32>(state, norm);
  store<f32>(state, least(low), 4);
  store<f32>(state, -least(f32x4.neg(high)), 8);
  if (v128.any_true(fractions)) store<u32>(state, 0, 12);
}

@inline
function least(lanes: v128): f32 {
  return min(
    min(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1)),
    min(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)),
  );
}

/** Codes of four values at a time as i32, clamped; ORs what clamping or rounding changed into `changed`. */
@inline
function codesOf(x: v128, factor: v128, low: v128, perStep: v128, least: v128, most: v128): v128 {
  const scaled = f32x4.mul(f32x4.sub(f32x4.mul(x, factor), low), perStep);
  return f32x4.min(most, f32x4.max(least, f32x4.nearest(scaled)));
}

/** What the extra codes of a row add up to, in squared steps: a code per extra coordinate, the first `more` of them one higher. */
function encodeExtras(out: usize, zero: u32, extras: u32, missing: f32, perStep: f32): void {
  const target: f32 = missing > 0 ? missing * perStep * perStep : 0;
  let each = <u32>Mathf.floor(Mathf.sqrt(target / <f32>extras));
  each = min(each, 254 - zero);
  const short = target - <f32>(each * each * extras);
  const more = min(extras, <u32>Mathf.max(0, Mathf.round(short / <f32>((each << 1) + 1))));
  for (let i: u32 = 0; i < extras; i++) store<u8>(out + i, <u8>(zero + each + (i < more ? 1 : 0)));
}

/**
 * Encodes `count` float32 rows to u8 codes, `codeStride` bytes apart. Codes behind the dimension (and the `extras`) are 0.
 * `radius` is the squared radius of dot. Returns the flags of all rows together.
 */
export function encodeRows(
  metric: u32, rows: usize, stride: usize, dimension: u32, count: u32,
  low: f32, perStep: f32, radius: f32, zero: u32, extras: u32, out: usize, codeStride: usize,
): u32 {
  const lows = f32x4.splat(low), steps = f32x4.splat(perStep);
  const least = f32x4.splat(0), most = f32x4.splat(255);
  let flags: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const row = rows + <usize>i * stride;
    const codes = out + <usize>i * codeStride;
    const norm = normOf(row, stride);
    if (!isUsable(metric, norm)) flags |= norm == 0 ? ZERO : NOT_FINITE;
    const factor = f32x4.splat(metric == COSINE ? (norm > 0 ? <f32>(1.0 / Math.sqrt(<f64>norm)) : 0) : 1);
    let changed = i32x4.splat(0);
    for (let at: usize = 0; at < dimension; at += 4) {
      const x = v128.load(row + (at << 2));
      const code = codesOf(x, factor, lows, steps, least, most);
      if (at + 4 <= <usize>dimension) {
        const exact = f32x4.mul(f32x4.sub(f32x4.mul(x, factor), lows), steps);
        changed = v128.or(changed, f32x4.ne(exact, code));
      }
      const words = i32x4.trunc_sat_f32x4_s(code);
      const narrow = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(words, words), words);
      store<u32>(codes + at, i32x4.extract_lane(narrow, 0));
    }
    for (let at: usize = <usize>dimension & ~3; at < dimension; at++) {
      const x = load<f32>(row + (at << 2)) * f32x4.extract_lane(factor, 0);
      if (<f32>load<u8>(codes + at) != (x - low) * perStep) flags |= INEXACT;
    }
    memory.fill(codes + dimension, 0, codeStride - dimension);
    if (metric == DOT && extras) encodeExtras(codes + dimension, zero, extras, radius - norm, perStep);
    if (v128.any_true(changed)) flags |= INEXACT;
  }
  return flags;
}

/**
 * Encodes a query to i16 codes within `least`..`most` (so that no distance exceeds a u32), scaled by `factor`; its extra coordinates
 * are zero. Returns INEXACT unless every value is a code.
 */
export function encodeQuery(
  q: usize, dimension: u32, factor: f32, low: f32, perStep: f32, least: f32, most: f32,
  zero: u32, extras: u32, out: usize, codeStride: usize,
): u32 {
  const factors = f32x4.splat(factor), lows = f32x4.splat(low), steps = f32x4.splat(perStep);
  const leasts = f32x4.splat(least), mosts = f32x4.splat(most);
  let flags: u32 = 0;
  for (let at: usize = 0; at < dimension; at += 4) {
    const x = v128.load(q + (at << 2));
    const code = codesOf(x, factors, lows, steps, leasts, mosts);
    const exact = f32x4.mul(f32x4.sub(f32x4.mul(x, factors), lows), steps);
    if (at + 4 <= <usize>dimension && v128.any_true(f32x4.ne(exact, code))) flags |= INEXACT;
    const words = i32x4.trunc_sat_f32x4_s(code);
    const narrow = i16x8.narrow_i32x4_s(words, words);
    store<u64>(out + (at << 1), i64x2.extract_lane(narrow, 0));
  }
  for (let at: usize = <usize>dimension & ~3; at < dimension; at++) {
    const exact = (load<f32>(q + (at << 2)) * factor - low) * perStep;
    if (<f32>load<i16>(out + (at << 1)) != exact) flags |= INEXACT;
  }
  memory.fill(out + (<usize>dimension << 1), 0, (codeStride - dimension) << 1);
  for (let i: u32 = 0; i < extras; i++) store<i16>(out + (<usize>(dimension + i) << 1), <i16>zero);
  return flags;
}

/** u8 codes of a row as the i16 codes of a query. */
export function codesAsQuery(codes: usize, bytes: usize, out: usize): void {
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(out + (at << 1), v128.load_ext<u8>(codes + at));
    v128.store(out + (at << 1), v128.load_ext<u8>(codes + at, 8), 16);
  }
}

/**
 * Copies float32 rows as an index compares them by squared distance: as they are (euclidean), normalised (cosine), or with one more
 * value that makes their squared norm `radius` (dot). `outStride` has room for it.
 */
export function transformRows(
  metric: u32, rows: usize, stride: usize, dimension: u32, count: u32, radius: f32, out: usize, outStride: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const row = rows + <usize>i * stride;
    const copy = out + <usize>i * outStride;
    const norm = normOf(row, stride);
    const factor = f32x4.splat(metric == COSINE && norm > 0 ? <f32>(1.0 / Math.sqrt(<f64>norm)) : 1);
    for (let at: usize = 0; at < stride; at += 16) v128.store(copy + at, f32x4.mul(v128.load(row + at), factor));
    if (outStride > stride) memory.fill(copy + stride, 0, outStride - stride);
    if (metric == DOT) store<f32>(copy + (<usize>dimension << 2), Mathf.sqrt(Mathf.max(0, radius - norm)));
  }
}
