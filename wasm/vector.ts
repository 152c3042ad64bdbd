// WASM kernels of the vector engine (AssemblyScript). One instance, one memory per shard; src/vector/arena.ts gives that memory out.
// Guarantees: the results of the twins in src/vector/**/*.reference.ts; no state between calls: what a call needs comes by address.
// Must not: allocate. Static scratch of a few KiB is used within a call only.

/** First address the host may use. */
export function heapBase(): usize {
  return __heap_base;
}

export { distanceCodes, distanceFloat, distancesCodes, distancesFloat, squaredNorm } from "./vector/distances";
export { countLive } from "./vector/bitmap";
export { heapSort, readKeys, withinError } from "./vector/heap";
export { rerankFloat, scanCodes, scanFloat, scanWithin } from "./vector/flat";
export { codesAsQuery, encodeQuery, encodeRows, survey, transformRows } from "./vector/int8";
export { hnswSearch } from "./vector/hnsw";
export { hnswSearchAmong, hnswSearchSparse } from "./vector/hnsw-filtered";
export { hnswCheck, hnswGraft, hnswInsert, hnswMend } from "./vector/hnsw-build";
export { rotateRows } from "./vector/rotation";
export { addToCells, nearestCells, probeCells } from "./vector/cells";
export { keepCandidates, liveSlots, scanBlocks } from "./vector/fastscan";
export { bitsTable, encodeBits } from "./vector/rabitq";
export { encodeProducts, productsTable } from "./vector/pq";
export { addProducts, reduceRows } from "./vector/reduce";
