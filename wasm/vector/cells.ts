// Cells of an inverted file: which centroid is nearest to a row, and which cells are nearest to a query. Squared distances, float32.

import { squaredF } from "./distances";
import { heapOffer, ordered } from "./heap";

@inline
function fourCells(q: usize, centroids: usize, first: u32, cells: u32, bytes: usize): v128 {
  const last = cells - 1;
  return squaredF(
    q, centroids + <usize>first * bytes, centroids + <usize>min(first + 1, last) * bytes,
    centroids + <usize>min(first + 2, last) * bytes, centroids + <usize>min(first + 3, last) * bytes, bytes,
  );
}

function nearest(q: usize, bytes: usize, centroids: usize, cells: u32): u32 {
  let best = f32x4.splat(f32.MAX_VALUE * 2);
  let bestCells = i32x4.splat(0);
  let at = i32x4(0, 1, 2, 3);
  const four = i32x4.splat(4);
  for (let cell: u32 = 0; cell < cells; cell += 4) {
    const found = fourCells(q, centroids, cell, cells, bytes);
    const nearer = f32x4.lt(found, best);
    best = v128.bitselect(found, best, nearer);
    bestCells = v128.bitselect(at, bestCells, nearer);
    at = i32x4.add(at, four);
  }
  let least = f32x4.extract_lane(best, 0);
  let cell: u32 = i32x4.extract_lane(bestCells, 0);
  if (f32x4.extract_lane(best, 1) < least) { least = f32x4.extract_lane(best, 1); cell = i32x4.extract_lane(bestCells, 1); }
  if (f32x4.extract_lane(best, 2) < least) { least = f32x4.extract_lane(best, 2); cell = i32x4.extract_lane(bestCells, 2); }
  if (f32x4.extract_lane(best, 3) < least) { least = f32x4.extract_lane(best, 3); cell = i32x4.extract_lane(bestCells, 3); }
  return min(cell, cells - 1);
}

/** Writes the nearest cell (u32) of each of `count` rows, `bytes` apart, to `out`. */
export function nearestCells(rows: usize, count: u32, bytes: usize, centroids: usize, cells: u32, out: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    store<u32>(out + (<usize>i << 2), nearest(rows, bytes, centroids, cells));
    rows += bytes;
  }
}

/** Adds rows to the sums (f32) and counts (u32) of their cells. */
export function addToCells(rows: usize, count: u32, bytes: usize, cellOf: usize, sums: usize, counts: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const cell = <usize>load<u32>(cellOf + (<usize>i << 2));
    store<u32>(counts + (cell << 2), load<u32>(counts + (cell << 2)) + 1);
    const sum = sums + cell * bytes;
    for (let at: usize = 0; at < bytes; at += 16) v128.store(sum + at, f32x4.add(v128.load(sum + at), v128.load(rows + at)));
    rows += bytes;
  }
}

/** Offers all cells to the pool `heap` of the `most` nearest to a query. */
export function probeCells(q: usize, bytes: usize, centroids: usize, cells: u32, heap: usize, most: u32): void {
  for (let cell: u32 = 0; cell < cells; cell += 4) {
    const found = fourCells(q, centroids, cell, cells, bytes);
    heapOffer(heap, most, key(f32x4.extract_lane(found, 0), cell));
    if (cell + 1 < cells) heapOffer(heap, most, key(f32x4.extract_lane(found, 1), cell + 1));
    if (cell + 2 < cells) heapOffer(heap, most, key(f32x4.extract_lane(found, 2), cell + 2));
    if (cell + 3 < cells) heapOffer(heap, most, key(f32x4.extract_lane(found, 3), cell + 3));
  }
}

@inline
function key(distance: f32, cell: u32): u64 {
  return (<u64>ordered(distance) << 32) | cell;
}
