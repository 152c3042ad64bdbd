// Builds an index over coded blocks in slices: a look at all rows, a sample, its training, then every row gets its cell, its place
// among the blocks, and its code. The rows are read three times, and never kept.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import type { CodedSpace } from "../quantize/coded-space.ts";
import { BLOCK_ROWS, type BlockQuantizer, encodeBlocks, NO_SLOT } from "./cell-codes.ts";
import { type CellHeader, cellBytes, placesOf, shapeOf } from "./cell-format.ts";
import { CellIndex } from "./cell-index.ts";
import { spaceOf } from "./cell-loader.ts";
import { CellSample } from "./cell-sample.ts";
import { CellTrainer, trainProducts } from "./cell-trainer.ts";
import {
  FEWEST_ROWS_PER_CELL,
  MAX_CELLS,
  MIN_CELLS,
  ROWS_PER_INSERT,
  TRAINED_BYTES,
  TRAINED_ROWS,
  TRAINED_ROWS_PER_CELL,
} from "./limits.ts";
import { RowSurvey } from "./row-survey.ts";
import type { IndexBuilder, Rows } from "./segment-index.ts";

export interface CellOptions {
  readonly rows: Rows;
  readonly metric: Metric;
  readonly kind: "FLAT" | "IVF";
  readonly quantizer: BlockQuantizer;
  /** IVF: lists; absent = the square root of the rows. */
  readonly cells?: number;
  readonly seed?: number;
}

const PHASES = ["survey", "sample", "cells", "products", "assign", "encode", "done"] as const;
/** Rows of the sample, and groups of product codes, that cost about as much as a row inserted into a graph. */
const TRAINED_PER_INSERT = 4;
const INSERTS_PER_GROUP = 64;

export class CellBuilder implements IndexBuilder {
  readonly #core: VectorCore;
  readonly #options: CellOptions;
  readonly #survey: RowSurvey;
  #phase: (typeof PHASES)[number] = "survey";
  /** Rows (or groups) that this phase has done. */
  #done = 0;
  #space: CodedSpace | undefined;
  #sample: CellSample | undefined;
  #trainer: CellTrainer | undefined;
  /** Cell, then slot of each row; and the slots of a piece's rows. */
  #cellOf: Pointer = 0;
  #slotOf: Pointer = 0;
  #header: CellHeader | undefined;
  #at: Pointer = 0;

  /** @throws RangeError for parameters out of bounds. */
  constructor(core: VectorCore, options: CellOptions) {
    const { cells } = options;
    if (cells !== undefined && !(Number.isInteger(cells) && cells >= 1 && cells <= MAX_CELLS))
      throw new RangeError(`cells: ${cells}, which is not a whole number from 1 to ${MAX_CELLS}`);
    this.#core = core;
    this.#options = options;
    this.#survey = new RowSurvey(core, options.rows, options.metric);
  }

  get quarantined(): readonly number[] {
    return this.#survey.quarantined;
  }

