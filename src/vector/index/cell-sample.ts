// The sample that an index over coded blocks is trained with: rows at even distances, in the coded space, then moved to their mean.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import type { CodedSpace } from "../quantize/coded-space.ts";
import type { TrainingSet } from "./cell-trainer.ts";
import type { Rows } from "./segment-index.ts";

export class CellSample {
  readonly #core: VectorCore;
  readonly #rows: Rows;
  readonly #space: CodedSpace;
  readonly #skipped: ReadonlySet<number>;
  /** Of the sampled rows. */
  readonly planned: number;
  readonly #at: Pointer;
  /** The mean of the sample, `space.length` values. */
  readonly centre: Pointer;
  #taken = 0;
  #looked = 0;

  /** @throws ArenaFull */
  constructor(core: VectorCore, rows: Rows, space: CodedSpace, from: { most: number; skipped: readonly number[] }) {
    this.#core = core;
    this.#rows = rows;
    this.#space = space;
    this.#skipped = new Set(from.skipped);
    this.planned = Math.min(rows.count, from.most);
    this.centre = core.arena.allocate((this.planned + 1) * space.bytes, { zeroed: true });
    this.#at = this.centre + space.bytes;
  }

  /** Row of the sample's `index`-th place. */
  rowAt(index: number): number {
    return Math.floor((index * this.#rows.count) / this.planned);
  }

  get looked(): number {
    return this.#looked;
  }

  get set(): TrainingSet {
    return { at: this.#at, count: this.#taken, length: this.#space.length };
  }

  /** Takes up to `count` rows more; true when complete. */
  step(count: number): boolean {
    const { arena } = this.#core;
    const { bytes } = this.#space;
    const end = Math.min(this.planned, this.#looked + count);
    for (; this.#looked < end; this.#looked++) {
      const row = this.rowAt(this.#looked);
      if (this.#skipped.has(row)) continue;
      this.#space.forEachPiece(this.#rows, { from: row, to: row + 1, centre: 0 }, ({ at }) => {
        arena.u8.copyWithin(this.#at + this.#taken * bytes, at, at + bytes);
      });
      this.#taken++;
    }
    if (this.#looked < this.planned) return false;
    this.#moveToMean();
    return true;
  }

  #moveToMean(): void {
    const { arena, kernels } = this.#core;
    const { length } = this.#space;
    const sums = new Float64Array(length);
    const values = arena.floats(this.#at, this.#taken * length);
    for (let i = 0; i < values.length; i += length) for (let j = 0; j < length; j++) sums[j]! += values[i + j]!;
    arena.floats(this.centre, length).set(sums.map((sum) => sum / Math.max(1, this.#taken)));
    kernels.rotateRows(this.#at, this.#taken, length, length, 0, this.centre);
  }

  release(): void {
    this.#core.arena.free(this.centre);
  }
}
