// Builds an index over reduced rows, in slices: takes a sample, learns the axes (or draws them), builds the index over the reduced rows, and
// measures what it finds of the true nearest. Guarantees: the same rows and seed give the same index; `abandon` gives all memory back.

import type { Pointer } from "../arena.ts";
import { forEachPiece } from "../index/row-pieces.ts";
import { type IndexBuilder, type PreparedQuery, type Rows, rowStride } from "../index/segment-index.ts";
import { METRIC_CODES, type VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { inverseNormOf } from "../query.ts";
import { rerank } from "../rerank.ts";
import { trainPca } from "./pca.ts";
import { type Fineness, Projection, ReducedIndex, reducedRows } from "./reduced-index.ts";
import { type Reduction, randomReduction } from "./reduction.ts";

export interface ReducedSpec {
  readonly kind: Reduction["kind"];
  /** Values of a reduced vector. */
  readonly dimensions: number;
}

export interface ReducedBuilderOptions {
  readonly rows: Rows;
  readonly metric: Metric;
  readonly spec: ReducedSpec;
  readonly fineness: Fineness;
  readonly seed?: number | undefined;
  /** A builder of the index inside, over reduced rows. */
  readonly inner: (rows: Rows) => IndexBuilder;
}

/** Rows of the sample: at most so many, and so many bytes, but twice as many as there are axes. */
const SAMPLE_ROWS = 4096;
const SAMPLE_BYTES = 8 * 1024 * 1024;
/** Rows of the segment that are asked for their nearest, and how many of these count. */
const ASKED = 16;
const NEAREST = 10;
/** Rows compared with all that ask, for one that a builder inserts. */
const ROWS_PER_STEP = 16;

export class ReducedBuilder implements IndexBuilder {
  readonly #core: VectorCore;
  readonly #options: ReducedBuilderOptions;
  readonly #work: Generator<void, ReducedIndex>;
  #inner: IndexBuilder | undefined;
  #quarantined: readonly number[] = [];
  #index: ReducedIndex | undefined;
  #isMeasuring = false;
  #budgetRows = 1;

  constructor(core: VectorCore, options: ReducedBuilderOptions) {
    this.#core = core;
    this.#options = options;
    this.#work = this.#build();
  }

  get quarantined(): readonly number[] {
    return this.#inner?.quarantined ?? this.#quarantined;
  }

  get progress(): number {
    if (this.#index) return 1;
    return this.#isMeasuring ? 0.95 : (this.#inner?.progress ?? 0) * 0.95;
  }

  needs(budget: { readonly rows: number }): { readonly from: number; readonly to: number } {
    return this.#inner?.needs(budget) ?? { from: 0, to: this.#options.rows.count };
  }

  step({ rows }: { readonly rows: number }): boolean {
    this.#budgetRows = Math.max(1, rows);
    if (this.#index) return true;
    const step = this.#work.next();
    if (step.done) this.#index = step.value;
    return step.done === true;
  }

  finish(): ReducedIndex {
    const index = this.#index;
    if (!index) throw new Error("the index is not complete yet");
    this.#index = undefined;
    return index;
  }

  abandon(): void {
    this.#work.return(undefined as never);
    this.#index?.release();
    this.#index = undefined;
  }

  *#build(): Generator<void, ReducedIndex> {
    const { rows, fineness, inner } = this.#options;
    const projection = new Projection(this.#core, yield* this.#reduction());
    /** Of what there is so far. */
    let release = (): void => projection.release();
    try {
      const builder = inner(reducedRows(this.#core, rows, projection));
      this.#inner = builder;
      release = () => {
        builder.abandon();
        projection.release();
      };
      while (!builder.step({ rows: this.#budgetRows })) yield;
      this.#quarantined = builder.quarantined;
      this.#inner = undefined;
      const index = new ReducedIndex(this.#core, { inner: builder.finish(), projection, fineness });
      release = () => index.release();
      yield* this.#measure(index);
      release = () => undefined;
      return index;
    } finally {
      release();
    }
  }

  *#reduction(): Generator<void, Reduction> {
    const { rows, metric, spec, seed = 1 } = this.#options;
    const [from, to] = [rows.dimension, spec.dimensions];
    if (spec.kind === "random") return randomReduction({ from, to, seed });
    const most = Math.max(2 * to, Math.floor(SAMPLE_BYTES / rowStride(from)));
    const planned = Math.min(rows.count, SAMPLE_ROWS, most);
    const at = this.#core.arena.allocate(planned * rowStride(from), { zeroed: true });
    try {
      const count = yield* this.#sample(at, planned);
      return yield* trainPca(
        this.#core,
        { at, count, dimension: from },
        { to, seed, isCentred: metric === "euclidean" },
      );
    } finally {
      this.#core.arena.free(at);
    }
  }

  /** Rows at even distances; those that cannot be compared are left out. Under cosine of length 1, as they are compared. */
  *#sample(at: Pointer, planned: number): Generator<void, number> {
    const { arena, kernels } = this.#core;
    const { rows, metric } = this.#options;
    const stride = rowStride(rows.dimension);
    let count = 0;
    for (let place = 0; place < planned; place++) {
      const row = Math.floor((place * rows.count) / planned);
      const into = at + count * stride;
      forEachPiece(this.#core, rows, { from: row, to: row + 1 }, (piece) => {
        arena.u8.copyWithin(into, piece.at, piece.at + stride);
      });
      const squaredNorm = kernels.squaredNorm(into, stride);
      if (place % 32 === 31) yield;
      if (!Number.isFinite(squaredNorm) || (metric === "cosine" && squaredNorm === 0)) continue;
      const values = arena.floats(into, rows.dimension);
      const factor = 1 / Math.sqrt(squaredNorm);
      if (metric === "cosine") for (let i = 0; i < values.length; i++) values[i]! *= factor;
      count++;
    }
    return count;
  }

  /** Rows of the segment are asked for: which of their true nearest are found, they themselves not counted. */
  *#measure(index: ReducedIndex): Generator<void, void> {
    this.#isMeasuring = true;
    const { arena } = this.#core;
    const { rows, metric } = this.#options;
    const stride = rowStride(rows.dimension);
    const asked = Math.min(ASKED, rows.count);
    const k = Math.min(NEAREST + 1, rows.count);
    const heapBytes = Math.ceil((16 + k * 8) / 16) * 16;
    if (k < 2) return;
    const at = arena.allocate(asked * (stride + heapBytes), { zeroed: true });
    try {
      const queries = Array.from({ length: asked }, (_, place): Asked => {
        const row = Math.floor(((place + 0.5) * rows.count) / asked);
        return { row, values: at + place * stride, heap: at + asked * stride + place * heapBytes };
      });
      for (const { row, values } of queries)
        forEachPiece(this.#core, rows, { from: row, to: row + 1 }, (piece) => {
          arena.u8.copyWithin(values, piece.at, piece.at + stride);
        });
      const prepared = queries.flatMap(({ row, values, heap }): Prepared[] => {
        const squaredNorm = this.#core.kernels.squaredNorm(values, stride);
        if (!Number.isFinite(squaredNorm)) return [];
        return [{ row, heap, query: { metric, dimension: rows.dimension, values, squaredNorm } }];
      });
      yield* this.#compareAll(prepared, k);
      let [found, wanted] = [0, 0];
      for (const one of prepared) {
        const truth = this.#truth(one);
        found += this.#hits(index, one, { k, truth });
        wanted += truth.size;
        yield;
      }
      if (wanted > 0) index.measured(found / wanted);
    } finally {
      arena.free(at);
    }
  }

  *#compareAll(queries: readonly Prepared[], k: number): Generator<void, void> {
    const { kernels } = this.#core;
    const { rows } = this.#options;
    const stride = rowStride(rows.dimension);
    for (let from = 0; from < rows.count; ) {
      const to = Math.min(rows.count, from + this.#budgetRows * ROWS_PER_STEP);
      forEachPiece(this.#core, rows, { from, to }, ({ at, first, count }) => {
        for (const { query, heap } of queries) {
          const metric = METRIC_CODES[query.metric];
          kernels.scanFloat(metric, query.values, inverseNormOf(query), at, stride, first, count, 0, 0, heap, k);
        }
      });
      from = to;
      yield;
    }
  }

  /** The nearest of a row, itself left out. */
  #truth({ row, heap }: Prepared): ReadonlySet<number> {
    const { arena } = this.#core;
    const size = arena.u32[heap / 4]!;
    const truth = new Set(Array.from({ length: size }, (_, i) => arena.u32[heap / 4 + 4 + i * 2]!));
    truth.delete(row);
    return truth;
  }

  #hits(
    index: ReducedIndex,
    { query }: Prepared,
    { k, truth }: { readonly k: number; readonly truth: ReadonlySet<number> },
  ): number {
    const found = index.search(query, { k, effort: {} });
    const ranked = rerank(this.#core, { query, rows: this.#options.rows, found, k });
    return ranked.rows.filter((other) => truth.has(other)).length;
  }
}

interface Asked {
  readonly row: number;
  readonly values: Pointer;
  readonly heap: Pointer;
}

interface Prepared {
  readonly row: number;
  readonly heap: Pointer;
  readonly query: PreparedQuery;
}
