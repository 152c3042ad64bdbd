// Builds an HNSW graph: inserting rows, and mending a graph whose rows were taken out.
// Guarantees: a list of links is sorted by distance, without the row itself, ends with NONE if it is not full; a row gets M links of
// its own choice (the heuristic), and lists that overflow are chosen anew. Distances of links are kept while building only.

import { squaredF, squaredRowsU } from "./distances";
import {
  M, M0, MARKS, NONE, POOL, ROW_QUERY, STRIDE, TOP, UPPER, UPPER_AT, VECTORS,
  close, linkDistancesAt, linksAt, nextMark, open, setEntry,
} from "./hnsw-graph";
import { codesAsQuery } from "./int8";
import { descend, poolInsert, scoreRow, searchLevel } from "./hnsw";

/** Keys the heuristic kept; addresses of their vectors, padded to four. */
const KEPT: usize = memory.data(132 * 8, 16);
const KEPT_VECTORS: usize = memory.data(136 * 4, 16);
/** Keys of a list that overflows, and of candidates for mending. */
const MERGED: usize = memory.data(1024 * 8 + 64, 16);
const MERGED_MOST: u32 = 1024;
/** Candidates for mending a list: the nearest of those beyond the lost links. */
const MENDED_FROM: u32 = 256;
const FRESH: usize = memory.data(132 * 8, 16);
/** Levels a row can have: with M ≥ 2 and 2³¹ rows the 32nd is out of reach. */
const MOST_LEVELS: u32 = 32;

@inline
function between4<V>(p: usize, p0: usize, p1: usize, p2: usize, p3: usize): v128 {
  if (isFloat<V>()) return squaredF(p, p0, p1, p2, p3, STRIDE);
  return squaredRowsU(p, p0, p1, p2, p3, STRIDE);
}

@inline
function keep(kept: u32, key: u64): void {
  store<u64>(KEPT + (<usize>kept << 3), key);
  const vector = <u32>(VECTORS + <usize>(<u32>key >> 1) * STRIDE);
  const at = KEPT_VECTORS + (<usize>kept << 2);
  store<u32>(at, vector);
  store<u32>(at, vector, 4);
  store<u32>(at, vector, 8);
  store<u32>(at, vector, 12);
}

/**
 * Adds to the `kept` keys in KEPT, up to `most`, those of `size` sorted ones that are not nearer to one kept before than to the row
 * itself. Rows at distance 0 get half of the list, the last of them (`lastEqual`) or the first, so that many duplicates neither
 * become an island nor hang on a few of them. Returns how many are kept.
 */
function choose<V>(keys: usize, size: u32, kept: u32, most: u32, lastEqual: bool): u32 {
  let equal: u32 = 0;
  while (equal < size && load<u32>(keys + (<usize>equal << 3), 4) == 0) equal++;
  const mostEqual = max(1, most >> 1);
  const skipped = equal > mostEqual ? equal - mostEqual : 0;
  for (let i: u32 = lastEqual ? skipped : 0; i < size && kept < most; i++) {
    if (!lastEqual && i >= mostEqual && i < equal) continue;
    const key = load<u64>(keys + (<usize>i << 3));
    const vector = VECTORS + <usize>(<u32>key >> 1) * STRIDE;
    const own = i32x4.splat(<u32>(key >> 32));
    let isKept = true;
    for (let j: u32 = 0; j < kept; j += 4) {
      const at = KEPT_VECTORS + (<usize>j << 2);
      const others = between4<V>(vector, load<u32>(at), load<u32>(at, 4), load<u32>(at, 8), load<u32>(at, 12));
      if (v128.any_true(i32x4.lt_u(others, own))) {
        isKept = false;
        break;
      }
    }
    if (isKept) keep(kept++, key);
  }
  return kept;
}

/** Writes `kept` keys of KEPT as a list of links of `width`. */
function writeLinks(links: usize, distances: usize, kept: u32, width: u32): void {
  for (let i: u32 = 0; i < kept; i++) {
    const key = load<u64>(KEPT + (<usize>i << 3));
    store<u32>(links + (<usize>i << 2), <u32>key >> 1);
    store<u32>(distances + (<usize>i << 2), <u32>(key >> 32));
  }
  for (let i = kept; i < width; i++) store<u32>(links + (<usize>i << 2), NONE);
}

