// Builds hash tables in slices: a look at all rows, a sample for the mean and the width of a step, then the keys of every row, sorted
// table by table.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { CellSample } from "./cell-sample.ts";
import {
  BITS_PER_STEP,
  DEFAULT_TABLES,
  MAX_HASH_BITS,
  MAX_HASHED_ROWS,
  MAX_TABLES,
  ROWS_PER_BUCKET,
  ROWS_PER_INSERT,
  STEP_DEVIATIONS,
  TRAINED_BYTES,
  TRAINED_ROWS,
} from "./limits.ts";
import { Hasher, type LshHeader, LshTables, lshBytes, tableAt } from "./lsh-tables.ts";
import { RowSurvey } from "./row-survey.ts";
import type { IndexBuilder, Rows } from "./segment-index.ts";

export interface LshOptions {
  readonly rows: Rows;
  readonly metric: Metric;
  readonly tables?: number;
  /** Projections of a key; absent = by the number of rows. */
  readonly bits?: number;
  readonly seed?: number;
}

const PHASES = ["survey", "sample", "hash", "sort", "done"] as const;

function bounded(name: string, value: number | undefined, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= most))
    throw new RangeError(`${name}: ${value}, which is not a whole number from 1 to ${most}`);
}

export class LshBuilder implements Omit<IndexBuilder, "finish"> {
  readonly #core: VectorCore;
  readonly #options: LshOptions;
  readonly #survey: RowSurvey;
  #phase: (typeof PHASES)[number] = "survey";
  #done = 0;
  #placed = 0;
  #sample: CellSample | undefined;
  #hasher: Hasher | undefined;
  #header: LshHeader | undefined;
  #bad: ReadonlySet<number> = new Set();
  #at: Pointer = 0;

  /** @throws RangeError for parameters out of bounds. */
  constructor(core: VectorCore, options: LshOptions) {
    bounded("tables", options.tables, MAX_TABLES);
    bounded("bits", options.bits, MAX_HASH_BITS);
    if (options.rows.count > MAX_HASHED_ROWS) throw new RangeError(`rows: more than ${MAX_HASHED_ROWS}`);
    this.#core = core;
    this.#options = options;
    this.#survey = new RowSurvey(core, options.rows, options.metric);
  }

  get quarantined(): readonly number[] {
    return this.#survey.quarantined;
  }

