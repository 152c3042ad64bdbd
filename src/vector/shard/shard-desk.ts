// A shard's counter: judges each call, runs it on the rows, and says what came of it.
// Guarantees: a refused write changed nothing; a repeated write is answered as the first time; an answer stays one message.
// Must not: wait, or decide when a turn ends.
import type { SqlStorage, SyncBlobStore } from "../../storage/types.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import type {
  DeleteRequest,
  DeleteWhereRequest,
  Durability,
  GetRequest,
  ListRequest,
  SearchRequest,
  Shown,
  UpdateRequest,
  UpsertRequest,
  VectorAnswer,
  VectorCall,
  VectorFailure,
  VectorHit,
  VectorRequest,
  VectorShown,
} from "../../wire/vector.ts";
import { isVectorWrite } from "../../wire/vector.ts";
import { readVectorAnswer, writeVectorAnswer } from "../../wire/vector-answers.ts";
import { ArenaFull } from "../arena.ts";
import { invalid, VectorRefusal } from "../failure.ts";
import type { Filter } from "../filter/filter.ts";
import { parseFilter } from "../filter/parse.ts";
import type { Effort } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { parseSchema } from "../metadata/schema.ts";
import { distanceOf, scoreOf } from "../metric.ts";
import { CorruptSegment, type Crc32c, type DamagedBlock } from "../segment/directory.ts";
import { KeptWrites, reused, textOf } from "./kept-writes.ts";
import {
  MAX_FRESH_BYTES,
  MAX_FRESH_ROWS,
  MAX_PAGE_ROWS,
  MAX_QUERIES,
  MAX_SHARD_ANSWER_BYTES,
  MAX_TOP_K,
} from "./limits.ts";
import { listPage, readPlace, writePlace } from "./listing.ts";
import { checkId, checkMetadataBytes, checkValues, type RowRules } from "./row-check.ts";
import { Searcher, type SegmentPlan } from "./searcher.ts";
import { selectRows } from "./selections.ts";
import type { ShardConfig } from "./shard-config.ts";
import { ShardIndexes } from "./shard-indexes.ts";
import { shardStatus } from "./shard-status.ts";
import { type Applied, type Located, type StoreChange, VectorStore } from "./vector-store.ts";

export interface ShardDeskOptions {
  readonly sql: SqlStorage;
  readonly blobs: SyncBlobStore;
  readonly crc32c: Crc32c;
  readonly core: VectorCore;
  readonly config: ShardConfig;
  /** First part of blob names. */
  readonly name: string;
  readonly random: (byteCount: number) => Uint8Array;
  readonly now: () => number;
  readonly onMissing: (what: { readonly segment: number; readonly index: string; readonly why: string }) => void;
  /** A follower's (src/vector/replica/copy.ts). */
  readonly isCopy?: boolean | undefined;
  /** Those that are loaded already. */
  readonly indexes?: ShardIndexes | undefined;
}

interface KeptLater {
  readonly writeId: Uint8Array;
  readonly bodyHash: Uint8Array;
  readonly answer: Uint8Array;
}

/** What a call came to. */
export interface Ran {
  readonly answer: VectorAnswer;
  /** When the answer may leave; `sync` for all that is not a write. */
  readonly durability: Durability;
  /** What could not be read: another copy may have it. */
  readonly damaged?: DamagedBlock | undefined;
}

export class ShardDesk {
  readonly store: VectorStore;
  readonly indexes: ShardIndexes;
  readonly #options: ShardDeskOptions;
  readonly #searcher: Searcher;
  readonly #rules: RowRules;
  readonly #kept: KeptWrites;
  /** Answers that are stored with the changes they tell of. */
  readonly #keptLater = new Map<string, KeptLater>();

