// Walks through an HNSW graph (Malkov and Yashunin 2016): greedy on the upper levels, then a sorted pool of `ef` on one level.
// Guarantees: the pool is sorted, nearest first, ties by lower row. All vectors are compared by squared distance.

import { squaredF, squaredU } from "./distances";
import {
  CAPACITY, ENTRY, GATHERED, LANES, M, M0, MARKS, NONE, POOL, STRIDE, TOP, TOUCH, VECTORS,
  close, count, linksAt, nextMark, open,
} from "./hnsw-graph";

/** Squared distances of four rows from a query: V is u8 (the query has i16 codes) or f32. */
@inline
export function score4<V>(q: usize, r0: u32, r1: u32, r2: u32, r3: u32): v128 {
  const vectors = VECTORS, stride = STRIDE;
  const p0 = vectors + <usize>r0 * stride, p1 = vectors + <usize>r1 * stride;
  const p2 = vectors + <usize>r2 * stride, p3 = vectors + <usize>r3 * stride;
  if (isFloat<V>()) return squaredF(q, p0, p1, p2, p3, stride);
  return squaredU(q, p0, p1, p2, p3, stride);
}

/** Distance of one row. */
export function scoreRow<V>(q: usize, row: u32): u32 {
  return i32x4.extract_lane(score4<V>(q, row, row, row, row), 0);
}

/** Inserts a key into a sorted pool of `size` keys that holds at most `most`; the last one falls out. Returns its place. */
@inline
export function poolInsert(pool: usize, size: u32, most: u32, key: u64): u32 {
  let base = pool;
  let length = size;
  while (length > 1) {
    const half = length >> 1;
    const middle = base + (<usize>half << 3);
    base = select<usize>(middle, base, load<u64>(middle - 8) < key);
    length -= half;
  }
  if (length == 1 && load<u64>(base) < key) base += 8;
  let end = pool + (<usize>size << 3);
  if (size == most) end -= 8;
  while (end >= base + 32) {
    const upper = v128.load(end - 16), lower = v128.load(end - 32);
    v128.store(end - 8, upper);
    v128.store(end - 24, lower);
    end -= 32;
  }
  while (end > base) {
    store<u64>(end, load<u64>(end - 8));
    end -= 8;
  }
  store<u64>(base, key);
  return <u32>((base - pool) >> 3);
}

/** Gathers the rows linked from `links` that do not carry the mark, and marks them. Returns the end of what it gathered. */
@inline
export function gatherUnmarked(links: usize, width: u32, mark: u32): usize {
  const marks = MARKS;
  let out = GATHERED;
  const end = links + (<usize>width << 2);
  while (links < end) {
    const row = load<u32>(links);
    if (row == NONE) break;
    store<u32>(out, row);
    out += select<usize>(0, 4, load<u8>(marks + row) == mark);
    store<u8>(marks + row, mark);
    links += 4;
  }
  return out;
}

/** Pads what was gathered to whole fours with its last row, and touches the rows so that their cache lines come at once. */
@inline
export function touchGathered(end: usize): void {
  const vectors = VECTORS, stride = STRIDE, second = TOUCH;
  const last = load<u32>(end - 4);
  store<u32>(end, last);
  store<u32>(end, last, 4);
  store<u32>(end, last, 8);
  let sink: u32 = 0;
  for (let at = GATHERED; at < end; at += 4) {
    const p = vectors + <usize>load<u32>(at) * stride;
    sink ^= load<u8>(p);
    sink ^= load<u8>(p + second);
  }
  // Stored, so that the loads are not dropped.
  store<u32>(LANES, sink);
}

