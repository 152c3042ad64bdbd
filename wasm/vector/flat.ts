// Exact scans: the k nearest of an extent of rows, and all rows within a distance. Bitmaps are read a word at a time.

import { COSINE, distancesF, DOT, EUCLIDEAN, squaredU } from "./distances";
import { liveWord } from "./bitmap";
import { heapOffer, heapWorst, ordered, unordered } from "./heap";

/** Rows gathered from sparse words before their distances are computed. */
const GATHERED: u32 = 128;
const IDS: usize = memory.data((128 + 32 + 4) * 4, 16);

/** Marker of the metrics at compile time: f32 rows by one of three, or u8 codes. */
const CODES: u32 = 3;

@inline
function distances(kind: u32, q: usize, inverse: f32, p0: usize, p1: usize, p2: usize, p3: usize, bytes: usize): v128 {
  if (kind == CODES) return squaredU(q, p0, p1, p2, p3, bytes);
  return distancesF(kind, q, inverse, p0, p1, p2, p3, bytes);
}

/** Offers up to four rows (`valid` bits) to the pool. Not-a-number compares false and never enters. */
@inline
function offer(kind: u32, heap: usize, k: u32, found: v128, valid: u32, r0: u32, r1: u32, r2: u32, r3: u32): void {
  const worst = heapWorst(heap, k);
  let bits: u32;
  if (kind == CODES) bits = i32x4.bitmask(i32x4.le_u(found, i32x4.splat(worst)));
  else bits = i32x4.bitmask(f32x4.le(found, f32x4.splat(worst == 0xffffffff ? f32.MAX_VALUE * 2 : unordered(worst))));
  bits &= valid;
  if (bits & 1) heapOffer(heap, k, key(kind, <u32>i32x4.extract_lane(found, 0), r0));
  if (bits & 2) heapOffer(heap, k, key(kind, <u32>i32x4.extract_lane(found, 1), r1));
  if (bits & 4) heapOffer(heap, k, key(kind, <u32>i32x4.extract_lane(found, 2), r2));
  if (bits & 8) heapOffer(heap, k, key(kind, <u32>i32x4.extract_lane(found, 3), r3));
}

@inline
function key(kind: u32, distance: u32, row: u32): u64 {
  return (<u64>(kind == CODES ? distance : ordered(reinterpret<f32>(distance))) << 32) | row;
}

@inline
function scanGathered(
  kind: u32, q: usize, inverse: f32, rows: usize, stride: usize, first: u32, gathered: u32, heap: usize, k: u32,
): void {
  const last = load<u32>(IDS + (<usize>(gathered - 1) << 2));
  store<u32>(IDS + (<usize>gathered << 2), last);
  store<u32>(IDS + (<usize>gathered << 2), last, 4);
  store<u32>(IDS + (<usize>gathered << 2), last, 8);
  for (let i: u32 = 0; i < gathered; i += 4) {
    const at = IDS + (<usize>i << 2);
    const r0 = load<u32>(at), r1 = load<u32>(at, 4), r2 = load<u32>(at, 8), r3 = load<u32>(at, 12);
    const found = distances(
      kind, q, inverse,
      rows + <usize>(r0 - first) * stride, rows + <usize>(r1 - first) * stride,
      rows + <usize>(r2 - first) * stride, rows + <usize>(r3 - first) * stride, stride,
    );
    const rest = gathered - i;
    offer(kind, heap, k, found, rest < 4 ? (1 << rest) - 1 : 15, r0, r1, r2, r3);
  }
}

@inline
function scan(
  kind: u32, q: usize, inverse: f32, rows: usize, stride: usize, first: u32, count: u32,
  allowed: usize, deleted: usize, heap: usize, k: u32,
): u32 {
  const end = first + count;
  let scanned: u32 = 0;
  let gathered: u32 = 0;
  for (let word = first >> 5; word << 5 < end; word++) {
    const base = word << 5;
    let mask = liveWord(allowed, deleted, word, end);
    if (base < first) mask &= <u32>0xffffffff << (first - base);
    if (mask == 0xffffffff) {
      let p = rows + <usize>(base - first) * stride;
      for (let row = base; row < base + 32; row += 4) {
        const found = distances(kind, q, inverse, p, p + stride, p + 2 * stride, p + 3 * stride, stride);
        offer(kind, heap, k, found, 15, row, row + 1, row + 2, row + 3);
        p += 4 * stride;
      }
      scanned += 32;
      continue;
    }
    while (mask) {
      store<u32>(IDS + (<usize>gathered << 2), base + ctz(mask));
      gathered++;
      mask &= mask - 1;
    }
    if (gathered >= GATHERED) {
      scanGathered(kind, q, inverse, rows, stride, first, gathered, heap, k);
      scanned += gathered;
      gathered = 0;
    }
  }
  if (gathered) scanGathered(kind, q, inverse, rows, stride, first, gathered, heap, k);
  return scanned + gathered;
}

