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
  UpdateRequest,
  UpsertRequest,
  VectorAnswer,
  VectorCall,
  VectorFailure,
  VectorInput,
  VectorRequest,
  VectorShown,
} from "../../wire/vector.ts";
import { isVectorWrite } from "../../wire/vector.ts";
import { readVectorAnswer, writeVectorAnswer } from "../../wire/vector-answers.ts";
import { ArenaFull } from "../arena.ts";
import { invalid, VectorRefusal } from "../failure.ts";
import type { Filter } from "../filter/filter.ts";
import type { VectorCore } from "../kernels.ts";
import { parseSchema } from "../metadata/schema.ts";
import { type AwayBlocks, AwayGathering, forAll } from "../segment/away.ts";
import { CorruptSegment, type Crc32c, type DamagedBlock } from "../segment/directory.ts";
import { AnswerBudget } from "./answer-budget.ts";
import { ImportQueue, type ShownImport } from "./import-queue.ts";
import { KeptWrites, reused, textOf } from "./kept-writes.ts";
import {
  MAX_FRESH_BYTES,
  MAX_FRESH_ROWS,
  MAX_PAGE_ROWS,
  MOST_DELETED_SHARE,
  MOST_DELETED_SHARE_IF_FULL,
} from "./limits.ts";
import { listPage, readPlace, writePlace } from "./listing.ts";
import { filterOf, tooMany } from "./request-fields.ts";
import { checkId, checkMetadataBytes, checkValues, type RowRules } from "./row-check.ts";
import { SearchDesk } from "./search-desk.ts";
import { selectRows } from "./selections.ts";
import type { ShardConfig } from "./shard-config.ts";
import { finished, ShardIndexes } from "./shard-indexes.ts";
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
  /** Bytes that the shard may store, and that it does; absent = no limit. */
  readonly disk?: { readonly limitBytes: number; readonly usedBytes: () => number } | undefined;
  /** Bytes of results that are remembered until the next write; 0 = none. */
  readonly resultCacheBytes?: number;
  readonly onMissing: (what: { readonly segment: number; readonly index: string; readonly why: string }) => void;
  /** A follower's (src/vector/replica/copy.ts). */
  readonly isCopy?: boolean | undefined;
  /** Those that are loaded already. */
  readonly indexes?: ShardIndexes | undefined;
}