/** The `ef` nearest rows of a level that the walk meets from `start` on, in POOL. Returns their number. */
export function searchLevel<V>(q: usize, start: u32, startDistance: u32, ef: u32, level: u32, workspace: usize): u32 {
  const mark = nextMark(workspace, 1);
  const width = level == 0 ? M0 : M;
  const pool = POOL;
  store<u64>(pool, (<u64>startDistance << 32) | (<u64>start << 1));
  store<u8>(MARKS + start, mark);
  let size: u32 = 1, at: u32 = 0, hops: u32 = 0, scored: u32 = 1;
  let last: u64 = ef == 1 ? load<u64>(pool) : u64.MAX_VALUE;
  while (at < size) {
    const place = pool + (<usize>at << 3);
    const low = <u32>load<u64>(place);
    if (low & 1) {
      at++;
      continue;
    }
    store<u32>(place, low | 1);
    const end = gatherUnmarked(linksAt(low >> 1, level), width, mark);
    hops++;
    if (end == GATHERED) {
      at++;
      continue;
    }
    touchGathered(end);
    scored += <u32>(end - GATHERED) >> 2;
    let lowest = at + 1;
    for (let g = GATHERED; g < end; g += 16) {
      const found = score4<V>(q, load<u32>(g), load<u32>(g, 4), load<u32>(g, 8), load<u32>(g, 12));
      let bits: u32 = size < ef ? 15 : i32x4.bitmask(i32x4.le_u(found, i32x4.splat(<u32>(last >> 32))));
      const rest = <u32>(end - g) >> 2;
      if (rest < 4) bits &= (1 << rest) - 1;
      if (!bits) continue;
      v128.store(LANES, found);
      do {
        const lane = ctz(bits);
        bits &= bits - 1;
        const distance = load<u32>(LANES + (<usize>lane << 2));
        const key = (<u64>distance << 32) | (<u64>load<u32>(g + (<usize>lane << 2)) << 1);
        // Of equal rows the lower one: a walk among more duplicates than the pool holds comes to the first, which have links outwards.
        if (size == ef && key >= last) continue;
        const where = poolInsert(pool, size, ef, key);
        if (size < ef) size++;
        if (size == ef) last = load<u64>(pool + (<usize>(ef - 1) << 3));
        if (where < lowest) lowest = where;
      } while (bits);
    }
    at = lowest <= at ? lowest : at + 1;
  }
  count(hops, scored);
  return size;
}

/** From the entry down to level `to`, on each level to where no neighbour is nearer. Returns distance << 32 | row. */
export function descend<V>(q: usize, to: i32): u64 {
  let row = ENTRY;
  let distance = scoreRow<V>(q, row);
  let scored: u32 = 1;
  const width = <usize>M << 2;
  for (let level = TOP; level > to; level--) {
    let moved = true;
    while (moved) {
      moved = false;
      let links = linksAt(row, level);
      const end = links + width;
      for (; links < end; links += 16) {
        const r0 = load<u32>(links);
        if (r0 == NONE) break;
        // M need not be a multiple of four: what lies behind the list is not read.
        let r1 = links + 4 < end ? load<u32>(links, 4) : NONE;
        let r2 = links + 8 < end ? load<u32>(links, 8) : NONE;
        let r3 = links + 12 < end ? load<u32>(links, 12) : NONE;
        if (r1 == NONE) r1 = r0;
        if (r2 == NONE) r2 = r0;
        if (r3 == NONE) r3 = r0;
        const found = score4<V>(q, r0, r1, r2, r3);
        scored += 4;
        let d = <u32>i32x4.extract_lane(found, 0);
        if (d < distance) { distance = d; row = r0; moved = true; }
        d = <u32>i32x4.extract_lane(found, 1);
        if (d < distance) { distance = d; row = r1; moved = true; }
        d = <u32>i32x4.extract_lane(found, 2);
        if (d < distance) { distance = d; row = r2; moved = true; }
        d = <u32>i32x4.extract_lane(found, 3);
        if (d < distance) { distance = d; row = r3; moved = true; }
      }
    }
  }
  count(0, scored);
  return (<u64>distance << 32) | <u64>row;
}

@inline
function searchOf<V>(workspace: usize, q: usize, ef: u32): u32 {
  const start = descend<V>(q, 0);
  return searchLevel<V>(q, <u32>start, <u32>(start >> 32), ef, 0, workspace);
}

/** The `ef` (≤ the pool's capacity) nearest rows, in the pool of the workspace. Returns their number. */
export function hnswSearch(graph: usize, workspace: usize, isFloat: u32, q: usize, ef: u32): u32 {
  open(graph, workspace);
  if (TOP < 0) return 0;
  const most = min(ef, CAPACITY);
  const found = isFloat ? searchOf<f32>(workspace, q, most) : searchOf<u8>(workspace, q, most);
  close(graph);
  return found;
}
