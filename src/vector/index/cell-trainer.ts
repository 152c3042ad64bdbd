// Learns the centroids of an index over coded blocks from a sample of its rows, in slices: k-means (Lloyd) in the coded space, and the
// centres of product codes. Deterministic: the same rows and seed give the same centres, however the work is cut.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { seededWords } from "../quantize/seeded.ts";
import type { CodeShape } from "./cell-codes.ts";
import { CELL_ROUNDS, PRODUCT_ROUNDS } from "./limits.ts";

export interface TrainingSet {
  /** Vectors of the space, one after the other. */
  readonly at: Pointer;
  readonly count: number;
  /** Values of a vector. */
  readonly length: number;
}

export class CellTrainer {
  readonly #core: VectorCore;
  readonly #set: TrainingSet;
  readonly #cells: number;
  readonly #words: () => number;
  /** Centroids, their sums, their counts, and the cell of each row of the sample. */
  readonly #at: Pointer;
  #round = 0;
  #row = 0;

  /** `cells` is at most the number of rows. @throws ArenaFull */
  constructor(core: VectorCore, set: TrainingSet, { cells, seed }: { readonly cells: number; readonly seed: number }) {
    this.#core = core;
    this.#set = set;
    this.#cells = cells;
    this.#words = seededWords(seed);
    this.#at = core.arena.allocate(cells * set.length * 8 + cells * 4 + set.count * 4, { zeroed: true });
    this.#begin();
  }

  get centroids(): Pointer {
    return this.#at;
  }

  get #sums(): Pointer {
    return this.#at + this.#cells * this.#set.length * 4;
  }

  get #counts(): Pointer {
    return this.#sums + this.#cells * this.#set.length * 4;
  }

  get progress(): number {
    return Math.min(1, (this.#round + this.#row / Math.max(1, this.#set.count)) / CELL_ROUNDS);
  }

  /** Different rows of the sample begin as centroids. A single one is the mean, which is at the origin. */
  #begin(): void {
    const { count, length } = this.#set;
    if (this.#cells === 1) {
      this.#round = CELL_ROUNDS;
      return;
    }
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = 0; i < this.#cells; i++) {
      const other = i + (this.#words() % (count - i));
      [order[i], order[other]] = [order[other]!, order[i]!];
      this.#copy(order[i]!, this.#at + i * length * 4);
    }
  }

  #copy(row: number, into: Pointer): void {
    const { at, length } = this.#set;
    this.#core.arena.f32.copyWithin(into / 4, at / 4 + row * length, at / 4 + (row + 1) * length);
  }

  /** Assigns up to `rows` rows of the sample; true when complete. */
  step(rows: number): boolean {
    if (this.#round >= CELL_ROUNDS) return true;
    const { kernels } = this.#core;
    const { at, count, length } = this.#set;
    const bytes = length * 4;
    const some = Math.min(rows, count - this.#row);
    const cellOf = this.#counts + this.#cells * 4 + this.#row * 4;
    const from = at + this.#row * bytes;
    kernels.nearestCells(from, some, bytes, this.#at, this.#cells, cellOf);
    kernels.addToCells(from, some, bytes, cellOf, this.#sums, this.#counts);
    this.#row += some;
    if (this.#row === count) this.#turn();
    return this.#round >= CELL_ROUNDS;
  }

  /** Means become centroids; an empty cell begins again at a row. */
  #turn(): void {
    const { arena } = this.#core;
    const { count, length } = this.#set;
    const centroids = arena.floats(this.#at, this.#cells * length);
    const sums = arena.floats(this.#sums, this.#cells * length);
    const counts = arena.words(this.#counts, this.#cells);
    for (let cell = 0; cell < this.#cells; cell++) {
      const of = counts[cell]!;
      if (of === 0) this.#copy(this.#words() % count, this.#at + cell * length * 4);
      else for (let i = cell * length; i < (cell + 1) * length; i++) centroids[i] = sums[i]! / of;
    }
    sums.fill(0);
    counts.fill(0);
    this.#row = 0;
    this.#round++;
  }

  release(): void {
    this.#core.arena.free(this.#at);
  }
}

/** Learns the 16 centres of groups `from`..`to - 1` from the sample, into `centres` (16 × width values a group). */
export function trainProducts(
  { arena }: VectorCore,
  { at, count, length }: TrainingSet,
  { width }: CodeShape,
  groups: { readonly from: number; readonly to: number; readonly centres: Pointer },
): void {
  const sample = arena.floats(at, count * length);
  for (let group = groups.from; group < groups.to; group++) {
    const centres = arena.floats(groups.centres + group * width * 64, width * 16);
    const values = new Float32Array(count * width);
    for (let row = 0; row < count; row++)
      for (let i = 0; i < width; i++) values[row * width + i] = sample[row * length + group * width + i]!;
    trainGroup(values, centres, width);
  }
}

function trainGroup(values: Float32Array, centres: Float32Array, width: number): void {
  const count = values.length / width;
  if (count === 0) return;
  for (let centre = 0; centre < 16; centre++) {
    const row = Math.floor((centre * count) / 16);
    centres.set(values.subarray(row * width, (row + 1) * width), centre * width);
  }
  const [sums, counts] = [new Float64Array(16 * width), new Uint32Array(16)];
  for (let round = 0; round < PRODUCT_ROUNDS; round++) {
    sums.fill(0);
    counts.fill(0);
    for (let row = 0; row < count; row++) {
      const best = nearestCentre(values, row * width, centres, width);
      counts[best]!++;
      for (let i = 0; i < width; i++) sums[best * width + i]! += values[row * width + i]!;
    }
    for (let centre = 0; centre < 16; centre++) {
      const of = counts[centre]!;
      if (of === 0) continue;
      for (let i = centre * width; i < (centre + 1) * width; i++) centres[i] = sums[i]! / of;
    }
  }
}

function nearestCentre(values: Float32Array, at: number, centres: Float32Array, width: number): number {
  let [best, least] = [0, Number.POSITIVE_INFINITY];
  for (let centre = 0; centre < 16; centre++) {
    let sum = 0;
    for (let i = 0; i < width; i++) {
      const off = values[at + i]! - centres[centre * width + i]!;
      sum += off * off;
    }
    if (sum < least) [best, least] = [centre, sum];
  }
  return best;
}
