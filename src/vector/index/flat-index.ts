// FLAT: every live row is compared. Over float32 rows it is exact; over u8 codes it gives candidates for the re-rank (and is exact
// too where codes are the rows).
// Must not: own float32 rows that lie in the arena already.

import type { Pointer } from "../arena.ts";
import { KEY_FORMS, METRIC_CODES, type VectorCore } from "../kernels.ts";
import { codeStride, encodeQuery, type Int8Map, slackOf } from "../quantize/int8.ts";
import { inverseNormOf } from "../query.ts";
import { numbersFrom } from "../segment/away.ts";
import { flatSections } from "./flat-format.ts";
import { readPool, wantedFor } from "./pool.ts";
import { Quarantine } from "./quarantine.ts";
import { forEachPiece } from "./row-pieces.ts";
import {
  type Found,
  type IndexSection,
  type PreparedQuery,
  type Rows,
  rowStride,
  type SearchAsk,
  type SegmentIndex,
} from "./segment-index.ts";

/** An exact scan of float32 rows, in the arena or read in pieces. Also what the fresh segment is searched with. */
export class FlatScan implements SegmentIndex {
  readonly kind = "FLAT";
  readonly #core: VectorCore;
  readonly #rows: Rows;
  readonly #owned: Pointer | undefined;

  /** `owned`: an extent that goes with it. */
  constructor(core: VectorCore, rows: Rows, owned?: Pointer) {
    this.#core = core;
    this.#rows = rows;
    this.#owned = owned;
  }

  get count(): number {
    return this.#rows.count;
  }

  get memoryBytes(): number {
    return this.#owned === undefined ? 0 : this.count * rowStride(this.#rows.dimension);
  }

  search(query: PreparedQuery, { k, allowed = 0, deleted = 0 }: SearchAsk): Found {
    const { kernels, workspace, arena } = this.#core;
    const most = Math.min(k, this.count);
    const empty = { rows: new Uint32Array(0), distances: new Float32Array(0) };
    if (most === 0) return { ...empty, isExact: true, scanned: 0, plan: "scan" };
    this.#rows.require?.(numbersFrom(0, this.count));
    const heap = workspace.reserve("heap", 16 + most * 8);
    arena.u32[heap / 4] = 0;
    const stride = rowStride(this.#rows.dimension);
    const [metric, inverse] = [METRIC_CODES[query.metric], inverseNormOf(query)];
    let scanned = 0;
    forEachPiece(this.#core, this.#rows, { from: 0, to: this.count }, ({ at, first, count }) => {
      scanned += kernels.scanFloat(
        metric,
        query.values,
        inverse,
        at,
        stride,
        first,
        count,
        allowed,
        deleted,
        heap,
        most,
      );
    });
    kernels.heapSort(heap);
    const read = { keys: heap + 16, count: arena.u32[heap / 4]!, shift: 0, form: KEY_FORMS.ordered };
    const found = readPool(this.#core, { ...read, scale: 1, offset: 0 });
    return { ...found, isExact: true, scanned, plan: "scan" };
  }

  /**
   * Rows from row `from` to `to - 1` within a distance, in row order, at most `capacity`. Go on at `next`; undefined = these were all.
   */
  within(
    query: PreparedQuery,
    ask: { most: number; from: number; to?: number; capacity: number; allowed?: Pointer; deleted?: Pointer },
  ): { readonly rows: Uint32Array; readonly distances: Float32Array; readonly next: number | undefined } {
    const { kernels, workspace, arena } = this.#core;
    const { most, from, to = this.count, capacity, allowed = 0, deleted = 0 } = ask;
    this.#rows.require?.(numbersFrom(from, to));
    const out = workspace.reserve("out", capacity * 8);
    const stride = rowStride(this.#rows.dimension);
    const [metric, inverse] = [METRIC_CODES[query.metric], inverseNormOf(query)];
    let found = 0;
    forEachPiece(this.#core, this.#rows, { from, to }, ({ at, first, count }) => {
      if (found === capacity) return;
      found += kernels.scanWithin(
        metric,
        query.values,
        inverse,
        at,
        stride,
        first,
        count,
        first,
        allowed,
        deleted,
        most,
        out + found * 4,
        out + (capacity + found) * 4,
        capacity - found,
      );
    });
    const rows = arena.words(out, found).slice();
    const distances = arena.floats(out + capacity * 4, found).slice();
    const last = rows.at(-1);
    const next = found === capacity && last !== undefined && last + 1 < to ? last + 1 : undefined;
    return { rows, distances, next };
  }

  /** Nothing: the segment has the rows. */
  save(): readonly IndexSection[] {
    return [];
  }

  release(): void {
    if (this.#owned !== undefined) this.#core.arena.free(this.#owned);
  }
}

/** A scan of u8 codes: a quarter of the memory, for candidates. */
export class FlatCodes implements SegmentIndex {
  readonly kind = "FLAT";
  readonly #core: VectorCore;
  readonly codes: Pointer;
  readonly count: number;
  readonly map: Int8Map;
  readonly #quarantine: Quarantine;

  /** Takes the codes over. @throws ArenaFull */
  constructor(core: VectorCore, from: { codes: Pointer; count: number; map: Int8Map; quarantined: readonly number[] }) {
    this.#core = core;
    this.codes = from.codes;
    this.count = from.count;
    this.map = from.map;
    this.#quarantine = new Quarantine(core, from.count, from.quarantined);
  }

  get memoryBytes(): number {
    return this.count * codeStride(this.map) + this.#quarantine.memoryBytes;
  }

  search(query: PreparedQuery, { k, effort, allowed = 0, deleted: gone = 0 }: SearchAsk): Found {
    const { kernels, workspace, arena } = this.#core;
    const deleted = this.#quarantine.join(gone);
    const encoded = encodeQuery(this.#core, this.map, query);
    const ask = { k, rerank: effort.rerank, live: this.count, isEstimate: !encoded.isExact };
    const { most, given } = wantedFor(this.#core, ask);
    const heap = workspace.reserve("heap", 16 + most * 8);
    arena.u32[heap / 4] = 0;
    const stride = codeStride(this.map);
    const scanned =
      most === 0 ? 0 : kernels.scanCodes(encoded.at, this.codes, stride, 0, this.count, allowed, deleted, heap, most);
    kernels.heapSort(heap);
    const count = given(heap + 16, arena.u32[heap / 4]!);
    const read = { keys: heap + 16, count, shift: 0, form: KEY_FORMS.integer };
    const { rows, distances } = readPool(this.#core, { ...read, ...encoded });
    const isLoose = !encoded.isExact && effort.rerank === undefined;
    const found = { rows, distances, isExact: encoded.isExact, scanned, plan: "scan" } as const;
    return isLoose ? { ...found, slack: slackOf(encoded) } : found;
  }

  save(): readonly IndexSection[] {
    const { codes, count, map } = this;
    const form = { quantizer: "int8", map } as const;
    return flatSections(this.#core.arena, { form, rows: count, codes, quarantined: this.#quarantine.rows });
  }

  release(): void {
    this.#quarantine.release();
    this.#core.arena.free(this.codes);
  }
}
