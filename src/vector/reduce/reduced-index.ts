// An index over reduced rows: queries are reduced as its rows were; what it finds are candidates for the re-rank by the values as they were.
// Guarantees: `isExact` is never said of distances between reduced vectors. Must not: know how an index compares.

import type { Pointer } from "../arena.ts";
import { bytesSection } from "../index/sections.ts";
import {
  type Effort,
  type Found,
  type IndexLoader,
  type IndexSection,
  type PreparedQuery,
  type Rows,
  rowStride,
  type SearchAsk,
  type SegmentIndex,
} from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { type Reduction, writeReduction } from "./reduction.ts";

/** The section of an index that holds its reduction. */
export const REDUCTION_SECTION = "reduction";

/** Candidates that a search re-ranks which does not say it: at least so many, and so many times k. */
const CANDIDATES = { fine: { least: 100, perK: 4 }, coarse: { least: 200, perK: 10 } } as const;
/** float32 rows that are read before they are reduced. Bytes. */
const READ_BYTES = 128 * 1024;

/** How near estimates in the reduced space are: `coarse` are 1-bit and product codes. */
export type Fineness = keyof typeof CANDIDATES;

/** A reduction in the arena, as the kernels take it. */
export class Projection {
  reduction: Reduction;
  readonly #core: VectorCore;
  readonly #stride: number;
  readonly #at: Pointer;
  readonly #bytes: number;

  /** @throws ArenaFull */
  constructor(core: VectorCore, reduction: Reduction) {
    const { from, to, mean, axes } = reduction;
    this.reduction = reduction;
    this.#core = core;
    this.#stride = rowStride(from);
    this.#bytes = (1 + rowStride(to) / 4) * this.#stride;
    this.#at = core.arena.allocate(this.#bytes, { zeroed: true });
    core.arena.floats(this.#at, from).set(mean);
    for (let axis = 0; axis < to; axis++) {
      const into = core.arena.floats(this.#at + (1 + axis) * this.#stride, from);
      into.set(axes.subarray(axis * from, (axis + 1) * from));
    }
  }

  get memoryBytes(): number {
    return this.#bytes;
  }

  /** Reduces rows of the arena, `rowStride` bytes apart before and after. */
  reduce(rows: Pointer, count: number, into: Pointer): void {
    const { arena, kernels } = this.#core;
    const [stride, outStride] = [this.#stride, rowStride(this.reduction.to)];
    kernels.reduceRows(rows, stride, count, this.#at, this.#at + stride, into, outStride);
    // A row at right angles to all axes has no direction left. It must be found all the same: any direction will do.
    for (let row = 0; row < count; row++) {
      const at = into + row * outStride;
      if (kernels.squaredNorm(at, outStride) === 0) arena.f32[at / 4] = Number.EPSILON;
    }
  }

  release(): void {
    this.#core.arena.free(this.#at);
  }
}

/** The rows of a segment as the index inside sees them. */
export function reducedRows(core: VectorCore, rows: Rows, projection: Projection): Rows {
  const stride = rowStride(rows.dimension);
  const outStride = rowStride(projection.reduction.to);
  const most = Math.max(1, Math.floor(READ_BYTES / stride));
  return {
    count: rows.count,
    dimension: projection.reduction.to,
    read(from, count, into) {
      for (let first = 0; first < count; first += most) {
        const some = Math.min(most, count - first);
        const at = core.workspace.reserve("reducing", some * stride);
        rows.read(from + first, some, at);
        projection.reduce(at, some, into + first * outStride);
      }
    },
  };
}

export class ReducedIndex implements SegmentIndex {
  readonly inner: SegmentIndex;
  readonly #core: VectorCore;
  readonly #projection: Projection;
  readonly #fineness: Fineness;

  /** Takes both over. */
  constructor(core: VectorCore, of: { inner: SegmentIndex; projection: Projection; fineness: Fineness }) {
    this.#core = core;
    this.inner = of.inner;
    this.#projection = of.projection;
    this.#fineness = of.fineness;
  }

  get kind(): SegmentIndex["kind"] {
    return this.inner.kind;
  }

  get count(): number {
    return this.inner.count;
  }

  get reduction(): Reduction {
    return this.#projection.reduction;
  }

  get memoryBytes(): number {
    return this.inner.memoryBytes + this.#projection.memoryBytes;
  }

  /** Memory that an index of whole rows would take more, by what it holds of a value. */
  savedBytes(bytesAValue: number): number {
    const { from, to } = this.reduction;
    return this.count * (from - to) * bytesAValue - this.#projection.memoryBytes;
  }

  /** What was measured after it was built. */
  measured(recall: number): void {
    this.#projection.reduction = { ...this.#projection.reduction, recall };
  }

  search(query: PreparedQuery, ask: SearchAsk): Found {
    const { workspace, kernels } = this.#core;
    const { to } = this.reduction;
    const stride = rowStride(to);
    const values = workspace.reserve("reducedQuery", stride);
    this.#projection.reduce(query.values, 1, values);
    const squaredNorm = kernels.squaredNorm(values, stride);
    const { k, effort } = this.#wider(ask);
    const found = this.inner.search(
      { metric: query.metric, dimension: to, values, squaredNorm },
      { ...ask, k, effort },
    );
    const { lowest: _, slack: __, ...candidates } = found;
    return { ...candidates, isExact: false };
  }

  /** Reduced distances have an order of their own: more candidates are asked for than there are results. */
  #wider({ k, effort }: SearchAsk): { readonly k: number; readonly effort: Effort } {
    const { least, perK } = CANDIDATES[this.#fineness];
    const candidates = Math.max(k, effort.rerank ?? Math.max(least, perK * k));
    return { k: k === 0 ? 0 : candidates, effort: { ...effort, rerank: candidates } };
  }

  save(): readonly IndexSection[] {
    return [...this.inner.save(), bytesSection(REDUCTION_SECTION, writeReduction(this.reduction))];
  }

  release(): void {
    this.inner.release();
    this.#projection.release();
  }
}

/** A loader of the index inside, whose rows are reduced by `projection`. */
export function reducedLoader(
  core: VectorCore,
  inner: IndexLoader,
  of: { readonly projection: Projection; readonly fineness: Fineness },
): IndexLoader {
  const { projection } = of;
  return {
    targets: inner.targets,
    finish() {
      try {
        return new ReducedIndex(core, { ...of, inner: inner.finish() });
      } catch (error) {
        projection.release();
        throw error;
      }
    },
    abandon() {
      inner.abandon();
      projection.release();
    },
  };
}