  get progress(): number {
    const { count } = this.#options.rows;
    const phase = PHASES.indexOf(this.#phase);
    if (this.#phase === "done") return 1;
    const within = this.#phase === "cells" ? (this.#trainer?.progress ?? 0) : this.#done / Math.max(1, count);
    return (phase + Math.min(1, within)) / (PHASES.length - 1);
  }

  needs({ rows }: { readonly rows: number }): { readonly from: number; readonly to: number } {
    const { count } = this.#options.rows;
    const most = Math.max(1, rows) * ROWS_PER_INSERT;
    if (this.#phase === "survey" || this.#phase === "assign" || this.#phase === "encode")
      return { from: this.#done, to: Math.min(count, this.#done + most) };
    if (this.#phase !== "sample") return { from: 0, to: 0 };
    const sample = this.#sample!;
    const last = Math.min(sample.planned, sample.looked + most) - 1;
    return last < 0 ? { from: 0, to: 0 } : { from: sample.rowAt(sample.looked), to: sample.rowAt(last) + 1 };
  }

  step({ rows }: { readonly rows: number }): boolean {
    const budget = Math.max(1, rows);
    const range = this.needs({ rows: budget });
    switch (this.#phase) {
      case "survey":
        this.#survey.look(range.from, range.to);
        this.#advance(range.to, () => this.#beginSample());
        break;
      case "sample":
        if (this.#sample!.step(budget * ROWS_PER_INSERT)) this.#beginCells();
        break;
      case "cells":
        if (this.#trainer!.step(budget * TRAINED_PER_INSERT)) this.#turn("assign");
        break;
      case "assign":
        this.#assign(range);
        this.#advance(range.to, () => this.#layOut());
        break;
      case "products":
        this.#learnProducts(Math.max(1, Math.floor(budget / INSERTS_PER_GROUP)));
        break;
      case "encode":
        this.#encode(range);
        this.#advance(range.to, () => this.#turn("done"));
        break;
      case "done":
        break;
      default:
        this.#phase satisfies never;
    }
    return this.#phase === ("done" as string);
  }

  #turn(phase: (typeof PHASES)[number]): void {
    this.#phase = phase;
    this.#done = 0;
  }

  #advance(to: number, whenAll: () => void): void {
    this.#done = to;
    if (to >= this.#options.rows.count) whenAll();
  }

  get #usable(): number {
    return this.#options.rows.count - this.quarantined.length;
  }

  #beginSample(): void {
    const { rows, metric, kind, quantizer, seed = 1 } = this.#options;
    const radius = metric === "dot" ? this.#survey.found.squaredNorm : 0;
    this.#space = spaceOf(this.#core, { kind, quantizer, metric, dimension: rows.dimension, radius, seed });
    const wanted = Math.max(TRAINED_ROWS, kind === "IVF" ? this.#wantedCells * TRAINED_ROWS_PER_CELL : 0);
    const most = Math.max(1, Math.min(wanted, Math.floor(TRAINED_BYTES / this.#space.bytes)));
    this.#sample = new CellSample(this.#core, rows, this.#space, { most, skipped: this.quarantined });
    this.#turn("sample");
  }

  get #wantedCells(): number {
    if (this.#options.kind === "FLAT") return 1;
    const fine = Math.min(MIN_CELLS, Math.floor(this.#usable / FEWEST_ROWS_PER_CELL));
    return Math.min(MAX_CELLS, this.#options.cells ?? Math.max(fine, Math.round(Math.sqrt(this.#usable))));
  }

  #beginCells(): void {
    const { set } = this.#sample!;
    const cells = Math.max(1, Math.min(this.#wantedCells, set.count));
    this.#trainer = new CellTrainer(this.#core, set, { cells, seed: this.#options.seed ?? 1 });
    const { rows, metric, kind, quantizer, seed = 1 } = this.#options;
    const radius = this.#space!.shape.map.radius;
    const shape = { kind, quantizer, metric, dimension: rows.dimension, radius, seed, cells };
    this.#header = { ...shape, rows: rows.count, slots: 0, quarantinedCount: this.quarantined.length };
    this.#cellOf = this.#core.arena.allocate(rows.count * 4, { zeroed: true });
    this.#slotOf = this.#core.arena.allocate(rows.count * 4, { zeroed: true });
    this.#turn("cells");
  }

  #assign({ from, to }: { readonly from: number; readonly to: number }): void {
    const { cells } = this.#header!;
    if (cells === 1) return;
    const space = this.#space!;
    const centre = this.#sample!.centre;
    space.forEachPiece(this.#options.rows, { from, to, centre }, ({ at, first, count }) => {
      const into = this.#cellOf + first * 4;
      this.#core.kernels.nearestCells(at, count, space.bytes, this.#trainer!.centroids, cells, into);
    });
  }

  /** Every cell begins at a block; rows keep their order within it. FLAT: a row's slot is its number. */
  #layOut(): void {
    const { arena } = this.#core;
    const { rows } = this.#options;
    const shape = this.#header!;
    const sizes = new Uint32Array(shape.cells);
    const bad = new Set(this.quarantined);
    for (let row = 0; row < rows.count; row++) if (!bad.has(row)) sizes[arena.u32[this.#cellOf / 4 + row]!]!++;
    if (shape.kind === "FLAT") sizes[0] = rows.count;
    const starts = new Uint32Array(shape.cells);
    let slots = 0;
    for (const [cell, size] of sizes.entries()) {
      starts[cell] = slots;
      slots += Math.ceil(size / BLOCK_ROWS) * BLOCK_ROWS;
    }
    const header = { ...shape, slots };
    this.#header = header;
    this.#at = arena.allocate(cellBytes(header), { zeroed: true });
    const { centre, centroids, spans, rowOf, quarantined } = placesOf(header, this.#at);
    const { length, bytes } = this.#space!;
    arena.u8.copyWithin(centre, this.#sample!.centre, this.#sample!.centre + bytes);
    arena.f32.copyWithin(
      centroids / 4,
      this.#trainer!.centroids / 4,
      this.#trainer!.centroids / 4 + shape.cells * length,
    );
    arena.words(spans, shape.cells * 2).set([...sizes].flatMap((size, cell) => [starts[cell]!, size]));
    arena.words(quarantined, bad.size).set(this.quarantined);
    if (header.kind === "IVF") arena.words(rowOf, slots).fill(NO_SLOT);
    this.#place(starts, bad);
    this.#turn(header.quantizer === "pq" ? "products" : header.quantizer === "none" ? "done" : "encode");
  }

  #place(next: Uint32Array, bad: ReadonlySet<number>): void {
    const { arena } = this.#core;
    const { kind, rows, slots } = this.#header!;
    const [cellOf, slotOf] = [arena.words(this.#cellOf, rows), arena.words(this.#slotOf, rows)];
    const rowOf = arena.words(placesOf(this.#header!, this.#at).rowOf, kind === "IVF" ? slots : 0);
    for (let row = 0; row < rows; row++) {
      const slot = bad.has(row) ? NO_SLOT : kind === "FLAT" ? row : next[cellOf[row]!]!++;
      slotOf[row] = slot;
      if (kind === "IVF" && slot !== NO_SLOT) rowOf[slot] = row;
    }
  }

  #learnProducts(groups: number): void {
    const shape = shapeOf(this.#header!);
    const to = Math.min(shape.groups, this.#done + groups);
    const { centres } = placesOf(this.#header!, this.#at);
    const { at, count, length } = this.#sample!.set;
    const set = { at, count: Math.min(count, TRAINED_ROWS), length };
    trainProducts(this.#core, set, shape, { from: this.#done, to, centres });
    this.#done = to;
    if (to === shape.groups) this.#turn("encode");
  }

  #encode({ from, to }: { readonly from: number; readonly to: number }): void {
    const header = this.#header!;
    const places = placesOf(header, this.#at);
    const shape = shapeOf(header);
    this.#space!.forEachPiece(this.#options.rows, { from, to, centre: places.centre }, ({ at, first, count }) => {
      const lists = { slots: this.#slotOf + first * 4, cellOf: this.#cellOf + first * 4 };
      encodeBlocks(this.#core, shape, places, { at, count, ...lists });
    });
  }

  finish(): CellIndex {
    const [header, space] = [this.#header, this.#space];
    if (this.#phase !== "done" || header === undefined || space === undefined)
      throw new Error("the index is not complete yet");
    const index = new CellIndex(this.#core, header, this.#at, space);
    this.#at = 0;
    this.#space = undefined;
    this.abandon();
    return index;
  }

  abandon(): void {
    const { arena } = this.#core;
    for (const at of [this.#at, this.#cellOf, this.#slotOf]) if (at !== 0) arena.free(at);
    this.#at = this.#cellOf = this.#slotOf = 0;
    this.#sample?.release();
    this.#trainer?.release();
    this.#space?.release();
    this.#sample = this.#trainer = this.#space = undefined;
  }
}
