// What comes out of a pool of the nearest, and how many candidates go into one.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { DEFAULT_RERANK_FACTOR, DEFAULT_RERANK_MORE } from "./limits.ts";

/** Candidates to give for the `k` nearest: more than k where distances are estimates that will be re-ranked. */
export function candidatesFor(k: number, rerank: number | undefined, isExact: boolean): number {
  if (isExact) return k;
  return Math.max(k, rerank ?? Math.max(k * DEFAULT_RERANK_FACTOR, k + DEFAULT_RERANK_MORE));
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
