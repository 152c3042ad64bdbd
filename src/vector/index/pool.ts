// What comes out of a pool of the nearest, and how many candidates go into one.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { SCAN_CANDIDATES } from "./limits.ts";

export interface Wanted {
  /** What the pool must hold. */
  readonly most: number;
  /** How many of its `size` sorted keys are given. */
  readonly given: (keys: Pointer, size: number) => number;
}

/**
 * How many candidates are kept and given for the `k` nearest. Estimates are re-ranked: then as many as `rerank` says, or all whose
 * distance is within the error of the k-th. `live` bounds both.
 */
export function wantedFor(
  { kernels }: VectorCore,
  ask: { readonly k: number; readonly rerank: number | undefined; readonly live: number; readonly isEstimate: boolean },
): Wanted {
  const { k, rerank, live, isEstimate } = ask;
  if (!isEstimate || rerank !== undefined) {
    const most = Math.min(live, isEstimate ? Math.max(k, rerank ?? 0) : k);
    return { most, given: (_, size) => Math.min(size, most) };
  }
  const most = k === 0 ? 0 : Math.min(live, Math.max(SCAN_CANDIDATES, 2 * k));
  return { most, given: (keys, size) => kernels.withinError(keys, size, k) };
}

export interface PoolRead {
  readonly keys: Pointer;
  readonly count: number;
  /** Bits of flags below the row. */
  readonly shift: number;
  /** One of KEY_FORMS. */
  readonly form: number;
  readonly scale: number;
  readonly offset: number;
}

/** Copies sorted keys out of the arena. */
export function readPool({ kernels, arena, workspace }: VectorCore, read: PoolRead) {
  const { keys, count, shift, form, scale, offset } = read;
  if (count === 0) return { rows: new Uint32Array(0), distances: new Float32Array(0) };
  const rows = workspace.reserve("out", count * 8);
  kernels.readKeys(keys, count, shift, form, scale, offset, rows, rows + count * 4);
  return { rows: arena.words(rows, count).slice(), distances: arena.floats(rows + count * 4, count).slice() };
}
