// A query in the arena, ready for every segment of a shard.

import type { Pointer } from "./arena.ts";
import { type PreparedQuery, rowStride } from "./index/segment-index.ts";
import type { VectorCore } from "./kernels.ts";
import type { Metric } from "./metric.ts";

/** A slot for queries of one dimension: prepared again and again, one at a time. */
export class QuerySlot {
  readonly #core: VectorCore;
  readonly #metric: Metric;
  readonly #dimension: number;
  readonly #at: Pointer;

  /** @throws ArenaFull */
  constructor(core: VectorCore, metric: Metric, dimension: number) {
    this.#core = core;
    this.#metric = metric;
    this.#dimension = dimension;
    this.#at = core.arena.allocate(rowStride(dimension), { zeroed: true });
  }

  /** Copies the values in. The result is valid until the next call. */
  prepare(values: ArrayLike<number>): PreparedQuery {
    const { arena, kernels } = this.#core;
    const [at, dimension] = [this.#at, this.#dimension];
    if (values.length !== dimension)
      throw new RangeError(`a query of ${values.length} values for rows of ${dimension}`);
    arena.f32.set(values, at / 4);
    const squaredNorm = kernels.squaredNorm(at, rowStride(dimension));
    return { metric: this.#metric, dimension, values: at, squaredNorm };
  }

  release(): void {
    this.#core.arena.free(this.#at);
  }
}

/** 1 / ‖query‖ as the cosine kernels take it; 0 for a query of zeros, which is at distance 1 of every row. */
export function inverseNormOf({ squaredNorm }: PreparedQuery): number {
  return squaredNorm === 0 ? 0 : 1 / Math.sqrt(squaredNorm);
}