  get progress(): number {
    if (this.#phase === "done") return 1;
    const all = this.#phase === "sort" ? this.#header!.tables : Math.max(1, this.#options.rows.count);
    return (PHASES.indexOf(this.#phase) + Math.min(1, this.#done / all)) / (PHASES.length - 1);
  }

  needs({ rows }: { readonly rows: number }): { readonly from: number; readonly to: number } {
    const most = Math.max(1, rows) * ROWS_PER_INSERT;
    const { count } = this.#options.rows;
    if (this.#phase === "survey" || this.#phase === "hash")
      return { from: this.#done, to: Math.min(count, this.#done + most) };
    if (this.#phase !== "sample") return { from: 0, to: 0 };
    const sample = this.#sample!;
    const last = Math.min(sample.planned, sample.looked + most) - 1;
    return last < 0 ? { from: 0, to: 0 } : { from: sample.rowAt(sample.looked), to: sample.rowAt(last) + 1 };
  }

  step({ rows }: { readonly rows: number }): boolean {
    const range = this.needs({ rows });
    const { count } = this.#options.rows;
    if (this.#phase === "survey") {
      this.#survey.look(range.from, range.to);
      this.#done = range.to;
      if (this.#done >= count) this.#beginSample();
    } else if (this.#phase === "sample") {
      if (this.#sample!.step(Math.max(1, rows) * ROWS_PER_INSERT)) this.#beginHash();
    } else if (this.#phase === "hash") {
      this.#hash(range);
      this.#done = range.to;
      if (this.#done >= count) this.#turn("sort");
    } else if (this.#phase === "sort") {
      this.#sort(this.#done++);
      if (this.#done === this.#header!.tables) this.#turn("done");
    }
    return this.#phase === ("done" as string);
  }

  #turn(phase: (typeof PHASES)[number]): void {
    this.#phase = phase;
    this.#done = 0;
  }

  #beginSample(): void {
    const { rows, metric, tables = DEFAULT_TABLES, bits, seed = 1 } = this.#options;
    const placed = rows.count - this.quarantined.length;
    const wanted = Math.log2(Math.max(2, placed / ROWS_PER_BUCKET)) / (metric === "euclidean" ? BITS_PER_STEP : 1);
    const radius = metric === "dot" ? this.#survey.found.squaredNorm : 0;
    const shape = { metric, dimension: rows.dimension, radius, rows: rows.count, placed, tables, seed, width: 0 };
    this.#header = { ...shape, bits: bits ?? Math.max(1, Math.min(MAX_HASH_BITS, Math.round(wanted))) };
    this.#hasher = new Hasher(this.#core, this.#header);
    const most = Math.max(1, Math.min(TRAINED_ROWS, Math.floor(TRAINED_BYTES / this.#hasher.space.bytes)));
    this.#sample = new CellSample(this.#core, rows, this.#hasher.space, { most, skipped: this.quarantined });
    this.#turn("sample");
  }

  /** The width of a step is some deviations of the projections. */
  #beginHash(): void {
    const { arena } = this.#core;
    const { at, count, length } = this.#sample!.set;
    if (this.#options.metric === "euclidean") {
      let sum = 0;
      const some = Math.min(count, 256);
      for (let i = 0; i < some; i++) {
        const values = this.#hasher!.project(at + i * length * 4);
        sum += values.reduce((squares, value) => squares + value * value, 0) / values.length;
      }
      const width = STEP_DEVIATIONS * Math.sqrt(sum / Math.max(1, some)) || 1;
      const hasher = new Hasher(this.#core, { ...this.#header!, width });
      this.#hasher!.release();
      this.#hasher = hasher;
      this.#header = { ...this.#header!, width };
    }
    this.#at = arena.allocate(lshBytes(this.#header!));
    arena.u8.copyWithin(this.#at, this.#sample!.centre, this.#sample!.centre + length * 4);
    this.#sample!.release();
    this.#sample = undefined;
    this.#bad = new Set(this.quarantined);
    this.#turn("hash");
  }

  #hash({ from, to }: { readonly from: number; readonly to: number }): void {
    const header = this.#header!;
    const hasher = this.#hasher!;
    hasher.space.forEachPiece(this.#options.rows, { from, to, centre: this.#at }, ({ at, first, count }) => {
      for (let i = 0; i < count; i++) {
        if (this.#bad.has(first + i)) continue;
        const projections = hasher.project(at + i * hasher.space.bytes);
        for (let table = 0; table < header.tables; table++) {
          const { keys, rows } = tableAt(this.#core, header, this.#at, table);
          keys[this.#placed] = hasher.keyOf(projections, table);
          rows[this.#placed] = first + i;
        }
        this.#placed++;
      }
    });
  }

  #sort(table: number): void {
    const { keys, rows } = tableAt(this.#core, this.#header!, this.#at, table);
    const both = Float64Array.from(keys, (key, i) => key * MAX_HASHED_ROWS + rows[i]!).sort();
    for (const [i, pair] of both.entries()) {
      keys[i] = Math.floor(pair / MAX_HASHED_ROWS);
      rows[i] = pair % MAX_HASHED_ROWS;
    }
  }

  finish(): LshTables {
    const [header, hasher] = [this.#header, this.#hasher];
    if (this.#phase !== "done" || header === undefined || hasher === undefined)
      throw new Error("the index is not complete yet");
    const tables = new LshTables(this.#core, header, this.#at, hasher);
    this.#at = 0;
    this.#hasher = undefined;
    return tables;
  }

  abandon(): void {
    if (this.#at !== 0) this.#core.arena.free(this.#at);
    this.#at = 0;
    this.#sample?.release();
    this.#hasher?.release();
    this.#sample = this.#hasher = undefined;
  }
}