/**
 * Offers the float32 rows `first`..`first + count - 1` of a segment, which lie at `rows`, to the pool `heap` of the `k` nearest.
 * Bitmaps are those of the whole segment. Returns the rows scanned.
 */
export function scanFloat(
  metric: u32, q: usize, inverseNorm: f32, rows: usize, stride: usize, first: u32, count: u32,
  allowed: usize, deleted: usize, heap: usize, k: u32,
): u32 {
  if (metric == EUCLIDEAN)
    return scan(EUCLIDEAN, q, inverseNorm, rows, stride, first, count, allowed, deleted, heap, k);
  if (metric == COSINE) return scan(COSINE, q, inverseNorm, rows, stride, first, count, allowed, deleted, heap, k);
  return scan(DOT, q, inverseNorm, rows, stride, first, count, allowed, deleted, heap, k);
}

/** The same over u8 codes from a query of i16 codes; keys are integers. */
export function scanCodes(
  q: usize, rows: usize, stride: usize, first: u32, count: u32, allowed: usize, deleted: usize, heap: usize, k: u32,
): u32 {
  return scan(CODES, q, 0, rows, stride, first, count, allowed, deleted, heap, k);
}

/**
 * The rows of an extent from row `from` on whose distance is at most `most`, in row order, at most `capacity` of them: rows to
 * `outRows`, distances to `outDistances`. Returns their number; if that is `capacity`, go on behind the last one.
 */
export function scanWithin(
  metric: u32, q: usize, inverseNorm: f32, rows: usize, stride: usize, first: u32, count: u32, from: u32,
  allowed: usize, deleted: usize, most: f32, outRows: usize, outDistances: usize, capacity: u32,
): u32 {
  const end = first + count;
  let found: u32 = 0;
  for (let word = from >> 5; word << 5 < end; word++) {
    const base = word << 5;
    let mask = liveWord(allowed, deleted, word, end);
    if (base < from) mask &= <u32>0xffffffff << (from - base);
    while (mask) {
      const row = base + ctz(mask);
      mask &= mask - 1;
      const p = rows + <usize>(row - first) * stride;
      let lanes: v128;
      if (metric == EUCLIDEAN) lanes = distancesF(EUCLIDEAN, q, inverseNorm, p, p, p, p, stride);
      else if (metric == COSINE) lanes = distancesF(COSINE, q, inverseNorm, p, p, p, p, stride);
      else lanes = distancesF(DOT, q, inverseNorm, p, p, p, p, stride);
      const distance = f32x4.extract_lane(lanes, 0);
      if (!(distance <= most)) continue;
      store<u32>(outRows + (<usize>found << 2), row);
      store<f32>(outDistances + (<usize>found << 2), distance);
      if (++found == capacity) return found;
    }
  }
  return found;
}

/**
 * Offers `count` float32 rows, at the addresses listed at `addresses` (u32) and numbered as listed at `rows` (u32), to the pool.
 */
export function rerankFloat(
  metric: u32, q: usize, inverseNorm: f32, addresses: usize, rows: usize, count: u32, bytes: usize, heap: usize, k: u32,
): void {
  const last = <usize>(count - 1);
  for (let i: usize = 0; i < count; i += 4) {
    const i1 = min(i + 1, last), i2 = min(i + 2, last), i3 = min(i + 3, last);
    const p0 = load<u32>(addresses + (i << 2)), p1 = load<u32>(addresses + (i1 << 2));
    const p2 = load<u32>(addresses + (i2 << 2)), p3 = load<u32>(addresses + (i3 << 2));
    let found: v128;
    if (metric == EUCLIDEAN) found = distancesF(EUCLIDEAN, q, inverseNorm, p0, p1, p2, p3, bytes);
    else if (metric == COSINE) found = distancesF(COSINE, q, inverseNorm, p0, p1, p2, p3, bytes);
    else found = distancesF(DOT, q, inverseNorm, p0, p1, p2, p3, bytes);
    const rest = <u32>(count - i);
    const valid: u32 = rest < 4 ? (1 << rest) - 1 : 15;
    offer(
      DOT, heap, k, found, valid, load<u32>(rows + (i << 2)),
      load<u32>(rows + (i1 << 2)), load<u32>(rows + (i2 << 2)), load<u32>(rows + (i3 << 2)),
    );
  }
}
