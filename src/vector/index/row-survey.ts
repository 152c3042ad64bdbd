// The first look at all rows of a segment, in slices: which cannot be indexed, and what the quantizer must know of the others.
// Guarantees: a row that is not finite (or zero, under cosine) is named and never fails the build. Must not: change rows.

import type { Pointer } from "../arena.ts";
import { METRIC_CODES, type VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import type { Survey } from "../quantize/int8.ts";
import { SAMPLED_VALUES } from "./limits.ts";
import { forEachPiece, type Piece } from "./row-pieces.ts";
import { type Rows, rowStride } from "./segment-index.ts";

export class RowSurvey {
  readonly #core: VectorCore;
  readonly #rows: Rows;
  readonly #metric: Metric;
  readonly #sample: Float32Array;
  readonly #everyRows: number;
  readonly quarantined: number[] = [];
  #sampled = 0;
  #squaredNorm = 0;
  #low = Number.POSITIVE_INFINITY;
  #high = Number.NEGATIVE_INFINITY;
  #isIntegers = true;

  constructor(core: VectorCore, rows: Rows, metric: Metric) {
    this.#core = core;
    this.#rows = rows;
    this.#metric = metric;
    const sampledRows = Math.max(1, Math.floor(SAMPLED_VALUES / rows.dimension));
    this.#everyRows = Math.max(1, Math.ceil(rows.count / sampledRows));
    this.#sample = new Float32Array(Math.ceil(rows.count / this.#everyRows) * rows.dimension);
  }

  /** Looks at rows `from`..`to - 1`. */
  look(from: number, to: number): void {
    forEachPiece(this.#core, this.#rows, { from, to }, (piece) => {
      const flags = this.#lookAt(piece);
      this.#take(piece, flags);
    });
  }

  get found(): Survey {
    const isEmpty = this.#low > this.#high;
    return {
      squaredNorm: this.#squaredNorm,
      low: isEmpty ? 0 : this.#low,
      high: isEmpty ? 0 : this.#high,
      isIntegers: this.#isIntegers,
    };
  }

  /** Values of evenly spread rows, as the quantizer will see them. */
  get sample(): Float32Array {
    return this.#sample.subarray(0, this.#sampled);
  }

  #lookAt({ at, count, first }: Piece): Uint8Array {
    const { kernels, arena, workspace } = this.#core;
    const { dimension } = this.#rows;
    const state: Pointer = workspace.reserve("out", 16 + count);
    arena.floats(state, 3).set([this.#squaredNorm, this.#low, this.#high]);
    arena.words(state, 4)[3] = this.#isIntegers ? 1 : 0;
    kernels.survey(METRIC_CODES[this.#metric], at, rowStride(dimension), dimension, count, state + 16, state);
    const [squaredNorm, low, high] = arena.floats(state, 3) as unknown as [number, number, number];
    this.#squaredNorm = squaredNorm;
    this.#low = low;
    this.#high = high;
    this.#isIntegers = arena.words(state, 4)[3] === 1;
    const flags = arena.bytes(state + 16, count);
    for (let i = flags.indexOf(1); i >= 0; i = flags.indexOf(1, i + 1)) this.quarantined.push(first + i);
    return flags;
  }

  #take({ at, first, count }: Piece, flags: Uint8Array): void {
    const { dimension } = this.#rows;
    const stride = rowStride(dimension);
    const every = this.#everyRows;
    for (let row = Math.ceil(first / every) * every; row < first + count; row += every) {
      if (flags[row - first] !== 0) continue;
      const values = this.#core.arena.floats(at + (row - first) * stride, dimension);
      this.#sample.set(values, this.#sampled);
      if (this.#metric === "cosine") normalise(this.#sample.subarray(this.#sampled, this.#sampled + dimension));
      this.#sampled += dimension;
    }
  }
}

function normalise(values: Float32Array): void {
  let sum = 0;
  for (const value of values) sum += value * value;
  const factor = 1 / Math.sqrt(sum);
  for (let i = 0; i < values.length; i++) values[i]! *= factor;
}
