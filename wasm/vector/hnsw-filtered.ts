// Walks through an HNSW graph for rows that a filter allows. Two pools: CANDIDATES, where the walk goes; POOL, what it gives.
// `hnswSearchAmong`: every row is walked over, only live ones are given: for filters that let much through, and for deleted rows.
// `hnswSearchSparse`: ACORN-1 (Patel et al. 2024) with bridges: rows that fail the filter are not scored but looked through, to their
// neighbours; while the pool is not full some of them are candidates themselves, so that islands of matching rows are reached.
// Both stop after `budget` rows of work: the caller then scans the matching rows, which is cheaper.

import { isLive, liveWord } from "./bitmap";
import {
  CANDIDATES, CAPACITY, GATHERED, LANES, M0, MARKS, NONE, POOL, TOP,
  close, count, linksAt, nextMark, open,
} from "./hnsw-graph";
import { descend, gatherUnmarked, poolInsert, score4, scoreRow, touchGathered } from "./hnsw";

let size: u32 = 0;
let waiting: u32 = 0;
let lowest: u32 = 0;
let last: u64 = u64.MAX_VALUE;

@inline
function give(key: u64, ef: u32): void {
  poolInsert(POOL, size, ef, key);
  if (size < ef) size++;
  if (size == ef) last = load<u64>(POOL + (<usize>(ef - 1) << 3));
}

@inline
function follow(key: u64): void {
  const where = poolInsert(CANDIDATES, waiting, CAPACITY, key);
  if (waiting < CAPACITY) waiting++;
  if (where < lowest) lowest = where;
}

/** Scores what was gathered; rows that are near enough are followed and, if live, given. */
@inline
function scoreGathered<V>(q: usize, end: usize, ef: u32, allowed: usize, deleted: usize, allLive: bool): void {
  touchGathered(end);
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
      const row = load<u32>(g + (<usize>lane << 2));
      const key = (<u64>distance << 32) | (<u64>row << 1);
      if (size == ef && key >= last) continue;
      follow(key);
      if (allLive || isLive(allowed, deleted, row)) give(key, ef);
    } while (bits);
  }
}

/** The nearest candidate that was not looked at yet, as row; NONE when the walk is over. */
@inline
function nextCandidate(at: u32, ef: u32): u32 {
  while (at < waiting) {
    const place = CANDIDATES + (<usize>at << 3);
    const key = load<u64>(place);
    if (<u32>key & 1) {
      at++;
      continue;
    }
    if (size == ef && key > last) return NONE;
    store<u32>(place, <u32>key | 1);
    lowest = at + 1;
    return <u32>key >> 1;
  }
  return NONE;
}

@inline
function begin<V>(q: usize, mark: u32, ef: u32, allowed: usize, deleted: usize): void {
  size = 0;
  waiting = 0;
  last = u64.MAX_VALUE;
  const start = descend<V>(q, 0);
  const row = <u32>start;
  const key = (start & 0xffffffff00000000) | (<u64>row << 1);
  store<u8>(MARKS + row, mark);
  follow(key);
  if (isLive(allowed, deleted, row)) give(key, ef);
  lowest = 0;
}

/** Rows of work; more than `budget` when the walk was given up. */
@inline
function among<V>(workspace: usize, q: usize, ef: u32, allowed: usize, deleted: usize, budget: u32): u32 {
  const mark = nextMark(workspace, 1);
  begin<V>(q, mark, ef, allowed, deleted);
  let work: u32 = 1;
  while (work <= budget) {
    const row = nextCandidate(lowest, ef);
    if (row == NONE) break;
    const end = gatherUnmarked(linksAt(row, 0), M0, mark);
    if (end == GATHERED) continue;
    work += <u32>(end - GATHERED) >> 2;
    scoreGathered<V>(q, end, ef, allowed, deleted, false);
  }
  return work;
}

export function hnswSearchAmong(
  graph: usize, workspace: usize, isFloat: u32, q: usize, ef: u32, allowed: usize, deleted: usize, budget: u32, out: usize,
): u32 {
  open(graph, workspace);
  size = 0;
  let work: u32 = 0;
  if (TOP >= 0) {
    const most = min(ef, CAPACITY);
    work = isFloat
      ? among<f32>(workspace, q, most, allowed, deleted, budget)
      : among<u8>(workspace, q, most, allowed, deleted, budget);
  }
  count(0, work);
  close(graph);
  store<u32>(out, work);
  return size;
}

/** Failing neighbours of the row at hand, to be looked through. */
const BLOCKED: usize = memory.data((128 + 4) * 4, 16);
/** One failing neighbour in so many is a bridge. */
const BRIDGE_STRIDE: u32 = 4;
/** Links read count as work, but less than a scored row. */
const LINKS_PER_ROW: u32 = 8;

