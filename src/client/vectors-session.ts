// Vectors of one database over the session: float32 values and metadata as bytes, both ways.
// Guarantees: the same results and errors as over HTTP; a write is applied once over all of its retries.
import { BODY_HASH_BYTES } from "../wire/session.ts";
import type { VectorHit as Hit, VectorShown, VectorStamp } from "../wire/vector.ts";
import {
  isWritingOperation,
  readVectorSessionAnswer,
  type VectorItem,
  type VectorOperation,
  type VectorSessionHead,
  writeVectorSessionCall,
} from "../wire/vector-session.ts";
import { JadeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Session } from "./session.ts";
import { SessionCall } from "./session-call.ts";
import type { CallOptions, Page } from "./types.ts";
import { metadataTextOf } from "./vector-batch.ts";
import { floatBytesOf } from "./vector-inputs.ts";
import type {
  VectorChoice,
  VectorCountOptions,
  VectorPlace,
  VectorSearched,
  VectorSearchedMany,
  VectorTransport,
} from "./vector-transport.ts";
import type {
  DeletedVectors,
  NewVector,
  StoredVector,
  Vector,
  VectorBatchAnswer,
  VectorBatchOptions,
  VectorBatchResult,
  VectorChanges,
  VectorHit,
  VectorListOptions,
  VectorMetadata,
  VectorQuery,
  VectorReadOptions,
  VectorSearchOptions,
  VectorWriteOptions,
} from "./vector-types.ts";
import { fromHex, toHex, WriteIdSource } from "./write-id.ts";

const DEFAULT_NAMESPACE = "default";
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const NO_ITEMS: readonly VectorItem[] = [];

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}

function itemOf(vector: VectorChanges, id: string): VectorItem {
  const metadata = metadataTextOf(vector);
  return {
    id,
    values: vector.values && floatBytesOf(vector.values),
    metadata: metadata === undefined ? undefined : encoder.encode(metadata),
  };
}

/** As the server makes one where there is none: it follows from the write id, so a repeated write has the same. */
function madeId(writeId: Uint8Array, index: number): string {
  return `vec_${toHex(writeId)}${index === 0 ? "" : `_${index}`}`;
}

const timeOf = (ms: number): string => new Date(ms).toISOString();

function stored(id: string, { version, revision, createdMs, updatedMs }: VectorStamp, shard = 0): StoredVector {
  const times = { createdAt: timeOf(createdMs), updatedAt: timeOf(updatedMs) };
  return { id, version, revision, shard: `shard_${String(shard).padStart(2, "0")}`, ...times };
}

/** A hit tells what it means only. */
function contents({ values, metadata }: Pick<VectorShown, "values" | "metadata">, withText: boolean) {
  const text = metadata && (metadata.length === 0 ? "{}" : decoder.decode(metadata));
  return {
    ...(values && { values: floatsOf(values) }),
    ...(text !== undefined && { metadata: JSON.parse(text) as VectorMetadata }),
    ...(text !== undefined && withText && { metadataJson: text }),
  };
}

function vectorOf(row: VectorShown, shard: number | undefined): Vector {
  const shown = { ...stored(row.id, row.stamp, shard), ...contents(row, true), deleted: false };
  return shown;
}

function hitOf(hit: Hit): VectorHit {
  return { id: hit.id, score: hit.score, ...contents(hit, false) };
}

function queryOf(query: VectorQuery): VectorItem {
  if ("vector" in query) return { id: "", values: floatBytesOf(query.vector) };
  if ("id" in query) return { id: query.id };
  throw new TypeError("what a model makes vectors of goes over HTTP");
}

/** JSON text; empty where nothing is said. */
function optionsText(options: object): string {
  const text = JSON.stringify(options);
  return text === "{}" ? "" : text;
}

interface Ask extends CallOptions {
  readonly operation: VectorOperation;
  readonly options?: object;
  readonly items?: readonly VectorItem[];
  readonly writeId?: Uint8Array | undefined;
  /** The write id is the user's own: another body under it is refused. */
  readonly isOwn?: boolean | undefined;
}