/** Adds a row to a list; one that overflows is chosen anew. */
function addLink<V>(links: usize, distances: usize, width: u32, row: u32, distance: u32): void {
  let size = width;
  while (size > 0 && load<u32>(links + (<usize>(size - 1) << 2)) == NONE) size--;
  if (size < width) {
    let at = <usize>size << 2;
    while (at > 0 && load<u32>(distances + at - 4) > distance) {
      store<u32>(links + at, load<u32>(links + at - 4));
      store<u32>(distances + at, load<u32>(distances + at - 4));
      at -= 4;
    }
    store<u32>(links + at, row);
    store<u32>(distances + at, distance);
    return;
  }
  let out = MERGED;
  let isPlaced = false;
  for (let i: u32 = 0; i < width; i++) {
    const other = load<u32>(distances + (<usize>i << 2));
    if (!isPlaced && distance < other) {
      store<u64>(out, (<u64>distance << 32) | (<u64>row << 1));
      out += 8;
      isPlaced = true;
    }
    store<u64>(out, (<u64>other << 32) | (<u64>load<u32>(links + (<usize>i << 2)) << 1));
    out += 8;
  }
  if (!isPlaced) {
    store<u64>(out, (<u64>distance << 32) | (<u64>row << 1));
    out += 8;
  }
  writeLinks(links, distances, choose<V>(MERGED, <u32>(out - MERGED) >> 3, 0, width, false), width);
}

/** The query form of a row: i16 codes, or the float32 row itself. */
@inline
function queryOf<V>(row: u32): usize {
  const vector = VECTORS + <usize>row * STRIDE;
  if (isFloat<V>()) return vector;
  codesAsQuery(vector, STRIDE, ROW_QUERY);
  return ROW_QUERY;
}

/** Empty lists of a row on all its levels. */
function openLists(graph: usize, row: u32, level: u32): void {
  memory.fill(linksAt(row, 0), 0xff, <usize>M0 << 2);
  if (level == 0) {
    store<u32>(UPPER_AT + (<usize>row << 2), NONE);
    return;
  }
  const used = load<u32>(graph, 44);
  store<u32>(UPPER_AT + (<usize>row << 2), used);
  store<u32>(UPPER + (<usize>used << 2), level);
  memory.fill(UPPER + (<usize>(used + 1) << 2), 0xff, <usize>(level * M) << 2);
  store<u32>(graph, used + 1 + level * M, 44);
}

function insertRow<V>(graph: usize, workspace: usize, row: u32, level: i32, efConstruction: u32): void {
  openLists(graph, row, level);
  if (TOP < 0) {
    setEntry(graph, row, level);
    return;
  }
  const q = queryOf<V>(row);
  const start = descend<V>(q, level);
  let near = <u32>start, distance = <u32>(start >> 32);
  for (let at = min(level, TOP); at >= 0; at--) {
    const found = searchLevel<V>(q, near, distance, efConstruction, at, workspace);
    const first = load<u64>(POOL);
    near = <u32>first >> 1;
    distance = <u32>(first >> 32);
    const kept = choose<V>(POOL, found, 0, M, true);
    const width = at == 0 ? M0 : M;
    const links = linksAt(row, at);
    const distances = linkDistancesAt(links, at);
    writeLinks(links, distances, kept, width);
    for (let i: u32 = 0; i < kept; i++) {
      const other = load<u32>(links + (<usize>i << 2));
      const back = linksAt(other, at);
      addLink<V>(back, linkDistancesAt(back, at), width, row, load<u32>(distances + (<usize>i << 2)));
    }
  }
  if (level > TOP) setEntry(graph, row, level);
}

/** Inserts `count` rows listed at `rows` (u32), each on the level given at `levels` (u8 a row of the segment). */
export function hnswInsert(
  graph: usize, workspace: usize, isFloat: u32, rows: usize, count: u32, levels: usize, efConstruction: u32,
): void {
  open(graph, workspace);
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(rows + (<usize>i << 2));
    const level = <i32>load<u8>(levels + row);
    if (isFloat) insertRow<f32>(graph, workspace, row, level, efConstruction);
    else insertRow<u8>(graph, workspace, row, level, efConstruction);
  }
  close(graph);
}