  /** Opens what is stored. @throws CorruptSegment, CorruptLog, ArenaFull */
  constructor(options: ShardDeskOptions) {
    this.#options = options;
    const { core, config, crc32c } = options;
    const { metric, dimension, metadataSchema } = config;
    this.#rules = { dimension, metric, schema: metadataSchema && parseSchema(metadataSchema) };
    this.#kept = new KeptWrites(options.sql, crc32c);
    const { onMissing } = options;
    this.indexes = options.indexes ?? new ShardIndexes({ core, metric, specs: config.indexes, onMissing });
    this.store = new VectorStore({
      ...options,
      kernels: { crc32c },
      arena: core.arena,
      indexes: this.indexes,
      dimension,
      onLogged: () => this.#keep(),
    });
    this.#searcher = new Searcher({ core, store: this.store, indexes: this.indexes, metric, dimension });
  }

  /** WASM memory that is given out. */
  get memoryBytes(): number {
    return this.#options.core.arena.usedBytes;
  }

  /** Gives its memory back, but for the indexes'; it is of no use then. */
  close(): void {
    this.#searcher.release();
    this.store.close();
  }

  #keep(): void {
    const nowMs = this.#options.now();
    for (const kept of this.#keptLater.values()) this.#kept.add({ ...kept, nowMs });
    this.#keptLater.clear();
  }

  /** Runs one call. Never throws for what a caller can cause. */
  run({ request, writeId, bodyHash }: VectorCall): Ran {
    const isWrite = isVectorWrite(request);
    const asked = "durability" in request ? request.durability : undefined;
    const durability = isWrite ? (asked ?? this.#options.config.durability) : "sync";
    try {
      const identity =
        isWrite && writeId && bodyHash ? { writeId: writeId.slice(), bodyHash: bodyHash.slice() } : undefined;
      const before = identity && this.#answeredBefore(identity);
      if (before) return { answer: before, durability: "sync" };
      const answer = this.#answer(request);
      if (identity && answer.kind !== "error")
        this.#keptLater.set(textOf(identity.writeId), { ...identity, answer: writeVectorAnswer(answer) });
      return { answer, durability };
    } catch (error) {
      const damaged = error instanceof CorruptSegment ? error.block : undefined;
      return { answer: failureOf(error), durability: "sync", damaged };
    }
  }

  #answeredBefore({ writeId, bodyHash }: Omit<KeptLater, "answer">): VectorAnswer | undefined {
    const later = this.#keptLater.get(textOf(writeId));
    if (later && textOf(later.bodyHash) !== textOf(bodyHash)) throw reused();
    const bytes = later?.answer ?? this.#kept.find(writeId, bodyHash);
    return bytes && readVectorAnswer(bytes);
  }

