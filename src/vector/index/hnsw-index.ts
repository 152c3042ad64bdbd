// An HNSW graph over the rows of a segment: its search, with and without filter, and what is saved of it.
// Guarantees: never gives a row that is deleted or not allowed; few matching rows are scanned instead of walked to, so that recall
// holds at any selectivity. Must not: build (hnsw-builder.ts) or trust saved bytes (hnsw-format.ts).

import type { Pointer } from "../arena.ts";
import { KEY_FORMS, type VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { type EncodedQuery, encodeQuery, slackOf } from "../quantize/int8.ts";
import { floatQuery } from "./float-form.ts";
import { metricOf, type VectorForm } from "./form-header.ts";
import { hnswSections } from "./hnsw-format.ts";
import type { HnswGraph } from "./hnsw-graph.ts";
import {
  DEFAULT_EF,
  MAX_EF,
  MAX_SPARSE_WIDENING,
  MIN_WALK_ROWS,
  SCAN_ROWS_PER_EF,
  SPARSE_BELOW_SHARE,
  WALK_BUDGET_SHARE,
} from "./limits.ts";
import { readPool, type Wanted, wantedFor } from "./pool.ts";
import { Quarantine } from "./quarantine.ts";
import type { Found, IndexSection, PreparedQuery, SearchAsk, SegmentIndex } from "./segment-index.ts";

interface Walk {
  readonly query: EncodedQuery;
  readonly ef: number;
  /** Live rows that must be found at least. */
  readonly least: number;
  readonly wanted: Wanted;
  /** Candidates are estimates, and nobody said how many are to be measured. */
  readonly isLoose: boolean;
  readonly live: number;
  readonly allowed: Pointer;
  readonly deleted: Pointer;
}

export class HnswIndex implements SegmentIndex {
  readonly kind = "HNSW";
  readonly #core: VectorCore;
  readonly graph: HnswGraph;
  readonly form: VectorForm;
  readonly #quarantine: Quarantine;

  /** Takes the graph over. @throws ArenaFull */
  constructor(core: VectorCore, graph: HnswGraph, form: VectorForm, quarantined: readonly number[] = []) {
    this.#core = core;
    this.graph = graph;
    this.form = form;
    this.#quarantine = new Quarantine(core, graph.shape.rows, quarantined);
  }

  /** Rows that are in no list of links. */
  get quarantined(): readonly number[] {
    return this.#quarantine.rows;
  }

  get count(): number {
    return this.graph.shape.rows;
  }

  get metric(): Metric {
    return metricOf(this.form);
  }

  get memoryBytes(): number {
    return this.graph.memoryBytes + this.#quarantine.memoryBytes;
  }

  search(query: PreparedQuery, { k, effort, allowed = 0, deleted: gone = 0 }: SearchAsk): Found {
    const { kernels } = this.#core;
    const deleted = this.#quarantine.join(gone);
    const live = kernels.countLive(allowed, deleted, this.count);
    const encoded =
      this.form.quantizer === "int8"
        ? encodeQuery(this.#core, this.form.map, query)
        : floatQuery(this.#core, this.form, query);
    const isEstimate = this.form.quantizer === "int8" && !encoded.isExact;
    const wanted = wantedFor(this.#core, { k, rerank: effort.rerank, live, isEstimate });
    const least = Math.min(k, live);
    const isLoose = isEstimate && effort.rerank === undefined;
    const walk = { query: encoded, ef: 0, least, wanted, isLoose, live, allowed, deleted };
    if (least === 0) return this.#found(walk, { size: 0, scanned: 0, plan: "scan" });
    const asked = Math.max(effort.ef ?? DEFAULT_EF[this.metric], k, effort.rerank ?? 0);
    return this.#walk({ ...walk, ef: asked });
  }

  #walk(walk: Walk): Found {
    const { query, least, live, allowed, deleted } = walk;
    const share = live / this.count;
    const way = share === 1 ? "open" : share < SPARSE_BELOW_SHARE ? "sparse" : "among";
    const widening = way === "sparse" ? Math.min(MAX_SPARSE_WIDENING, Math.sqrt(SPARSE_BELOW_SHARE / share)) : 1;
    const ef = Math.ceil(walk.ef * widening);
    if (ef > MAX_EF || live <= Math.max(MIN_WALK_ROWS, ef * SCAN_ROWS_PER_EF[way])) return this.#scan(walk, 0);
    const { kernels, workspace, arena } = this.#core;
    const { shape, at } = this.graph;
    const keys = Math.max(ef, 512) * (way === "open" ? 1 : 4);
    const scratch = workspace.forWalk({ rows: shape.rows, keys, codeBytes: shape.stride });
    const isFloat = this.form.quantizer === "none" ? 1 : 0;
    if (way === "open") {
      const size = kernels.hnswSearch(at, scratch, isFloat, query.at, ef);
      if (size < least) return this.#scan(walk, this.graph.scored);
      return this.#found(walk, { size, scanned: this.graph.scored, plan: "walk", pool: scratch });
    }
    const budget = Math.floor(live * WALK_BUDGET_SHARE);
    const out = workspace.reserve("out", 16);
    const search = way === "among" ? kernels.hnswSearchAmong : kernels.hnswSearchSparse;
    const size = search(at, scratch, isFloat, query.at, ef, allowed, deleted, budget, out);
    const work = arena.words(out, 1)[0]!;
    if (work > budget || size < least) return this.#scan(walk, work);
    return this.#found(walk, { size, scanned: work, plan: "filtered-walk", pool: scratch });
  }

  /** All live rows, over the vectors of the graph. */
  #scan(walk: Walk, workBefore: number): Found {
    const { query, wanted, allowed, deleted } = walk;
    const { kernels, workspace, arena } = this.#core;
    const { shape, parts } = this.graph;
    const heap = workspace.reserve("heap", 16 + wanted.most * 8);
    arena.u32[heap / 4] = 0;
    const { stride, rows } = shape;
    const scanned =
      this.form.quantizer === "int8"
        ? kernels.scanCodes(query.at, parts.vectors, stride, 0, rows, allowed, deleted, heap, wanted.most)
        : kernels.scanFloat(0, query.at, 0, parts.vectors, stride, 0, rows, allowed, deleted, heap, wanted.most);
    kernels.heapSort(heap);
    const plan = workBefore > 0 ? "walk-then-scan" : "scan";
    return this.#found(walk, { size: arena.u32[heap / 4]!, scanned: scanned + workBefore, plan, heap });
  }

  #found(
    { query, wanted, isLoose }: Walk,
    from: { size: number; scanned: number; plan: Found["plan"]; pool?: Pointer; heap?: Pointer },
  ): Found {
    const { size, scanned, plan, pool, heap } = from;
    const isCodes = this.form.quantizer === "int8";
    const keys = pool === undefined ? (heap ?? 0) + 16 : this.#core.arena.u32[pool / 4 + 3]!;
    const form = isCodes ? KEY_FORMS.integer : pool === undefined ? KEY_FORMS.ordered : KEY_FORMS.float;
    const count = size === 0 ? 0 : wanted.given(keys, size);
    const shift = pool === undefined ? 0 : 1;
    const { rows, distances } = readPool(this.#core, { keys, count, shift, form, ...query });
    const found = { rows, distances, isExact: query.isExact, scanned, plan };
    return isLoose ? { ...found, slack: slackOf(query) } : found;
  }

  save(): readonly IndexSection[] {
    return hnswSections(this.#core.arena, this);
  }

  release(): void {
    this.graph.release();
    this.#quarantine.release();
  }
}
