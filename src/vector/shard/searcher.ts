// The nearest rows of a shard: every segment is asked in its own way, candidates are re-ranked by their float32 values, the best are kept.
// Guarantees: no deleted row, no row that the filter does not let through; distances are exact. Must not: change anything.
import type { Pointer } from "../arena.ts";
import type { Filter } from "../filter/filter.ts";
import { FlatScan } from "../index/flat-index.ts";
import {
  bitmapBytes,
  type Effort,
  type Found,
  type PreparedQuery,
  residentRows,
  type SearchAsk,
} from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import type { BitSet } from "../metadata/bit-set.ts";
import type { Metric } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { type Ranked, rerank } from "../rerank.ts";
import { AwayGathering } from "../segment/away.ts";
import type { Segment } from "../segment/segment.ts";
import { nearestCandidates } from "./candidates.ts";
import { FreshSegment } from "./fresh-segment.ts";
import { KeptSelections, selectRows } from "./selections.ts";
import { rowsOf, type ShardIndexes } from "./shard-indexes.ts";
import type { Located, VectorStore } from "./vector-store.ts";

export interface SearchRequest {
  /** The query's values: `dimension` of them. */
  readonly values: ArrayLike<number>;
  readonly k: number;
  readonly filter?: Filter | undefined;
  readonly effort: Effort;
  /** Name of the index to ask. */
  readonly index: string;
}

export interface Hit extends Located {
  readonly distance: number;
}

/** What one segment did, for `explain`. */
export interface SegmentPlan {
  readonly segment: "fresh" | number;
  readonly rows: number;
  readonly plan: Found["plan"] | "skipped";
  /** The index that answered for the one asked, which is not built here yet. */
  readonly index?: string;
  /** Rows that the filter lets through; absent without a filter. */
  readonly matching?: number;
  readonly scanned: number;
}

export interface SearchResult {
  /** Nearest first. */
  readonly hits: readonly Hit[];
  /** Rows whose distance or metadata was looked at: what a search is charged for. */
  readonly scanned: number;
  readonly plans: readonly SegmentPlan[];
}

interface Asked {
  readonly segment: FreshSegment | Segment;
  readonly found: Found;
  readonly plan: SegmentPlan;
}

export interface SearcherOptions {
  readonly core: VectorCore;
  readonly store: VectorStore;
  readonly indexes: ShardIndexes;
  readonly metric: Metric;
  readonly dimension: number;
}

/** Rows that may be given, in the arena, and how many they are. */
interface Allowed {
  readonly allowed?: Pointer;
  readonly matching?: number;
  readonly judged: number;
}

export class Searcher {
  readonly #options: SearcherOptions;
  readonly #query: QuerySlot;
  readonly #selections = new KeptSelections();

  constructor(options: SearcherOptions) {
    this.#options = options;
    const { core, metric, dimension } = options;
    this.#query = core.arena.withoutBudget(() => new QuerySlot(core, metric, dimension));
  }

  /** Gives its memory back. */
  release(): void {
    this.#query.release();
  }

  /** Reads go on where writes do not fit: scratch is bounded by rows, not by the budget. @throws CorruptSegment, AwayBlocks */
  search(request: SearchRequest): SearchResult {
    return this.#options.core.arena.withoutBudget(() => this.#search(request));
  }

  #search(request: SearchRequest): SearchResult {
    const query = this.#query.prepare(request.values);
    const key = request.filter ? JSON.stringify(request.filter) : "";
    const hits: Hit[] = [];
    const plans: SegmentPlan[] = [];
    const asked: Asked[] = [];
    const away = new AwayGathering();
    for (const segment of this.#options.store.segments) {
      if (segment.liveCount === 0) continue;
      const one = away.try(() => this.#ask(segment, { ...request, key }, query));
      if (!one) continue;
      asked.push(one);
      plans.push(one.plan);
    }
    const kept = nearestCandidates(
      asked.map(({ found }) => found),
      request.k,
    );
    for (const [at, { segment }] of asked.entries()) {
      const ranked = away.try(() => this.#ranked(segment, kept[at]!, query, request.k));
      if (!ranked) continue;
      const { rows, distances } = ranked;
      for (let row = 0; row < rows.length; row++) hits.push({ segment, row: rows[row]!, distance: distances[row]! });
    }
    away.end();
    // Stable: of equal distances the newer segment, in it the lower row.
    hits.sort((a, b) => a.distance - b.distance);
    hits.length = Math.min(hits.length, request.k);
    return { hits, scanned: plans.reduce((sum, { scanned }) => sum + scanned, 0), plans };
  }

  #ask(
    segment: FreshSegment | Segment,
    request: SearchRequest & { readonly key: string },
    query: PreparedQuery,
  ): Asked {
    const name = segment instanceof FreshSegment ? ("fresh" as const) : segment.number;
    const { allowed, matching, judged } = this.#allow(segment, request);
    const common = { segment: name, rows: segment.liveCount, ...(matching !== undefined && { matching }) };
    if (matching === 0) {
      const none = { rows: new Uint32Array(0), distances: new Float32Array(0) };
      const found: Found = { ...none, isExact: true, scanned: judged, plan: "scan" };
      return { segment, found, plan: { ...common, plan: "skipped", scanned: judged } };
    }
    const isWhole = segment.liveCount === segment.rowCount;
    const deleted = isWhole ? 0 : this.#copy("deletedRows", segment.deleted);
    const ask = { k: request.k, effort: request.effort, deleted, ...(allowed !== undefined && { allowed }) };
    const { found, instead } = this.#nearest(segment, request.index, query, ask);
    const did = { plan: found.plan, scanned: found.scanned + judged, ...(instead !== undefined && { index: instead }) };
    return { segment, found, plan: { ...common, ...did } };
  }

  #allow(segment: FreshSegment | Segment, { filter, key }: SearchRequest & { readonly key: string }): Allowed {
    if (!filter) return { judged: 0 };
    const { rows, judged } =
      segment instanceof FreshSegment ? selectRows(filter, segment) : this.#selections.select(filter, key, segment);
    return { allowed: this.#copy("allowedRows", rows), matching: rows.copy().drop(segment.deleted).size, judged };
  }

  #copy(slot: "allowedRows" | "deletedRows", rows: BitSet): Pointer {
    const { workspace, arena } = this.#options.core;
    const at = workspace.reserve(slot, bitmapBytes(rows.count));
    arena.words(at, bitmapBytes(rows.count) / 4).fill(0);
    arena.words(at, rows.words.length).set(rows.words);
    return at;
  }

  #nearest(
    segment: FreshSegment | Segment,
    asked: string,
    query: PreparedQuery,
    ask: SearchAsk,
  ): { readonly found: Found; readonly instead?: string } {
    const { core, indexes, dimension } = this.#options;
    if (segment instanceof FreshSegment) {
      const scan = new FlatScan(core, residentRows(dimension, segment.extents));
      return { found: scan.search(query, ask) };
    }
    const { index, instead } = indexes.of(segment, asked);
    return { found: index.search(query, ask), ...(instead !== undefined && { instead }) };
  }

  #ranked(segment: FreshSegment | Segment, found: Found, query: PreparedQuery, k: number): Ranked {
    const { core } = this.#options;
    if (found.isExact || segment instanceof FreshSegment) return found;
    return rerank(core, { query, rows: rowsOf(core, segment), found, k });
  }
}
