// The axes of greatest variance of a sample, by orthogonal iteration over kernels, with pauses. The same sample and seed give the same axes.
// Must not: know where the sample comes from, or metrics beyond whether rows are centred.

import type { Pointer } from "../arena.ts";
import { rowStride } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { seededNormals } from "../quantize/seeded.ts";
import { checkShape, type Reduction } from "./reduction.ts";

/** Rows in the arena, `rowStride(dimension)` bytes apart. They are moved to their mean where that is asked for. */
export interface Sample {
  readonly at: Pointer;
  readonly count: number;
  readonly dimension: number;
}

export interface PcaOptions {
  readonly to: number;
  readonly seed: number;
  /** True under the euclidean metric. */
  readonly isCentred: boolean;
}

/** Rounds of the iteration: axes whose variances are far apart are found in few; wide ones are given fewer. */
const MOST_ROUNDS = 12;
const FEWEST_ROUNDS = 4;
/** Products of numbers that all rounds may take, and those between two pauses: about a millisecond. */
const ALL_PRODUCTS = 6e9;
const SLICE_PRODUCTS = 2e6;

/** @throws RangeError for a shape out of bounds, ArenaFull */
export function* trainPca(core: VectorCore, sample: Sample, options: PcaOptions): Generator<void, Reduction> {
  const { to, seed, isCentred } = options;
  const { dimension: from, count } = sample;
  checkShape(from, to);
  const mean = isCentred ? yield* moveToMean(core, sample) : new Float32Array(from);
  const next = seededNormals(seed);
  const space = new Space(core, sample, to);
  try {
    let axes: Float64Array = Float64Array.from({ length: from * to }, next);
    yield* orthonormalise(axes, from, next);
    const wanted = Math.floor(ALL_PRODUCTS / Math.max(1, 2 * count * from * to));
    const rounds = Math.min(MOST_ROUNDS, Math.max(FEWEST_ROUNDS, wanted));
    for (let round = 1; round < rounds; round++) {
      yield* space.pass(axes, true);
      axes = space.moved();
      yield* orthonormalise(axes, from, next);
    }
    const kept = yield* space.pass(axes, false);
    const all = space.variance();
    const keptShare = all === 0 ? 1 : Math.min(1, kept / all);
    return { kind: "pca", from, to, mean, axes: Float32Array.from(axes), keptShare };
  } finally {
    space.release();
  }
}

function* moveToMean({ arena }: VectorCore, { at, count, dimension }: Sample): Generator<void, Float32Array> {
  const stride = rowStride(dimension);
  const sums = new Float64Array(dimension);
  const sliceRows = Math.max(1, Math.floor(SLICE_PRODUCTS / dimension));
  for (let row = 0; row < count; row++) {
    const values = arena.floats(at + row * stride, dimension);
    for (let i = 0; i < dimension; i++) sums[i]! += values[i]!;
    if (row % sliceRows === sliceRows - 1) yield;
  }
  const mean = Float32Array.from(sums, (sum) => sum / Math.max(1, count));
  for (let row = 0; row < count; row++) {
    const values = arena.floats(at + row * stride, dimension);
    for (let i = 0; i < dimension; i++) values[i]! -= mean[i]!;
    if (row % sliceRows === sliceRows - 1) yield;
  }
  return mean;
}

/** The kernels' memory of one training: axes, their sums, products of some rows. */
class Space {
  readonly #core: VectorCore;
  readonly #sample: Sample;
  readonly #to: number;
  readonly #stride: number;
  readonly #foundStride: number;
  readonly #sliceRows: number;
  readonly #at: Pointer;
  readonly #sums: Pointer;
  readonly #found: Pointer;
  readonly #zeros: Pointer;

  constructor(core: VectorCore, sample: Sample, to: number) {
    this.#core = core;
    this.#sample = sample;
    this.#to = to;
    this.#stride = rowStride(sample.dimension);
    this.#foundStride = rowStride(to);
    const perRow = (this.#stride / 4) * to * 2;
    this.#sliceRows = Math.max(2, Math.floor(SLICE_PRODUCTS / perRow));
    const axesBytes = (this.#foundStride / 4) * this.#stride;
    const bytes = 2 * axesBytes + this.#sliceRows * this.#foundStride + this.#stride;
    this.#at = core.arena.allocate(bytes, { zeroed: true });
    this.#sums = this.#at + axesBytes;
    this.#found = this.#sums + axesBytes;
    this.#zeros = this.#found + this.#sliceRows * this.#foundStride;
  }

  /** Products of all rows with the axes; gives the sum of their squares. `isMoving`: also what they do to the axes. */
  *pass(axes: Float64Array, isMoving: boolean): Generator<void, number> {
    const { arena, kernels } = this.#core;
    const { at, count, dimension } = this.#sample;
    const [stride, foundStride] = [this.#stride, this.#foundStride];
    for (let axis = 0; axis < this.#to; axis++)
      arena.floats(this.#at + axis * stride, dimension).set(axes.subarray(axis * dimension, (axis + 1) * dimension));
    if (isMoving) arena.bytes(this.#sums, (foundStride / 4) * stride).fill(0);
    let kept = 0;
    for (let row = 0; row < count; row += this.#sliceRows) {
      const some = Math.min(this.#sliceRows, count - row);
      const rows = at + row * stride;
      kernels.reduceRows(rows, stride, some, this.#zeros, this.#at, this.#found, foundStride);
      if (isMoving) kernels.addProducts(rows, stride, some, this.#found, foundStride, this.#sums);
      else for (const product of arena.floats(this.#found, (some * foundStride) / 4)) kept += product * product;
      yield;
    }
    return kept;
  }

  moved(): Float64Array {
    const { dimension } = this.#sample;
    const axes = new Float64Array(dimension * this.#to);
    for (let axis = 0; axis < this.#to; axis++)
      axes.set(this.#core.arena.floats(this.#sums + axis * this.#stride, dimension), axis * dimension);
    return axes;
  }

  /** Of the sample, summed over its rows. */
  variance(): number {
    const { arena, kernels } = this.#core;
    const { at, count } = this.#sample;
    let sum = 0;
    for (let row = 0; row < count; row++) sum += kernels.squaredNorm(at + row * this.#stride, this.#stride);
    void arena;
    return sum;
  }

  release(): void {
    this.#core.arena.free(this.#at);
  }
}

/** Gram-Schmidt, again where much is lost. An axis that vanishes (fewer directions than axes) begins again at random. */
function* orthonormalise(axes: Float64Array, from: number, next: () => number): Generator<void, void> {
  let work = 0;
  for (let at = 0; at < axes.length; at += from) {
    const axis = axes.subarray(at, at + from);
    let before = normOf(axis);
    let left = subtractOthers(axes, axis, at, from);
    if (left <= 1e-6 * before || before === 0) {
      for (let i = 0; i < from; i++) axis[i] = next();
      before = normOf(axis);
      left = subtractOthers(axes, axis, at, from);
    }
    if (left < 0.7 * before) left = subtractOthers(axes, axis, at, from);
    for (let i = 0; i < from; i++) axis[i]! /= left;
    work += 2 * at;
    if (work < SLICE_PRODUCTS) continue;
    work = 0;
    yield;
  }
}

function normOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

/** The norm of what is left of the axis. */
function subtractOthers(axes: Float64Array, axis: Float64Array, at: number, from: number): number {
  for (let other = 0; other < at; other += from) {
    let product = 0;
    for (let i = 0; i < from; i++) product += axis[i]! * axes[other + i]!;
    for (let i = 0; i < from; i++) axis[i]! -= product * axes[other + i]!;
  }
  return normOf(axis);
}
