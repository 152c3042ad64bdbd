// The kernels of coded scans and of cells, as wasm/vector/{rotation,cells,fastscan,rabitq,pq}.ts declare them.

import type { Pointer } from "./arena.ts";

export interface CodeKernels {
  rotateRows(rows: Pointer, count: number, padded: number, window: number, signs: Pointer, centre: Pointer): void;
  nearestCells(rows: Pointer, count: number, bytes: number, centroids: Pointer, cells: number, out: Pointer): void;
  addToCells(rows: Pointer, count: number, bytes: number, cellOf: Pointer, sums: Pointer, counts: Pointer): void;
  probeCells(query: Pointer, bytes: number, centroids: Pointer, cells: number, heap: Pointer, most: number): void;
  encodeBits(
    rows: Pointer,
    count: number,
    padded: number,
    cellOf: Pointer,
    centroids: Pointer,
    slots: Pointer,
    blocks: Pointer,
  ): void;
  bitsTable(query: Pointer, padded: number, table: Pointer, out: Pointer): void;
  encodeProducts(
    rows: Pointer,
    count: number,
    padded: number,
    width: number,
    centres: Pointer,
    slots: Pointer,
    blocks: Pointer,
  ): void;
  productsTable(query: Pointer, padded: number, width: number, centres: Pointer, table: Pointer, out: Pointer): void;
  scanBlocks(
    blocks: Pointer,
    groups: number,
    hasFactors: number,
    table: Pointer,
    first: number,
    count: number,
    step: number,
    bias: number,
    add: number,
    reach: number,
    slack: number,
    live: Pointer,
    heap: Pointer,
    k: number,
    candidates: Pointer,
  ): number;
  keepCandidates(candidates: Pointer, heap: Pointer, k: number, order: Pointer): void;
  liveSlots(rowOf: Pointer, first: number, count: number, allowed: Pointer, deleted: Pointer, live: Pointer): void;
}