type ImportCall = Extract<VectorRequest, { readonly kind: `import${string}` }>;

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
  readonly #searches: SearchDesk;
  readonly imports: ImportQueue;
  #config: ShardConfig;
  #rules: RowRules;
  readonly #kept: KeptWrites;
  /** The last write was refused for want of disk. */
  #isFull = false;
  /** Answers that are stored with the changes they tell of. */
  readonly #keptLater = new Map<string, KeptLater>();

  /** Opens what is stored. @throws CorruptSegment, CorruptLog, ArenaFull */
  constructor(options: ShardDeskOptions) {
    this.#options = options;
    const { core, config, crc32c } = options;
    const { metric, dimension } = config;
    this.#config = config;
    this.#rules = rulesOf(config);
    this.#kept = new KeptWrites(options.sql, crc32c);
    const { onMissing } = options;
    this.imports = new ImportQueue(options.sql, crc32c);
    this.indexes =
      options.indexes ?? new ShardIndexes({ core, metric, now: options.now, specs: config.indexes, onMissing });
    this.store = new VectorStore({
      ...options,
      kernels: { crc32c },
      arena: core.arena,
      indexes: this.indexes,
      dimension,
      onLogged: () => this.#keep(),
    });
    const { resultCacheBytes = 0 } = options;
    this.#searches = new SearchDesk({ core, store: this.store, indexes: this.indexes, config, resultCacheBytes });
  }

  /** Dimension and metric are as before. Searches and writes go on; what of the indexes is new is built behind them. */
  reconfigure(config: ShardConfig): void {
    this.#config = config;
    this.#rules = rulesOf(config);
    this.indexes.want(config.indexes);
    this.#searches.reconfigure(config);
  }

  get results(): SearchDesk["results"] {
    return this.#searches.results;
  }

  /** WASM memory that is given out. */
  get memoryBytes(): number {
    return this.#options.core.arena.usedBytes;
  }

  /** Gives its memory back, but for the indexes'; it is of no use then. */
  close(): void {
    this.#searches.release();
    this.store.close();
  }

  #keep(): void {
    const nowMs = this.#options.now();
    for (const kept of this.#keptLater.values()) this.#kept.add({ ...kept, nowMs });
    this.#keptLater.clear();
  }

  /** Runs one call. Never throws for what a caller can cause. @throws AwayBlocks, before anything was changed */
  run({ request, writeId, bodyHash }: VectorCall): Ran {
    const isWrite = isVectorWrite(request);
    const asked = "durability" in request ? request.durability : undefined;
    const durability = isWrite ? (asked ?? this.#config.durability) : "sync";
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

  /** The answer to a write that was kept for its repetition. @throws VectorRefusal for another body */
  keptAnswer(identity: Omit<KeptLater, "answer">): VectorAnswer | undefined {
    return this.#answeredBefore(identity);
  }

  /** Stores an answer that is not of this shard's rows alone, in the commit of what it tells of. */
  keepAnswer(identity: Omit<KeptLater, "answer">, answer: VectorAnswer): void {
    this.#kept.add({ ...identity, answer: writeVectorAnswer(answer), nowMs: this.#options.now() });
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
        return this.#searches.search(request);
      case "within":
        return finished(this.#searches.within(request));
      case "importStage":
      case "importStart":
      case "importCancel":
      case "imports":
        return { kind: "status", ...this.#place, status: JSON.stringify(this.#import(request)) };
      case "status":
        return { kind: "status", ...this.#place, status: JSON.stringify(shardStatus(this, this.#options.core)) };
      default:
        return request satisfies never;
    }
  }

  /** A call whose answer takes many slices, to be run in pauses; another call is run whole. */
  *runInSlices({ request }: VectorCall): Generator<AwayBlocks | undefined, VectorAnswer> {
    try {
      return request.kind === "within" ? yield* this.#searches.within(request) : this.#answer(request);
    } catch (error) {
      return failureOf(error);
    }
  }

  #import(request: ImportCall): readonly ShownImport[] {
    const { imports } = this;
    const nowMs = this.#options.now();
    if (request.kind === "importStage") imports.stage(request, nowMs);
    if (request.kind === "importStart") imports.start(request.job, request.parts);
    if (request.kind === "importCancel" && request.staged) imports.unstage(request.job);
    else if (request.kind === "importCancel") imports.cancel(request.job, nowMs);
    return imports.list(request.job);
  }

  /** Applies the next rows of an import, in the turn whose commit it ends; false = there are none, or they must wait. */
  importNext(): boolean {
    const chunk = this.imports.next(this.#options.now());
    if (!chunk) return false;
    try {
      const { results } = this.#store(chunk.rows.map(({ index, row }) => ({ row, at: `vectors[${index}]` })));
      const errors = chunk.rows.flatMap(({ index, row: { id } }, place) => {
        const result = results[place]!;
        return "kind" in result ? [{ index, id, code: result.code, message: result.message }] : [];
      });
      this.imports.applied(chunk, errors);
    } catch (error) {
      // Nothing of it was applied.
      this.imports.waits(chunk, failureOf(error).message);
      return false;
    }
    this.store.endTurn();
    return true;
  }

  #apply(changes: readonly StoreChange[]): readonly Applied[] {
    const { freshCount, freshBytes } = this.store;
    if (freshCount + changes.length > MAX_FRESH_ROWS || freshBytes > MAX_FRESH_BYTES)
      throw new VectorRefusal("overloaded", "rows come faster than they are sealed; nothing was written, retry");
    this.#requireDisk();
    return this.store.apply(changes);
  }

  withoutBudget<T>(run: () => T): T {
    return this.#options.core.arena.withoutBudget(run);
  }

  /** Deleted rows must go sooner than they would. */
  get mostDeletedShare(): number {
    return this.#isFull ? MOST_DELETED_SHARE_IF_FULL : MOST_DELETED_SHARE;
  }

  #requireDisk(): void {
    const { disk } = this.#options;
    const usedBytes = disk?.usedBytes() ?? 0;
    this.#isFull = disk !== undefined && usedBytes >= disk.limitBytes;
    if (!disk || !this.#isFull) return;
    this.store.sealSoon();
    const message = `the shard holds ${usedBytes} bytes, its limit is ${disk.limitBytes}; delete vectors, or give it more`;
    throw new VectorRefusal("insufficientStorage", message, { usedBytes, limit: disk.limitBytes });
  }

  #upsert({ rows, atomic }: UpsertRequest): VectorAnswer {
    const placed = rows.map((row, index) => ({ row, at: rows.length === 1 ? "" : `vectors[${index}]` }));
    const { results } = this.#store(placed, atomic || rows.length === 1);
    return { kind: "written", ...this.#place, results };
  }

  /** Stores the rows that are good; `isWhole`: all or nothing. `at`: a row's place in its request. */
  #store(placed: readonly { readonly row: VectorInput; readonly at: string }[], isWhole = false) {
    const failures = placed.map(({ row, at }) => this.#judge(row, at));
    const first = failures.find((failure) => failure !== undefined);
    if (first && isWhole) throw first;
    const good = placed.filter((_, index) => !failures[index]);
    const applied = this.#apply(good.map(({ row }) => ({ kind: "put", row: copied(row) })));
    let next = 0;
    return { results: failures.map((failure) => (failure ? failureOf(failure) : applied[next++]!)) };
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
    const rows = forAll(ids, (id) => {
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
    const away = new AwayGathering();
    for (const found of page.rows) {
      away.try(() => rows.push(budget.show(found, shown)));
      // A page ends early where the message would become too large.
      if (budget.isSpent) break;
    }
    away.end();
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
}

function rulesOf({ dimension, metric, metadataSchema }: ShardConfig): RowRules {
  return { dimension, metric, schema: metadataSchema && parseSchema(metadataSchema) };
}

function allowedBy(filter: Filter): (segment: Located["segment"]) => ReturnType<typeof selectRows>["rows"] {
  return (segment) => selectRows(filter, segment).rows;
}

function copied(row: UpsertRequest["rows"][number]): UpsertRequest["rows"][number] {
  const { id, values, metadata, before } = row;
  return { id, values, metadata: metadata.slice(), ...(before && { before }) };
}

function placeOf(cursor: Uint8Array): ReturnType<typeof readPlace> {
  try {
    return readPlace(cursor);
  } catch (error) {
    if (error instanceof MalformedBytes) throw invalid("cursor", "is not one that a page gave");
    throw error;
  }
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
