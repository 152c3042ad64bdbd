// Builds a FLAT index in slices: over float32 rows (those in the arena are used in place), or over u8 codes.

import type { Pointer } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { chooseMap, codeStride, encodeRows, type Int8Map } from "../quantize/int8.ts";
import { FlatCodes, FlatScan } from "./flat-index.ts";
import { ROWS_PER_INSERT } from "./limits.ts";
import { forEachPiece } from "./row-pieces.ts";
import { RowSurvey } from "./row-survey.ts";
import { type IndexBuilder, type Rows, residentRows, rowStride, type SegmentIndex } from "./segment-index.ts";

export class FlatBuilder implements IndexBuilder {
  readonly #core: VectorCore;
  readonly #rows: Rows;
  readonly #metric: Metric;
  readonly #quantizer: "int8" | "none";
  readonly #survey: RowSurvey;
  #phase: "survey" | "copy" | "done" = "survey";
  #at = 0;
  #map: Int8Map | undefined;
  #target: Pointer | undefined;

  constructor(core: VectorCore, options: { rows: Rows; metric: Metric; quantizer: "int8" | "none" }) {
    this.#core = core;
    this.#rows = options.rows;
    this.#metric = options.metric;
    this.#quantizer = options.quantizer;
    this.#survey = new RowSurvey(core, options.rows, options.metric);
    if (options.rows.count === 0) this.#turn();
  }

  get quarantined(): readonly number[] {
    return this.#survey.quarantined;
  }

  get progress(): number {
    if (this.#phase === "done") return 1;
    return (this.#phase === "survey" ? 0 : 0.5) + this.#at / (2 * this.#rows.count);
  }

  needs({ rows }: { readonly rows: number }): { readonly from: number; readonly to: number } {
    if (this.#phase === "done") return { from: 0, to: 0 };
    return { from: this.#at, to: Math.min(this.#rows.count, this.#at + rows * ROWS_PER_INSERT) };
  }

  step(budget: { readonly rows: number }): boolean {
    if (this.#phase === "done") return true;
    const range = this.needs({ rows: Math.max(1, budget.rows) });
    if (this.#phase === "survey") this.#survey.look(range.from, range.to);
    else this.#copy(range);
    this.#at = range.to;
    if (this.#at === this.#rows.count) this.#turn();
    return this.#phase === ("done" as string);
  }

  /** Goes on to the next phase. */
  #turn(): void {
    const { count, dimension, resident } = this.#rows;
    this.#at = 0;
    if (this.#phase === "copy" || (this.#quantizer === "none" && resident !== undefined)) {
      this.#phase = "done";
      return;
    }
    if (this.#quantizer === "int8")
      this.#map = chooseMap(this.#metric, dimension, this.#survey.found, this.#survey.sample);
    const stride = this.#map === undefined ? rowStride(dimension) : codeStride(this.#map);
    this.#target = this.#core.arena.allocate(count * stride);
    this.#phase = count === 0 ? "done" : "copy";
  }

  #copy(range: { readonly from: number; readonly to: number }): void {
    const stride = rowStride(this.#rows.dimension);
    const map = this.#map;
    const target = this.#target!;
    if (map === undefined) {
      this.#rows.read(range.from, range.to - range.from, target + range.from * stride);
      return;
    }
    forEachPiece(this.#core, this.#rows, range, ({ at, first, count }) => {
      encodeRows(this.#core, map, { at, stride, count, into: target + first * codeStride(map) });
    });
  }

  finish(): SegmentIndex {
    if (this.#phase !== "done") throw new Error("the index is not complete yet");
    const { count, dimension, resident } = this.#rows;
    const [map, target] = [this.#map, this.#target];
    if (map !== undefined && target !== undefined) {
      const index = new FlatCodes(this.#core, { codes: target, count, map, quarantined: this.quarantined });
      this.#target = undefined;
      return index;
    }
    this.#target = undefined;
    const own = target === undefined ? (resident ?? []) : [{ at: target, count }];
    return new FlatScan(this.#core, residentRows(dimension, own), target);
  }

  abandon(): void {
    if (this.#target !== undefined) this.#core.arena.free(this.#target);
    this.#target = undefined;
  }
}