// ---- A graph over the rows of another that are still there. `map`: u32 a row of the old graph, its new row or NONE.

let OLD_LINKS: usize = 0;
let OLD_UPPER_AT: usize = 0;
let OLD_UPPER: usize = 0;

function openOld(old: usize): void {
  OLD_LINKS = load<u32>(old, 8);
  OLD_UPPER_AT = load<u32>(old, 20);
  OLD_UPPER = load<u32>(old, 24);
}

@inline
function oldLevel(row: u32): u32 {
  const at = load<u32>(OLD_UPPER_AT + (<usize>row << 2));
  return at == NONE ? 0 : load<u32>(OLD_UPPER + (<usize>at << 2));
}

/** M and M0 are those of the new graph too. */
@inline
function oldLinksAt(row: u32, level: u32): usize {
  return level == 0
    ? OLD_LINKS + <usize>row * (<usize>M0 << 2)
    : OLD_UPPER + (<usize>(load<u32>(OLD_UPPER_AT + (<usize>row << 2)) + 1 + (level - 1) * M) << 2);
}

@inline
function mapped(map: usize, row: u32): u32 {
  return load<u32>(map + (<usize>row << 2));
}

@inline
function graftList<V>(q: usize, row: u32, old: u32, level: u32, map: usize): void {
  const width = level == 0 ? M0 : M;
  const from = oldLinksAt(old, level);
  let size: u32 = 0;
  for (let i: u32 = 0; i < width; i++) {
    const other = load<u32>(from + (<usize>i << 2));
    if (other == NONE) break;
    const now = mapped(map, other);
    if (now == NONE) continue;
    poolInsert(MERGED, size, MERGED_MOST, (<u64>scoreRow<V>(q, now) << 32) | (<u64>now << 1));
    size++;
  }
  for (let i: u32 = 0; i < size; i++) store<u64>(KEPT + (<usize>i << 3), load<u64>(MERGED + (<usize>i << 3)));
  const links = linksAt(row, level);
  writeLinks(links, linkDistancesAt(links, level), size, width);
}

/** Takes over the links of `count` old rows from `from` on, as far as both ends are still there. */
export function hnswGraft(
  graph: usize, workspace: usize, isFloat: u32, old: usize, map: usize, from: u32, count: u32,
): void {
  open(graph, workspace);
  openOld(old);
  for (let was = from; was < from + count; was++) {
    const row = mapped(map, was);
    if (row == NONE) continue;
    const levels = oldLevel(was);
    openLists(graph, row, levels);
    const q = isFloat ? queryOf<f32>(row) : queryOf<u8>(row);
    for (let level: u32 = 0; level <= levels; level++) {
      if (isFloat) graftList<f32>(q, row, was, level, map);
      else graftList<u8>(q, row, was, level, map);
    }
    if (<i32>levels > TOP) setEntry(graph, row, levels);
  }
  close(graph);
}

/**
 * Gives a row new links for those it lost: neighbours of the lost ones, by the heuristic beside the links it still has, in both
 * directions (as FreshDiskANN consolidates deletes).
 */
