// What the HNSW kernels know of a graph during a call: the words of its descriptor, read at the start of every call.
// Layout of the descriptor (u32): 0 vectors · 1 vector stride · 2 links of level 0 (M0 rows a row, NONE behind the last) · 3 M0 ·
// 4 M · 5 upper offsets (u32 a row, NONE = only on level 0) · 6 upper links (u32 words: level, then M rows a level) · 7 entry row ·
// 8 top level (−1 = empty) · 9 distances of level 0's links (while building) · 10 distances beside the upper links (while building) ·
// 11 upper words used · 12 rows · 13 hops of the last call · 14 distances computed in the last call.
// Layout of the workspace (u32): 0 marks (u8 a row) · 1 bytes of marks · 2 epoch · 3 pool (u64 keys) · 4 candidates (u64 keys) ·
// 5 capacity of each in keys · 6 query form of a row (i16 codes).
// A key is distance << 32 | row << 1 | expanded. Distances are u32 of codes, or the bits of a float32 that is not negative.

export const NONE: u32 = 0xffffffff;

export let VECTORS: usize = 0;
export let STRIDE: usize = 0;
export let LINKS: usize = 0;
export let M0: u32 = 0;
export let M: u32 = 0;
export let UPPER_AT: usize = 0;
export let UPPER: usize = 0;
export let ENTRY: u32 = 0;
export let TOP: i32 = -1;
export let DISTANCES: usize = 0;
export let UPPER_DISTANCES: usize = 0;
export let MARKS: usize = 0;
export let POOL: usize = 0;
export let CANDIDATES: usize = 0;
export let CAPACITY: u32 = 0;
export let ROW_QUERY: usize = 0;
export let HOPS: u32 = 0;
export let SCORED: u32 = 0;
/** Second cache line of a row that is touched ahead of its use; the first again where rows are short. */
export let TOUCH: usize = 0;

/** Rows gathered for scoring: up to M0 ≤ 128 of one row and, at the second hop, as many again of another; and padding to four. */
export const GATHERED: usize = memory.data((128 + 128 + 8) * 4, 16);
export const LANES: usize = memory.data(16, 16);

export function open(graph: usize, workspace: usize): void {
  VECTORS = load<u32>(graph);
  STRIDE = load<u32>(graph, 4);
  LINKS = load<u32>(graph, 8);
  M0 = load<u32>(graph, 12);
  M = load<u32>(graph, 16);
  UPPER_AT = load<u32>(graph, 20);
  UPPER = load<u32>(graph, 24);
  ENTRY = load<u32>(graph, 28);
  TOP = load<i32>(graph, 32);
  DISTANCES = load<u32>(graph, 36);
  UPPER_DISTANCES = load<u32>(graph, 40);
  MARKS = load<u32>(workspace);
  POOL = load<u32>(workspace, 12);
  CANDIDATES = load<u32>(workspace, 16);
  CAPACITY = load<u32>(workspace, 20);
  ROW_QUERY = load<u32>(workspace, 24);
  HOPS = 0;
  SCORED = 0;
  TOUCH = STRIDE > 64 ? 64 : 0;
}

export function setEntry(graph: usize, row: u32, level: i32): void {
  ENTRY = row;
  TOP = level;
  store<u32>(graph, row, 28);
  store<i32>(graph, level, 32);
}

export function count(hops: u32, scored: u32): void {
  HOPS += hops;
  SCORED += scored;
}

/** Leaves the counters where the host reads them. */
export function close(graph: usize): void {
  store<u32>(graph, HOPS, 52);
  store<u32>(graph, SCORED, 56);
}

/**
 * A mark that no row carries yet; with `step` 2 the mark below it is free too. Marks are cleared when the u8 runs out.
 */
export function nextMark(workspace: usize, step: u32): u32 {
  let mark = load<u32>(workspace, 8) + step;
  if (mark > 255) {
    memory.fill(MARKS, 0, load<u32>(workspace, 4));
    mark = step;
  }
  store<u32>(workspace, mark, 8);
  return mark;
}

/** Address of the links of a row on a level; its distances lie at the same offset in DISTANCES or UPPER_DISTANCES. */
@inline
export function linksAt(row: u32, level: u32): usize {
  return level == 0
    ? LINKS + <usize>row * (<usize>M0 << 2)
    : UPPER + (<usize>(load<u32>(UPPER_AT + (<usize>row << 2)) + 1 + (level - 1) * M) << 2);
}

@inline
export function linkDistancesAt(links: usize, level: u32): usize {
  return level == 0 ? DISTANCES + (links - LINKS) : UPPER_DISTANCES + (links - UPPER);
}
