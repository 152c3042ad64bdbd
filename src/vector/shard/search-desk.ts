// The searches of a shard's counter: judges them, answers them from what it remembers or by a search, within one message.
// Guarantees: what it remembers is of the rows as they are now. Must not: change rows.
import type {
  FoundAnswer,
  SearchRequest,
  ShardPlace,
  VectorHit,
  WithinAnswer,
  WithinRequest,
} from "../../wire/vector.ts";
import { invalid } from "../failure.ts";
import type { Effort } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { distanceOf, scoreOf } from "../metric.ts";
import { type AwayBlocks, AwayGathering, forAll, whenHere } from "../segment/away.ts";
import { AnswerBudget } from "./answer-budget.ts";
import { MAX_QUERIES, MAX_TOP_K } from "./limits.ts";
import { filterOf, tooMany } from "./request-fields.ts";
import { ResultCache } from "./result-cache.ts";
import { checkValues } from "./row-check.ts";
import { Searcher, type SegmentPlan } from "./searcher.ts";
import type { ShardConfig } from "./shard-config.ts";
import type { ShardIndexes } from "./shard-indexes.ts";
import { type Match, ThresholdScan } from "./threshold-scan.ts";
import type { VectorStore } from "./vector-store.ts";

export interface SearchDeskOptions {
  readonly core: VectorCore;
  readonly store: VectorStore;
  readonly indexes: ShardIndexes;
  readonly config: ShardConfig;
  /** Bytes of results that are remembered until the next write; 0 = none. */
  readonly resultCacheBytes: number;
}

export class SearchDesk {
  readonly #options: SearchDeskOptions;
  readonly #searcher: Searcher;
  readonly #thresholds: ThresholdScan;
  readonly results: ResultCache<readonly VectorHit[]>;
  #config: ShardConfig;

  /** @throws ArenaFull */
  constructor(options: SearchDeskOptions) {
    this.#options = options;
    const { metric, dimension } = options.config;
    this.#config = options.config;
    this.results = new ResultCache(options.resultCacheBytes);
    this.#searcher = new Searcher({ ...options, metric, dimension });
    this.#thresholds = new ThresholdScan({ ...options, metric, dimension });
  }

  /** Gives its memory back. */
  release(): void {
    this.#searcher.release();
  }

  reconfigure(config: ShardConfig): void {
    this.#config = config;
    this.results.clear();
  }

  get #place(): ShardPlace {
    const { term, revision } = this.#options.store;
    return { term, revision };
  }

  /** @throws VectorRefusal, ArenaFull, CorruptSegment */
  search(request: SearchRequest): FoundAnswer {
    const { queries, k, threshold, shown, explain } = request;
    if (k < 1 || k > MAX_TOP_K) throw tooMany("topK", k, MAX_TOP_K);
    if (queries.length > MAX_QUERIES) throw tooMany("queries", queries.length, MAX_QUERIES);
    const path = (at: number): string => (queries.length === 1 ? "queryVector" : `queries[${at}].queryVector`);
    const numbers = queries.map((query, at) => checkValues(query, this.#config, path(at)));
    const { metric, indexes } = this.#config;
    const asked = request.index;
    const spec =
      asked === ""
        ? indexes[0]!
        : (indexes.find(({ name }) => name === asked) ?? indexes.find(({ kind }) => kind === asked));
    if (!spec)
      throw invalid("index", `names no index of the database; there are ${indexes.map(({ name }) => name).join(", ")}`);
    const filter = filterOf(request.filter);
    const effort = { ...spec.effort, ...given({ ef: request.ef, probes: request.probes, rerank: request.rerank }) };
    const budget = new AnswerBudget();
    const plans: (readonly SegmentPlan[])[] = [];
    let [scanned, cached] = [0, 0];
    const isKept = this.results.isOn && !explain;
    const asks = isKept ? JSON.stringify([k, threshold, request.filter, spec.name, effort, shown]) : "";
    const results = forAll(numbers, (values) => {
      const key = isKept ? asks + bitsOf(values) : "";
      const known = isKept ? this.results.get(this.#options.store.revision, key) : undefined;
      if (known) cached++;
      if (known) return known;
      const found = this.#searcher.search({ values, k, filter, effort, index: spec.name });
      scanned += found.scanned;
      plans.push(found.plans);
      const most = threshold === undefined ? Number.POSITIVE_INFINITY : distanceOf(metric, threshold);
      const before = budget.bytes;
      const near = found.hits.filter(({ distance }) => distance <= most);
      const hits = forAll(near, (hit): VectorHit => {
        return { ...budget.show(hit, shown), score: scoreOf(metric, hit.distance) };
      });
      if (isKept) this.results.add(key, hits, budget.bytes - before + values.byteLength);
      return hits;
    });
    return {
      kind: "found",
      ...this.#place,
      results,
      scanned,
      cached,
      explain: explain ? JSON.stringify({ index: spec.name, plans }) : "",
    };
  }

  /** In slices. @throws VectorRefusal, ArenaFull, CorruptSegment */
  *within(request: WithinRequest): Generator<AwayBlocks | undefined, WithinAnswer> {
    const { threshold, after, limit, without, shown } = request;
    if (limit < 1 || limit > MAX_TOP_K) throw tooMany("limit", limit, MAX_TOP_K);
    // Kept over slices.
    const values = checkValues(request.query, this.#config, "queryVector").slice();
    const place = this.#place;
    const release = this.#options.store.pin();
    try {
      const ask = { values, threshold, after, limit, without, filter: filterOf(request.filter) };
      const found = yield* this.#thresholds.run(ask);
      const rows = yield* whenHere(() => this.#shown(found.rows, shown));
      const more = found.more || rows.length < found.rows.length;
      return { kind: "within", ...place, rows, more, total: found.total, scanned: found.scanned };
    } finally {
      release();
    }
  }

  /** As many as fit one answer. */
  #shown(matches: readonly Match[], shown: WithinRequest["shown"]): readonly VectorHit[] {
    const budget = new AnswerBudget();
    const away = new AwayGathering();
    const rows: VectorHit[] = [];
    for (const match of matches) {
      away.try(() => rows.push({ ...budget.show(match, shown), score: match.score }));
      if (budget.isSpent) break;
    }
    away.end();
    return rows;
  }
}

/** Fields that are there: what is absent must not hide a default. */
function given(fields: { readonly [name in keyof Effort]: number | undefined }): Effort {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Part of a key: two characters a value. */
function bitsOf({ buffer, byteOffset, length }: Float32Array): string {
  const halves = new Uint16Array(buffer, byteOffset, length * 2);
  return String.fromCharCode.apply(null, halves as unknown as number[]);
}