  get #place() {
    const { term, revision } = this.store;
    return { term, revision };
  }

  #answer(request: VectorRequest): VectorAnswer {
    switch (request.kind) {
      case "upsert":
        return this.#upsert(request);
      case "update":
        return this.#update(request);
      case "delete":
        return this.#delete(request);
      case "deleteWhere":
        return this.#deleteWhere(request);
      case "get":
        return this.#get(request);
      case "list":
        return this.#list(request);
      case "count":
        return { kind: "count", ...this.#place, count: this.#count(filterOf(request.filter)) };
      case "search":
        return this.#search(request);
      case "status":
        return { kind: "status", ...this.#place, status: JSON.stringify(shardStatus(this, this.#options.core)) };
      default:
        return request satisfies never;
    }
  }

  #apply(changes: readonly StoreChange[]): readonly Applied[] {
    const { freshCount, freshBytes } = this.store;
    if (freshCount + changes.length > MAX_FRESH_ROWS || freshBytes > MAX_FRESH_BYTES)
      throw new VectorRefusal("overloaded", "rows come faster than they are sealed; nothing was written, retry");
    return this.store.apply(changes);
  }

  #upsert({ rows, atomic }: UpsertRequest): VectorAnswer {
    const failures = rows.map((row, index) => this.#judge(row, rows.length === 1 ? "" : `vectors[${index}]`));
    const first = failures.find((failure) => failure !== undefined);
    if (first && (atomic || rows.length === 1)) throw first;
    const good = rows.filter((_, index) => !failures[index]);
    const applied = this.#apply(good.map((row) => ({ kind: "put", row: copied(row) })));
    let next = 0;
    const results = failures.map((failure) => (failure ? failureOf(failure) : applied[next++]!));
    return { kind: "written", ...this.#place, results };
  }

  #judge(row: UpsertRequest["rows"][number], at: string): VectorRefusal | undefined {
    const path = (field: string): string => (at === "" ? field : `${at}.${field}`);
    try {
      checkId(row.id, at);
      checkValues(row.values, this.#rules, path("values"));
      checkMetadataBytes(row.metadata, this.#rules, path("metadata"));
      return undefined;
    } catch (error) {
      if (error instanceof VectorRefusal) return error;
      throw error;
    }
  }

  #update({ id, values, metadata }: UpdateRequest): VectorAnswer {
    checkId(id);
    if (values) checkValues(values, this.#rules);
    if (metadata) checkMetadataBytes(metadata, this.#rules);
    const row = this.store.get(id);
    if (!row) throw new VectorRefusal("notFound", `there is no vector ${id}`);
    const changed = { id, values: values?.slice() ?? row.values, metadata: metadata?.slice() ?? row.metadata };
    const [stamp] = this.#apply([{ kind: "put", row: changed }]);
    return { kind: "written", ...this.#place, results: [stamp!] };
  }

  #delete({ ids }: DeleteRequest): VectorAnswer {
    for (const id of ids) checkId(id);
    const applied = this.store.apply(ids.map((id) => ({ kind: "delete", id })));
    return { kind: "written", ...this.#place, results: applied.map((stamp) => stamp ?? null) };
  }

  #deleteWhere({ filter, limit }: DeleteWhereRequest): VectorAnswer {
    const most = Math.min(limit, MAX_PAGE_ROWS);
    const parsed = filterOf(filter)!;
    const { rows, next } = listPage(this.store, { after: undefined, limit: most, allowed: allowedBy(parsed) });
    const ids = rows.map(({ segment, row }) => segment.idOf(row).id);
    const applied = this.store.apply(ids.map((id) => ({ kind: "delete", id })));
    return {
      kind: "written",
      ...this.#place,
      results: applied.map((stamp) => stamp ?? null),
      more: next !== undefined,
    };
  }

  #get({ ids, shown }: GetRequest): VectorAnswer {
    if (ids.length > MAX_PAGE_ROWS) throw tooMany("ids", ids.length, MAX_PAGE_ROWS);
    const budget = new AnswerBudget();
    const rows = ids.map((id) => {
      const found = this.store.locate(id);
      return found ? budget.show(found, shown) : null;
    });
    return { kind: "rows", ...this.#place, rows, cursor: new Uint8Array(0) };
  }

  #list({ cursor, limit, filter, shown }: ListRequest): VectorAnswer {
    if (limit < 1 || limit > MAX_PAGE_ROWS) throw tooMany("limit", limit, MAX_PAGE_ROWS);
    const parsed = filterOf(filter);
    const after = placeOf(cursor);
    const page = listPage(this.store, { after, limit, ...(parsed && { allowed: allowedBy(parsed) }) });
    const budget = new AnswerBudget();
    const rows: VectorShown[] = [];
    for (const found of page.rows) {
      rows.push(budget.show(found, shown));
      // A page ends early where the message would become too large.
      if (budget.isSpent) break;
    }
    const last = rows.at(-1);
    const isCut = rows.length < page.rows.length && last !== undefined;
    const next = isCut ? { hash: this.store.hashOf(last.id), id: last.id } : page.next;
    return { kind: "rows", ...this.#place, rows, cursor: writePlace(next) };
  }

  #count(filter: Filter | undefined): number {
    if (!filter) return this.store.liveCount;
    return this.store.segments.reduce(
      (sum, segment) => sum + selectRows(filter, segment).rows.drop(segment.deleted).size,
      0,
    );
  }

  #search(request: SearchRequest): VectorAnswer {
    const { queries, k, threshold, shown, explain } = request;
    if (k < 1 || k > MAX_TOP_K) throw tooMany("topK", k, MAX_TOP_K);
    if (queries.length > MAX_QUERIES) throw tooMany("queries", queries.length, MAX_QUERIES);
    for (const [at, query] of queries.entries()) {
      checkValues(query, this.#rules, queries.length === 1 ? "queryVector" : `queries[${at}].queryVector`);
    }
    const { metric, indexes } = this.#options.config;
    const spec = request.index === "" ? indexes[0]! : indexes.find(({ name }) => name === request.index);
    if (!spec)
      throw invalid("index", `names no index of the database; there are ${indexes.map(({ name }) => name).join(", ")}`);
    const filter = filterOf(request.filter);
    const effort = { ...spec.effort, ...given({ ef: request.ef, probes: request.probes, rerank: request.rerank }) };
    const budget = new AnswerBudget();
    const plans: (readonly SegmentPlan[])[] = [];
    let scanned = 0;
    const results = queries.map((query) => {
      const values = new Float32Array(query.slice().buffer);
      const found = this.#searcher.search({ values, k, filter, effort, index: spec.name });
      scanned += found.scanned;
      plans.push(found.plans);
      const most = threshold === undefined ? Number.POSITIVE_INFINITY : distanceOf(metric, threshold);
      return found.hits
        .filter(({ distance }) => distance <= most)
        .map((hit): VectorHit => ({ ...budget.show(hit, shown), score: scoreOf(metric, hit.distance) }));
    });
    return {
      kind: "found",
      ...this.#place,
      results,
      scanned,
      explain: explain ? JSON.stringify({ index: spec.name, plans }) : "",
    };
  }
}

/** Rows of an answer, while they fit. */
class AnswerBudget {
  #bytes = 0;

  get isSpent(): boolean {
    return this.#bytes > MAX_SHARD_ANSWER_BYTES / 2;
  }

  /** Copies what is shown: rows may move before the answer is written. @throws VectorRefusal */
  show({ segment, row }: Located, shown: Shown): VectorShown {
    const { id, stamp } = segment.idOf(row);
    const values = shown.values ? segment.valuesOf(row).slice() : undefined;
    const metadata = shown.metadata ? segment.metadataOf(row).slice() : undefined;
    this.#bytes += id.length * 3 + 64 + (values?.length ?? 0) + (metadata?.length ?? 0);
    if (this.#bytes > MAX_SHARD_ANSWER_BYTES) {
      const message = `the answer is over ${MAX_SHARD_ANSWER_BYTES} bytes; ask for fewer rows, or without values and metadata`;
      throw new VectorRefusal("payloadTooLarge", message, { limit: MAX_SHARD_ANSWER_BYTES });
    }
    return { id, stamp, ...(values && { values }), ...(metadata && { metadata }) };
  }
}

function allowedBy(filter: Filter): (segment: Located["segment"]) => ReturnType<typeof selectRows>["rows"] {
  return (segment) => selectRows(filter, segment).rows;
}

/** Fields that are there: what is absent must not hide a default. */
function given(fields: { readonly [name in keyof Effort]: number | undefined }): Effort {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function copied(row: UpsertRequest["rows"][number]): UpsertRequest["rows"][number] {
  return { id: row.id, values: row.values, metadata: row.metadata.slice() };
}

function filterOf(text: string | undefined): Filter | undefined {
  if (text === undefined) return undefined;
  try {
    return parseFilter(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid("filters", "must be valid JSON");
    throw error;
  }
}

function placeOf(cursor: Uint8Array): ReturnType<typeof readPlace> {
  try {
    return readPlace(cursor);
  } catch (error) {
    if (error instanceof MalformedBytes) throw invalid("cursor", "is not one that a page gave");
    throw error;
  }
}

function tooMany(path: string, value: number, limit: number): VectorRefusal {
  return invalid(path, `must be 1 to ${limit}, is ${value}`, { value, limit });
}

/** @throws what is not a refusal: a fault of ours */
export function failureOf(error: unknown): VectorFailure {
  if (error instanceof VectorRefusal) {
    const { code, message, details } = error;
    return { kind: "error", code, message, ...(details && { details }) };
  }
  if (error instanceof ArenaFull) return { kind: "error", code: "insufficientStorage", message: error.message };
  if (error instanceof CorruptSegment)
    return { kind: "error", code: "dataCorrupt", message: "stored rows are damaged" };
  throw error;
}