/** Live rows spread over the segment, one in each of 16 parts: where a walk begins too, if query and filter disagree. */
@inline
function sow<V>(q: usize, mark: u32, ef: u32, rows: u32, allowed: usize, deleted: usize): void {
  const words = (rows + 31) >> 5;
  let end = GATHERED;
  for (let part: u32 = 0; part < 16; part++) {
    const from = <u32>((<u64>words * part) >> 4);
    const to = <u32>((<u64>words * (part + 1)) >> 4);
    for (let word = from; word < to; word++) {
      const mask = liveWord(allowed, deleted, word, rows);
      if (!mask) continue;
      const row = (word << 5) + ctz(mask);
      if (load<u8>(MARKS + row) != mark) {
        store<u8>(MARKS + row, mark);
        store<u32>(end, row);
        end += 4;
      }
      break;
    }
  }
  if (end > GATHERED) scoreGathered<V>(q, end, ef, allowed, deleted, true);
}

/** Scores some of the failing neighbours and lets the walk go on from them. */
@inline
function bridge<V>(q: usize, blockedEnd: usize, mark: u32, turn: u32): u32 {
  let scored: u32 = 0;
  for (let at = BLOCKED + (<usize>(turn % BRIDGE_STRIDE) << 2); at < blockedEnd; at += <usize>BRIDGE_STRIDE << 2) {
    const row = load<u32>(at);
    follow((<u64>scoreRow<V>(q, row) << 32) | (<u64>row << 1));
    scored++;
  }
  return scored;
}

@inline
function sparse<V>(
  workspace: usize, q: usize, ef: u32, rows: u32, allowed: usize, deleted: usize, budget: u32,
): u32 {
  // `mark`: scored or looked through. `mark - 1`: failed when it was met at the second hop; may still be looked through.
  const mark = nextMark(workspace, 2);
  const marks = MARKS;
  begin<V>(q, mark, ef, allowed, deleted);
  sow<V>(q, mark, ef, rows, allowed, deleted);
  lowest = 0;
  let work: u32 = 17, turn: u32 = 0, links: u32 = 0;
  while (work + links / LINKS_PER_ROW <= budget) {
    const row = nextCandidate(lowest, ef);
    if (row == NONE) break;
    turn++;
    let end = GATHERED, blocked = BLOCKED;
    let live: u32 = 0;
    let at = linksAt(row, 0);
    let stop = at + (<usize>M0 << 2);
    for (; at < stop; at += 4) {
      const near = load<u32>(at);
      if (near == NONE) break;
      links++;
      const isNew = load<u8>(marks + near) != mark;
      store<u8>(marks + near, mark);
      if (isLive(allowed, deleted, near)) {
        live++;
        store<u32>(end, near);
        if (isNew) end += 4;
      } else if (isNew) {
        store<u32>(blocked, near);
        blocked += 4;
      }
    }
    // As many live rows as a row has neighbours, known ones too, are enough to go on.
    for (let b = BLOCKED; b < blocked && live < M0; b += 4) {
      at = linksAt(load<u32>(b), 0);
      stop = at + (<usize>M0 << 2);
      for (; at < stop; at += 4) {
        const far = load<u32>(at);
        if (far == NONE) break;
        links++;
        const seen = <u32>load<u8>(marks + far);
        if (seen == mark - 1) continue;
        if (isLive(allowed, deleted, far)) {
          live++;
          store<u8>(marks + far, mark);
          store<u32>(end, far);
          if (seen != mark) end += 4;
        } else if (seen != mark) store<u8>(marks + far, mark - 1);
      }
    }
    const gathered = <u32>(end - GATHERED) >> 2;
    work += gathered;
    if (gathered) scoreGathered<V>(q, end, ef, allowed, deleted, true);
    if (size < ef) work += bridge<V>(q, blocked, mark, turn);
  }
  return work + links / LINKS_PER_ROW;
}

export function hnswSearchSparse(
  graph: usize, workspace: usize, isFloat: u32, q: usize, ef: u32, allowed: usize, deleted: usize, budget: u32, out: usize,
): u32 {
  open(graph, workspace);
  size = 0;
  let work: u32 = 0;
  if (TOP >= 0) {
    const most = min(ef, CAPACITY);
    const rows = load<u32>(graph, 48);
    work = isFloat
      ? sparse<f32>(workspace, q, most, rows, allowed, deleted, budget)
      : sparse<u8>(workspace, q, most, rows, allowed, deleted, budget);
  }
  count(0, work);
  close(graph);
  store<u32>(out, work);
  return size;
}