type Answer = ReturnType<typeof readVectorSessionAnswer>;
type AnswerOf<K extends Answer["answer"]["kind"]> = {
  readonly head: VectorSessionHead;
  readonly answer: Extract<Answer["answer"], { readonly kind: K }>;
};

export class SessionVectors implements VectorTransport {
  readonly #session: Session;
  readonly #place: VectorPlace;
  readonly #options: ResolvedOptions;
  readonly #writeIds: WriteIdSource;

  constructor(session: Session, place: VectorPlace, options: ResolvedOptions) {
    this.#session = session;
    this.#place = place;
    this.#options = options;
    this.#writeIds = new WriteIdSource(options.runtime);
  }

  async upsert(vector: NewVector, { durability, ...options }: VectorWriteOptions = {}): Promise<StoredVector> {
    const write = this.#writeOf(options);
    const id = vector.id ?? madeId(write.writeId, 0);
    return this.#writeOne(id, {
      ...{ ...options, ...write, operation: "upsert", options: { durability }, items: [itemOf(vector, id)] },
    });
  }

  async update(
    id: string,
    changes: VectorChanges,
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<StoredVector> {
    const items = [itemOf(changes, id)];
    const ask = { ...options, ...this.#writeOf(options), options: { durability }, items };
    return this.#writeOne(id, { ...ask, operation: "update" });
  }

  async delete(id: string, { durability, ...options }: VectorWriteOptions = {}): Promise<StoredVector> {
    const ask = { ...options, ...this.#writeOf(options), options: { durability }, items: [{ id }] };
    return this.#writeOne(id, { ...ask, operation: "delete" });
  }

  async #writeOne(id: string, ask: Ask): Promise<StoredVector> {
    const { head, answer } = await this.#call("written", ask);
    const [result] = answer.results;
    if (!result || "kind" in result) throw new JadeError("badAnswer", "the answer to a write tells of no vector");
    return stored(id, result, head.shards?.[0]);
  }

  async get(id: string, { consistency, ...options }: VectorReadOptions = {}): Promise<Vector> {
    const ask = { ...options, operation: "get", options: this.#reading(consistency), items: [{ id }] } as const;
    const { head, answer } = await this.#call("rows", ask);
    const [row] = answer.rows;
    if (!row) throw new JadeError("notFound", `there is no vector "${id.slice(0, 100)}"`);
    return vectorOf(row, head.shards?.[0]);
  }

  async deleteMany(which: VectorChoice, { durability, ...options }: VectorWriteOptions = {}): Promise<DeletedVectors> {
    const common = { ...options, ...this.#writeOf(options) };
    if ("ids" in which) {
      const items = which.ids.map((id) => ({ id }));
      const ask = { ...common, operation: "deleteMany", options: { durability }, items } as const;
      const { head, answer } = await this.#call("count", ask);
      return { deleted: answer.count, missing: head.missing ?? [], more: false };
    }
    const said = { filters: which.filters, durability };
    const { head, answer } = await this.#call("count", { ...common, operation: "deleteWhere", options: said });
    return { deleted: answer.count, more: head.more === true };
  }

  async upsertChunk(
    vectors: readonly NewVector[],
    { durability, atomic, ...options }: Omit<VectorBatchOptions, "chunkVectors"> = {},
  ): Promise<VectorBatchAnswer> {
    const write = this.#writeOf(options);
    const items = vectors.map((vector, index) => itemOf(vector, vector.id || madeId(write.writeId, index)));
    const ask = { ...options, ...write, operation: "batch", options: { durability, atomic }, items } as const;
    const { answer } = await this.#call("written", ask);
    const results = answer.results.map((result, index): VectorBatchResult => {
      const { id } = items[index]!;
      if (!result) throw new JadeError("badAnswer", "the answer to a batch lacks a result");
      if (!("kind" in result)) return { ok: true, id, version: result.version, revision: result.revision };
      const { code, message, details = {} } = result;
      return { ok: false, id, error: { code, message, details } };
    });
    const count = results.filter(({ ok }) => ok).length;
    return { stored: count, failed: results.length - count, results };
  }

  async page({ signal, timeoutMs, consistency, ...ask }: VectorListOptions = {}): Promise<Page<Vector>> {
    const options = { ...ask, ...this.#reading(consistency) };
    const { head, answer } = await this.#call("rows", { signal, timeoutMs, operation: "list", options });
    const items = answer.rows.flatMap((row, at) => (row ? [vectorOf(row, head.shards?.[at])] : []));
    return { items, cursor: head.cursor ?? null };
  }

  async count({ filters, consistency, ...options }: VectorCountOptions = {}): Promise<number> {
    const said = { filters, ...this.#reading(consistency) };
    return (await this.#call("count", { ...options, operation: "count", options: said })).answer.count;
  }

  async search(query: VectorQuery, options: VectorSearchOptions = {}): Promise<VectorSearched> {
    const { searches, ...cost } = await this.#search([query], options, "search");
    return { ...searches[0]!, ...cost };
  }

  searchMany(queries: readonly VectorQuery[], options: VectorSearchOptions = {}): Promise<VectorSearchedMany> {
    return this.#search(queries, options, "searchMany");
  }

  async #search(
    queries: readonly VectorQuery[],
    { signal, timeoutMs, consistency, ...ask }: VectorSearchOptions,
    operation: "search" | "searchMany",
  ): Promise<VectorSearchedMany> {
    const options = { ...ask, ...this.#reading(consistency) };
    const items = queries.map(queryOf);
    const { head, answer } = await this.#call("found", { signal, timeoutMs, operation, options, items });
    const { scanned, explain } = answer;
    const searches = answer.results.map((hits, at) => ({
      results: hits.map(hitOf),
      ...(head.searches?.[at] ?? { isComplete: false }),
    }));
    return {
      searches,
      scanned,
      ...(head.missingShards && { partial: true, missingShards: head.missingShards }),
      ...(explain !== "" && { explain: JSON.parse(explain) as unknown }),
    };
  }

  #reading(own: VectorReadOptions["consistency"]): object {
    const consistency = own ?? this.#place.consistency;
    return { consistency, token: consistency === "causal" ? this.#place.token : undefined };
  }

  #writeOf({ writeId }: VectorWriteOptions): { readonly writeId: Uint8Array; readonly isOwn: boolean } {
    return writeId === undefined
      ? { writeId: this.#writeIds.next(), isOwn: false }
      : { writeId: fromHex(writeId), isOwn: true };
  }

  async #call<K extends Answer["answer"]["kind"]>(kind: K, ask: Ask): Promise<AnswerOf<K>> {
    const { operation, items = NO_ITEMS, writeId, isOwn } = ask;
    const call = { operation, databaseId: this.#place.databaseId, options: optionsText(ask.options ?? {}), items };
    const bodyHash = isOwn ? await hashOf(writeVectorSessionCall(call)) : undefined;
    const value = writeVectorSessionCall({ ...call, writeId, bodyHash });
    const body = await new Promise<Uint8Array>((resolve, reject) => {
      this.#session.submit(
        new SessionCall({
          ...{ op: "vector", key: this.#place.namespace ?? DEFAULT_NAMESPACE, value, isRaw: false },
          ...{ isRead: !isWritingOperation(operation), writeId, signal: ask.signal, resolve, reject },
          deadlineMs: this.#options.runtime.now() + (ask.timeoutMs ?? this.#options.timeoutMs),
        }),
      );
    });
    const answered = readVectorSessionAnswer(body);
    const { token } = answered.head;
    if (token !== undefined) this.#place.saw(token);
    if (answered.answer.kind === kind) return answered as AnswerOf<K>;
    throw new JadeError("badAnswer", `a call of ${operation} was answered with ${answered.answer.kind}`);
  }
}

async function hashOf(bytes: Uint8Array): Promise<Uint8Array> {
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hash, 0, BODY_HASH_BYTES);
}
