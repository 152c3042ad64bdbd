// Exact distances for the candidates of an index, from float32 rows, and the nearest k of them.

import type { Pointer } from "./arena.ts";
import { RERANKED_AT_ONCE } from "./index/limits.ts";
import { readPool } from "./index/pool.ts";
import { forEachPiece } from "./index/row-pieces.ts";
import { type Found, type PreparedQuery, type Rows, rowStride } from "./index/segment-index.ts";
import { KEY_FORMS, METRIC_CODES, type VectorCore } from "./kernels.ts";
import { inverseNormOf } from "./query.ts";

export interface Ranked {
  /** Nearest first, equal distances by lower row. */
  readonly rows: Uint32Array;
  readonly distances: Float32Array;
}

/**
 * The `k` nearest of the rows found. Rows outside of the arena are read one by one: they must have been loaded.
 * A row whose distance is not a number is left out.
 */
export function rerank(
  core: VectorCore,
  {
    query,
    rows,
    found,
    k,
  }: { readonly query: PreparedQuery; readonly rows: Rows; readonly found: Found; readonly k: number },
): Ranked {
  const count = found.rows.length;
  const most = Math.min(k, count);
  if (most === 0) return { rows: new Uint32Array(0), distances: new Float32Array(0) };
  rows.require?.(found.rows);
  const heap = core.workspace.reserve("heap", 16 + most * 8);
  core.arena.u32[heap / 4] = 0;
  for (const some of piecesOf(core, found, { heap, most })) compare(core, { query, rows, wanted: some, heap, most });
  core.kernels.heapSort(heap);
  const size = core.arena.u32[heap / 4]!;
  return readPool(core, { keys: heap + 16, count: size, shift: 0, form: KEY_FORMS.ordered, scale: 1, offset: 0 });
}

/** Rows to compare, few at a time where estimates have bounds: those that the ones before have ruled out are left out. */
function* piecesOf(
  { arena }: VectorCore,
  { rows, lowest }: Found,
  { heap, most }: { readonly heap: Pointer; readonly most: number },
): Generator<Uint32Array> {
  if (lowest === undefined) return yield rows;
  for (let from = 0; from < rows.length; from += RERANKED_AT_ONCE) {
    const worst = arena.u32[heap / 4]! < most ? Number.POSITIVE_INFINITY : distanceOfKey(arena.u32[heap / 4 + 5]!);
    const left = rows.subarray(from, from + RERANKED_AT_ONCE).filter((_, i) => !(lowest[from + i]! > worst));
    if (left.length > 0) yield left;
  }
}

/** The upper half of a key of the pool as the float32 that it orders. */
function distanceOfKey(key: number): number {
  const bits = key >>> 31 === 1 ? key ^ 0x8000_0000 : ~key;
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

/** Offers the exact distances of some rows to the pool. */
function compare(
  core: VectorCore,
  ask: {
    readonly query: PreparedQuery;
    readonly rows: Rows;
    readonly wanted: Uint32Array;
    readonly heap: Pointer;
    readonly most: number;
  },
): void {
  const { query, rows, wanted, heap, most } = ask;
  const count = wanted.length;
  const list = listAddresses(core, rows, wanted);
  const stride = rowStride(rows.dimension);
  const metric = METRIC_CODES[query.metric];
  const inverse = inverseNormOf(query);
  core.kernels.rerankFloat(metric, query.values, inverse, list, list + count * 4, count, stride, heap, most);
}

/** Addresses of the rows, then their numbers, as two lists of u32 in the workspace. */
function listAddresses(core: VectorCore, rows: Rows, wanted: Uint32Array): Pointer {
  const { workspace, arena } = core;
  const stride = rowStride(rows.dimension);
  const count = wanted.length;
  const [only, ...others] = rows.resident ?? [];
  const isOneExtent = only !== undefined && others.length === 0;
  const list = workspace.reserve("out", count * 8);
  const gathered = rows.resident === undefined ? workspace.reserve("rows", count * stride) : 0;
  const u32 = arena.u32;
  for (let i = 0; i < count; i++) {
    const row = wanted[i]!;
    u32[list / 4 + count + i] = row;
    if (isOneExtent) u32[list / 4 + i] = only.at + row * stride;
  }
  if (isOneExtent) return list;
  if (rows.gather) {
    rows.gather(wanted, gathered);
    for (let i = 0; i < count; i++) arena.u32[list / 4 + i] = gathered + i * stride;
    return list;
  }
  for (let i = 0; i < count; i++) {
    const row = wanted[i]!;
    forEachPiece(core, rows, { from: row, to: row + 1 }, ({ at }) => {
      if (gathered !== 0) arena.u8.copyWithin(gathered + i * stride, at, at + stride);
      arena.u32[list / 4 + i] = gathered === 0 ? at : gathered + i * stride;
    });
  }
  return list;
}
