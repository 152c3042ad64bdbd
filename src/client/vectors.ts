// `client.vectors(databaseId)`: the vectors of one database, and searches among them, over HTTP or the session.
// Guarantees: the same over both; a write is applied once over all of its retries; values are float32 as they are stored.
import type { HttpClient } from "./http.ts";
import type { ResolvedOptions } from "./options.ts";
import { eachItem } from "./pages.ts";
import type { Session } from "./session.ts";
import type { Page } from "./types.ts";
import { chunksOf, DEFAULT_CHUNK_TEXTS, groupsOf } from "./vector-batch.ts";
import { VectorImports } from "./vector-imports.ts";
import type { VectorTokens } from "./vector-tokens.ts";
import {
  type VectorChoice,
  type VectorCountOptions,
  VectorPlace,
  type VectorSearched,
  type VectorSearchedMany,
  type VectorTransport,
} from "./vector-transport.ts";
import type {
  DeletedVectors,
  NewImage,
  NewTensor,
  NewText,
  NewVector,
  StoredVector,
  Vector,
  VectorBatchAnswer,
  VectorBatchOptions,
  VectorBatchResult,
  VectorChanges,
  VectorListOptions,
  VectorQuery,
  VectorReadOptions,
  VectorSearchOptions,
  VectorsOptions,
  VectorWriteOptions,
} from "./vector-types.ts";
import { HttpVectors } from "./vectors-http.ts";
import { SessionVectors } from "./vectors-session.ts";
import { writeIdFrom } from "./write-id.ts";

interface VectorsWay extends VectorsOptions {
  readonly tokens: VectorTokens;
  /** Undefined: all goes over HTTP. */
  readonly session: Session | undefined;
  readonly resolved: ResolvedOptions;
}

/** What a model makes vectors of goes over HTTP. */
function isBytes(query: VectorQuery): boolean {
  return "vector" in query || "id" in query;
}

export class Vectors {
  readonly databaseId: string;
  readonly #place: VectorPlace;
  readonly #http: HttpVectors;
  readonly #way: VectorTransport;
  /** Vectors that are taken now and stored behind the answer (over HTTP). */
  readonly imports: VectorImports;

  constructor(http: HttpClient, databaseId: string, { session, resolved, ...of }: VectorsWay) {
    this.databaseId = databaseId;
    this.#place = new VectorPlace(databaseId, of);
    this.#http = new HttpVectors(http, this.#place);
    this.#way = session ? new SessionVectors(session, this.#place, resolved) : this.#http;
    this.imports = new VectorImports((request) => this.#http.data(request));
  }

  /** What this client has seen of the database. Handed to another client (`after`), its causal reads show no older state. */
  get token(): string | undefined {
    return this.#place.token;
  }

  /** Causal reads of this client show at least what the one that gave the token has seen. @throws TypeError */
  after(token: string): this {
    try {
      this.#place.saw(token);
    } catch {
      throw new TypeError("the token is not one that a client gave");
    }
    return this;
  }

  /** Stores a vector, or that of a text, an image or tensors (over HTTP), under its id, whether there is one or not. */
  upsert(vector: NewVector | NewText | NewImage | NewTensor, options: VectorWriteOptions = {}): Promise<StoredVector> {
    return "values" in vector ? this.#way.upsert(vector, options) : this.#http.upsert(vector, options);
  }

  /** @throws JadeError notFound */
  get(id: string, options: VectorReadOptions = {}): Promise<Vector> {
    return this.#way.get(id, options);
  }

  /** Replaces the values, the metadata, or both of a vector that exists. */
  update(id: string, changes: VectorChanges, options: VectorWriteOptions = {}): Promise<StoredVector> {
    const isMade = [changes.text, changes.image, changes.tensor].some((given) => given !== undefined);
    return (isMade ? this.#http : this.#way).update(id, changes, options);
  }

  /** @throws JadeError notFound */
  delete(id: string, options: VectorWriteOptions = {}): Promise<StoredVector> {
    return this.#way.delete(id, options);
  }

  /** Deletes by ids, or what the filters let through. */
  deleteMany(which: VectorChoice, options: VectorWriteOptions = {}): Promise<DeletedVectors> {
    return this.#way.deleteMany(which, options);
  }

  /**
   * Stores many, in chunks one after another. A vector that is refused stops no other: see `results`. A chunk that fails as a whole
   * throws; those before it are stored, and the same call with the same `writeId` applies them no second time.
   */
  async upsertMany(
    vectors: Iterable<NewVector> | AsyncIterable<NewVector>,
    { chunkVectors, ...options }: VectorBatchOptions = {},
  ): Promise<VectorBatchAnswer> {
    const results: VectorBatchResult[] = [];
    let chunkNumber = 0;
    for await (const chunk of chunksOf(vectors, chunkVectors)) {
      if (options.atomic && chunkNumber > 0)
        throw new TypeError("atomic: the vectors do not fit one chunk; some are stored");
      const writeId = options.writeId && (await writeIdFrom(`${options.writeId}:${chunkNumber}`));
      results.push(...(await this.upsertChunk(chunk, { ...options, writeId })).results);
      chunkNumber++;
    }
    const stored = results.filter(({ ok }) => ok).length;
    return { stored, failed: results.length - stored, results };
  }

  /**
   * Stores the vectors of many texts (over HTTP), in chunks one after another. A text that is refused stops no other: see `results`. As for
   * `upsertMany`, a chunk that fails as a whole throws.
   */
  async upsertTexts(
    texts: Iterable<NewText> | AsyncIterable<NewText>,
    { chunkVectors = DEFAULT_CHUNK_TEXTS, durability, writeId, ...options }: Omit<VectorBatchOptions, "atomic"> = {},
  ): Promise<VectorBatchAnswer> {
    const results: VectorBatchResult[] = [];
    let chunkNumber = 0;
    for await (const chunk of groupsOf(texts, chunkVectors)) {
      const own = writeId && (await writeIdFrom(`${writeId}:${chunkNumber}`));
      const answer = await this.#http.upsertTextChunk(chunk, { ...options, durability, writeId: own });
      results.push(...answer.results);
      chunkNumber++;
    }
    const stored = results.filter(({ ok }) => ok).length;
    return { stored, failed: results.length - stored, results };
  }

  /** One request with vectors of one dimension. */
  upsertChunk(
    vectors: readonly NewVector[],
    options: Omit<VectorBatchOptions, "chunkVectors"> = {},
  ): Promise<VectorBatchAnswer> {
    return this.#way.upsertChunk(vectors, options);
  }

  page(options: VectorListOptions = {}): Promise<Page<Vector>> {
    return this.#way.page(options);
  }

  /** All vectors, fetched page by page, in an order that writes do not change. */
  list(options: VectorListOptions = {}): AsyncGenerator<Vector, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  count(options: VectorCountOptions = {}): Promise<number> {
    return this.#way.count(options);
  }

  /** The nearest to a vector, to a text, an image or tensors (over HTTP), or to one that is stored (without itself). */
  search(query: VectorQuery, options: VectorSearchOptions = {}): Promise<VectorSearched> {
    return (isBytes(query) ? this.#way : this.#http).search(query, options);
  }

  /** Up to 100 searches that differ in their query only. */
  searchMany(queries: readonly VectorQuery[], options: VectorSearchOptions = {}): Promise<VectorSearchedMany> {
    return (queries.every(isBytes) ? this.#way : this.#http).searchMany(queries, options);
  }
}
