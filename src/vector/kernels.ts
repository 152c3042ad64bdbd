// The WASM kernels of the vector engine (wasm/vector.ts) with the memory they work on.
// Guarantees: addresses and counts go in as they are; nothing is kept between calls but what callers put into the arena.
// Must not: be shared between objects; one `VectorCore` is one memory.

import { Arena, type Pointer } from "./arena.ts";
import type { CodeKernels } from "./code-kernels.ts";
import { Workspace } from "./workspace.ts";

/** Metrics as the kernels number them. */
export const METRIC_CODES = { euclidean: 0, cosine: 1, dot: 2 } as const;

/** How `readKeys` reads the upper half of a key. */
export const KEY_FORMS = { integer: 0, float: 1, ordered: 2 } as const;

interface ReduceKernels {
  reduceRows(
    rows: Pointer,
    bytes: number,
    count: number,
    mean: Pointer,
    axes: Pointer,
    out: Pointer,
    outStride: number,
  ): void;
  addProducts(rows: Pointer, bytes: number, count: number, found: Pointer, foundStride: number, sums: Pointer): void;
}

interface DistanceKernels {
  squaredNorm(row: Pointer, bytes: number): number;
  distanceFloat(metric: number, query: Pointer, inverseNorm: number, row: Pointer, bytes: number): number;
  distancesFloat(
    metric: number,
    query: Pointer,
    inverseNorm: number,
    addresses: Pointer,
    count: number,
    bytes: number,
    out: Pointer,
  ): void;
  /** The result is a u32 that comes as i32. */
  distanceCodes(query: Pointer, row: Pointer, bytes: number): number;
  distancesCodes(query: Pointer, row: Pointer, stride: number, bytes: number, out: Pointer): void;
}

interface ScanKernels {
  countLive(allowed: Pointer, deleted: Pointer, count: number): number;
  heapSort(heap: Pointer): void;
  withinError(keys: Pointer, count: number, k: number): number;
  readKeys(
    keys: Pointer,
    count: number,
    shift: number,
    form: number,
    scale: number,
    offset: number,
    rows: Pointer,
    distances: Pointer,
  ): void;
  scanFloat(
    metric: number,
    query: Pointer,
    inverseNorm: number,
    rows: Pointer,
    stride: number,
    first: number,
    count: number,
    allowed: Pointer,
    deleted: Pointer,
    heap: Pointer,
    k: number,
  ): number;
  scanCodes(
    query: Pointer,
    rows: Pointer,
    stride: number,
    first: number,
    count: number,
    allowed: Pointer,
    deleted: Pointer,
    heap: Pointer,
    k: number,
  ): number;
  rerankFloat(
    metric: number,
    query: Pointer,
    inverseNorm: number,
    addresses: Pointer,
    rows: Pointer,
    count: number,
    bytes: number,
    heap: Pointer,
    k: number,
  ): void;
  scanWithin(
    metric: number,
    query: Pointer,
    inverseNorm: number,
    rows: Pointer,
    stride: number,
    first: number,
    count: number,
    from: number,
    allowed: Pointer,
    deleted: Pointer,
    most: number,
    outRows: Pointer,
    outDistances: Pointer,
    capacity: number,
  ): number;
}

interface Int8Kernels {
  survey(
    metric: number,
    rows: Pointer,
    stride: number,
    dimension: number,
    count: number,
    flags: Pointer,
    state: Pointer,
  ): void;
  encodeRows(
    metric: number,
    rows: Pointer,
    stride: number,
    dimension: number,
    count: number,
    low: number,
    perStep: number,
    radius: number,
    zero: number,
    extras: number,
    out: Pointer,
    codeStride: number,
  ): number;
  encodeQuery(
    query: Pointer,
    dimension: number,
    factor: number,
    low: number,
    perStep: number,
    least: number,
    most: number,
    zero: number,
    extras: number,
    out: Pointer,
    codeStride: number,
  ): number;
  codesAsQuery(codes: Pointer, bytes: number, out: Pointer): void;
  transformRows(
    metric: number,
    rows: Pointer,
    stride: number,
    dimension: number,
    count: number,
    radius: number,
    out: Pointer,
    outStride: number,
  ): void;
}

type FilteredSearch = (
  graph: Pointer,
  workspace: Pointer,
  isFloat: number,
  query: Pointer,
  ef: number,
  allowed: Pointer,
  deleted: Pointer,
  budget: number,
  out: Pointer,
) => number;

type Transplant = (
  graph: Pointer,
  workspace: Pointer,
  isFloat: number,
  old: Pointer,
  map: Pointer,
  from: number,
  count: number,
) => void;

interface HnswKernels {
  hnswSearch(graph: Pointer, workspace: Pointer, isFloat: number, query: Pointer, ef: number): number;
  readonly hnswSearchAmong: FilteredSearch;
  readonly hnswSearchSparse: FilteredSearch;
  hnswInsert(
    graph: Pointer,
    workspace: Pointer,
    isFloat: number,
    rows: Pointer,
    count: number,
    levels: Pointer,
    efConstruction: number,
  ): void;
  readonly hnswGraft: Transplant;
  readonly hnswMend: Transplant;
  hnswCheck(graph: Pointer, workspace: Pointer, rows: number, upperWords: number): number;
}

export interface VectorKernels
  extends DistanceKernels,
    ScanKernels,
    Int8Kernels,
    HnswKernels,
    CodeKernels,
    ReduceKernels {
  readonly memory: WebAssembly.Memory;
  heapBase(): number;
}

/** Kernels, the arena of their memory, and the scratch that searches share. */
export interface VectorCore {
  readonly kernels: VectorKernels;
  readonly arena: Arena;
  readonly workspace: Workspace;
}

/** An engine of its own over a compiled dist/wasm/vector.wasm. */
export function createVectorCore(module: WebAssembly.Module, options: { readonly budgetBytes: number }): VectorCore {
  const abort = (): never => {
    throw new Error("a vector kernel aborted");
  };
  const instance = new WebAssembly.Instance(module, { env: { abort } });
  const kernels = instance.exports as unknown as VectorKernels;
  const arena = new Arena({ memory: kernels.memory, base: kernels.heapBase(), budgetBytes: options.budgetBytes });
  return { kernels, arena, workspace: new Workspace(arena) };
}