function mendList<V>(workspace: usize, row: u32, old: u32, level: u32, map: usize): void {
  const width = level == 0 ? M0 : M;
  const from = oldLinksAt(old, level);
  let had: u32 = 0, lost: u32 = 0;
  for (; had < width; had++) {
    const other = load<u32>(from + (<usize>had << 2));
    if (other == NONE) break;
    if (mapped(map, other) == NONE) lost++;
  }
  if (lost == 0) return;
  const q = queryOf<V>(row);
  const mark = nextMark(workspace, 1);
  const links = linksAt(row, level);
  const distances = linkDistancesAt(links, level);
  let kept: u32 = 0;
  store<u8>(MARKS + row, mark);
  for (; kept < width; kept++) {
    const other = load<u32>(links + (<usize>kept << 2));
    if (other == NONE) break;
    store<u8>(MARKS + other, mark);
    keep(kept, (<u64>load<u32>(distances + (<usize>kept << 2)) << 32) | (<u64>other << 1));
  }
  let size: u32 = 0;
  for (let i: u32 = 0; i < had; i++) {
    const gone = load<u32>(from + (<usize>i << 2));
    if (mapped(map, gone) != NONE) continue;
    const beyond = oldLinksAt(gone, level);
    for (let j: u32 = 0; j < width; j++) {
      const other = load<u32>(beyond + (<usize>j << 2));
      if (other == NONE) break;
      const now = mapped(map, other);
      if (now == NONE || load<u8>(MARKS + now) == mark) continue;
      store<u8>(MARKS + now, mark);
      poolInsert(MERGED, size, MENDED_FROM, (<u64>scoreRow<V>(q, now) << 32) | (<u64>now << 1));
      if (size < MENDED_FROM) size++;
    }
  }
  const most = min(width, max(had, M));
  const now = choose<V>(MERGED, size, kept, most, false);
  // KEPT is used by addLink: the new ones are copied out of its way.
  const fresh = now - kept;
  for (let i: u32 = 0; i < fresh; i++) {
    store<u64>(FRESH + (<usize>i << 3), load<u64>(KEPT + (<usize>(kept + i) << 3)));
  }
  for (let i: u32 = 0; i < fresh; i++) {
    const key = load<u64>(FRESH + (<usize>i << 3));
    const other = <u32>key >> 1;
    addLink<V>(links, distances, width, other, <u32>(key >> 32));
    const back = linksAt(other, level);
    if (!isLinked(back, width, row)) addLink<V>(back, linkDistancesAt(back, level), width, row, <u32>(key >> 32));
  }
}

function isLinked(links: usize, width: u32, row: u32): bool {
  for (let i: u32 = 0; i < width; i++) if (load<u32>(links + (<usize>i << 2)) == row) return true;
  return false;
}

/** Mends `count` old rows from `from` on, after all were grafted. */
export function hnswMend(
  graph: usize, workspace: usize, isFloat: u32, old: usize, map: usize, from: u32, count: u32,
): void {
  open(graph, workspace);
  openOld(old);
  for (let was = from; was < from + count; was++) {
    const row = mapped(map, was);
    if (row == NONE) continue;
    const levels = oldLevel(was);
    for (let level: u32 = 0; level <= levels; level++) {
      if (isFloat) mendList<f32>(workspace, row, was, level, map);
      else mendList<u8>(workspace, row, was, level, map);
    }
  }
  close(graph);
}

/**
 * Checks loaded links: every list ends with NONE, names rows below `rows` other than its own that exist on its level; offsets and
 * levels lie within `upperWords`. Returns 0 if all is well, else 1 + the row that is not.
 */
export function hnswCheck(graph: usize, workspace: usize, rows: u32, upperWords: u32): u32 {
  open(graph, workspace);
  let used: u32 = 0;
  for (let row: u32 = 0; row < rows; row++) {
    const at = load<u32>(UPPER_AT + (<usize>row << 2));
    if (at == NONE) continue;
    if (at >= upperWords) return row + 1;
    const levels = load<u32>(UPPER + (<usize>at << 2));
    if (levels == 0 || levels > MOST_LEVELS || <u64>at + 1 + <u64>levels * M > <u64>upperWords) return row + 1;
    used += 1 + levels * M;
  }
  if (used != upperWords) return rows + 1;
  for (let row: u32 = 0; row < rows; row++) {
    const at = load<u32>(UPPER_AT + (<usize>row << 2));
    const levels: u32 = at == NONE ? 0 : load<u32>(UPPER + (<usize>at << 2));
    for (let level: u32 = 0; level <= levels; level++) {
      if (!isList(row, level, rows)) return row + 1;
    }
  }
  return 0;
}

function isList(row: u32, level: u32, rows: u32): bool {
  const links = linksAt(row, level);
  const width = level == 0 ? M0 : M;
  let isEnded = false;
  for (let i: u32 = 0; i < width; i++) {
    const other = load<u32>(links + (<usize>i << 2));
    if (other == NONE) {
      isEnded = true;
      continue;
    }
    if (isEnded || other >= rows || other == row) return false;
    if (level == 0) continue;
    const at = load<u32>(UPPER_AT + (<usize>other << 2));
    if (at == NONE || load<u32>(UPPER + (<usize>at << 2)) < level) return false;
  }
  return true;
}
