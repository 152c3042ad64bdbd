// `client.vectors(databaseId)`: the vectors of one database, and searches among them (over HTTP).
// Guarantees: a write is applied once over all of its retries; values are float32 as they are stored.
import { VECTOR_TOKEN_HEADER } from "../wire/vector-token.ts";
import { base64Of } from "./config-codec.ts";
import { databasePath } from "./database-path.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import { eachItem } from "./pages.ts";
import { itemTexts, memberText } from "./raw-json.ts";
import type { Page } from "./types.ts";
import { BINARY_TYPE, binaryBatch, chunksOf, DEFAULT_CHUNK_TEXTS, groupsOf, metadataTextOf } from "./vector-batch.ts";
import { VectorImports } from "./vector-imports.ts";
import { numbersOf, tensorFields } from "./vector-inputs.ts";
import type { VectorTokens } from "./vector-tokens.ts";
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
  VectorConsistency,
  VectorFilters,
  VectorHit,
  VectorListOptions,
  VectorQuery,
  VectorReadOptions,
  VectorResults,
  VectorSearchCost,
  VectorSearchOptions,
  VectorsOptions,
  VectorWriteOptions,
} from "./vector-types.ts";
import { writeIdFrom } from "./write-id.ts";

type Raw<T> = Omit<T, "values"> & { readonly values?: readonly number[] };

/** JSON numbers as the float32 that they stand for. */
function withFloats<T extends { readonly values?: Float32Array }>({ values, ...rest }: Raw<T>): T {
  return (values ? { ...rest, values: Float32Array.from(values) } : rest) as unknown as T;
}

function vectorOf(raw: Raw<Vector>, text: string): Vector {
  const metadataJson = memberText(text, "metadata");
  return { ...withFloats<Vector>(raw), ...(metadataJson === undefined ? {} : { metadataJson }) };
}

/** Members as JSON text, with the metadata's exact text. */
function vectorText(vector: VectorChanges & { readonly id?: string | undefined }, rest: object): string {
  const { id, values, text, image, tensor } = vector;
  const metadata = metadataTextOf(vector);
  const raw = { id, values: values && numbersOf(values), text, image: image && base64Of(image) };
  const fields = JSON.stringify({ ...raw, tensor: tensor && tensorFields(tensor), ...rest });
  if (metadata === undefined) return fields;
  return `${fields.slice(0, -1)}${fields === "{}" ? "" : ","}"metadata":${metadata}}`;
}

function queryFields(query: VectorQuery): object {
  if ("id" in query) return { id: query.id };
  if ("text" in query) return { queryText: query.text };
  if ("image" in query) return { queryImage: base64Of(query.image) };
  if ("tensor" in query) return { queryTensor: tensorFields(query.tensor) };
  return { queryVector: numbersOf(query.vector) };
}

function resultsOf({ results, isComplete }: VectorResults): VectorResults {
  return { results: results.map((hit) => withFloats<VectorHit>(hit as unknown as Raw<VectorHit>)), isComplete };
}

interface RawBatch {
  readonly stored: number;
  readonly failed: number;
  readonly results: readonly { id: string; version: number; revision: number; error?: never }[];
}

function shownResults(results: RawBatch["results"]): readonly VectorBatchResult[] {
  return results.map((result) => ({ ok: result.error === undefined, ...result })) as never;
}

export class Vectors {
  readonly databaseId: string;
  readonly #http: HttpClient;
  readonly #namespace: string | undefined;
  readonly #consistency: VectorConsistency | undefined;
  readonly #tokens: VectorTokens;
  /** Vectors that are taken now and stored behind the answer. */
  readonly imports: VectorImports;

  constructor(http: HttpClient, databaseId: string, options: VectorsOptions & { readonly tokens: VectorTokens }) {
    this.imports = new VectorImports((request) => this.#data(request));
    this.#http = http;
    this.databaseId = databaseId;
    this.#namespace = options.namespace;
    this.#consistency = options.consistency;
    this.#tokens = options.tokens;
  }

  get #tokenKey(): string {
    return `${this.#namespace ?? "default"}/${this.databaseId}`;
  }

  /** What this client has seen of the database. Handed to another client (`after`), its causal reads show no older state. */
  get token(): string | undefined {
    return this.#tokens.get(this.#tokenKey);
  }

  /** Causal reads of this client show at least what the one that gave the token has seen. @throws TypeError */
  after(token: string): this {
    try {
      this.#tokens.add(this.#tokenKey, token);
    } catch {
      throw new TypeError("the token is not one that a client gave");
    }
    return this;
  }

  /** Stores a vector, or that of a text, an image or tensors, under its id, whether there is one or not. */
  upsert(
    vector: NewVector | NewText | NewImage | NewTensor,
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<StoredVector> {
    return this.#data({ ...options, method: "POST", path: "/vectors", body: vectorText(vector, { durability }) });
  }

  /** @throws JadeError notFound */
  async get(id: string, { consistency, ...options }: VectorReadOptions = {}): Promise<Vector> {
    const request = { ...options, method: "GET", path: "/vector", query: { id } } as const;
    const { data, text } = await this.#call(request, this.#asked(consistency));
    return vectorOf(data as Raw<Vector>, memberText(text, "data")!);
  }

  /** Replaces the values, the metadata, or both of a vector that exists. */
  update(
    id: string,
    changes: VectorChanges,
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<StoredVector> {
    return this.#data({
      ...options,
      method: "PUT",
      path: "/vector",
      query: { id },
      body: vectorText(changes, { durability }),
    });
  }

  /** @throws JadeError notFound */
  delete(id: string, { durability, ...options }: VectorWriteOptions = {}): Promise<StoredVector> {
    return this.#data({ ...options, method: "DELETE", path: "/vector", query: { id, durability } });
  }

  /** Deletes by ids, or what the filters let through. */
  deleteMany(
    which: { readonly ids: readonly string[] } | { readonly filters: VectorFilters },
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<DeletedVectors> {
    const body = JSON.stringify({ ...which, durability });
    return this.#data({ ...options, method: "POST", path: "/vectors/delete", body });
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
   * Stores the vectors of many texts, in chunks one after another. A text that is refused stops no other: see `results`. As for
   * `upsertMany`, a chunk that fails as a whole throws.
   */
  async upsertTexts(
    texts: Iterable<NewText> | AsyncIterable<NewText>,
    { chunkVectors = DEFAULT_CHUNK_TEXTS, durability, writeId, ...options }: Omit<VectorBatchOptions, "atomic"> = {},
  ): Promise<VectorBatchAnswer> {
    const results: VectorBatchResult[] = [];
    let chunkNumber = 0;
    for await (const chunk of groupsOf(texts, chunkVectors)) {
      const body = `{"vectors":[${chunk.map((text) => vectorText(text, {})).join(",")}]}`;
      const own = writeId && (await writeIdFrom(`${writeId}:${chunkNumber}`));
      const sent = {
        ...options,
        writeId: own,
        method: "POST",
        path: "/vectors/batch",
        query: { durability },
        body,
      } as const;
      results.push(...shownResults((await this.#data<RawBatch>(sent)).results));
      chunkNumber++;
    }
    const stored = results.filter(({ ok }) => ok).length;
    return { stored, failed: results.length - stored, results };
  }

  /** One request with vectors of one dimension. */
  async upsertChunk(
    vectors: readonly NewVector[],
    { durability, atomic, ...options }: Omit<VectorBatchOptions, "chunkVectors"> = {},
  ): Promise<VectorBatchAnswer> {
    const { stored, failed, results } = await this.#data<RawBatch>({
      ...options,
      method: "POST",
      path: "/vectors/batch",
      query: { durability, atomic: atomic === undefined ? undefined : String(atomic) },
      body: binaryBatch(vectors),
      contentType: BINARY_TYPE,
    });
    return { stored, failed, results: shownResults(results) };
  }

  async page({
    limit,
    cursor,
    filters,
    includeMetadata,
    includeValues,
    consistency,
    ...options
  }: VectorListOptions = {}): Promise<Page<Vector>> {
    const shown = { includeMetadata: flag(includeMetadata), includeValues: flag(includeValues) };
    const query = { limit, cursor, filters: filters && JSON.stringify(filters), ...shown };
    const request = { ...options, method: "GET", path: "/vectors", query } as const;
    const { data, text } = await this.#call(request, this.#asked(consistency));
    const page = data as Page<Raw<Vector>>;
    if (!includeMetadata) return { ...page, items: page.items.map((item) => withFloats<Vector>(item)) };
    const texts = itemTexts(memberText(memberText(text, "data")!, "items")!);
    return { ...page, items: page.items.map((item, at) => vectorOf(item, texts[at]!)) };
  }

  /** All vectors, fetched page by page, in an order that writes do not change. */
  list(options: VectorListOptions = {}): AsyncGenerator<Vector, void, undefined> {
    return eachItem(options.cursor, (cursor) => this.page({ ...options, cursor }));
  }

  async count({
    filters,
    consistency,
    ...options
  }: VectorReadOptions & { readonly filters?: VectorFilters | undefined } = {}): Promise<number> {
    const query = { filters: filters && JSON.stringify(filters) };
    const request = { ...options, method: "GET", path: "/vectors/count", query } as const;
    const { data } = await this.#call(request, this.#asked(consistency));
    return (data as { count: number }).count;
  }

  /** The nearest to a vector, or to one that is stored (without itself). */
  async search(query: VectorQuery, options: VectorSearchOptions = {}): Promise<VectorResults & VectorSearchCost> {
    const found = await this.#search<VectorResults & VectorSearchCost>("/search", queryFields(query), options);
    return { ...found, ...resultsOf(found) };
  }

  /** Up to 100 searches that differ in their query only. */
  async searchMany(
    queries: readonly VectorQuery[],
    options: VectorSearchOptions = {},
  ): Promise<{ readonly searches: readonly VectorResults[] } & VectorSearchCost> {
    const fields = { queries: queries.map(queryFields) };
    const found = await this.#search<{ searches: readonly VectorResults[] } & VectorSearchCost>(
      "/search/batch",
      fields,
      options,
    );
    return { ...found, searches: found.searches.map(resultsOf) };
  }

  /** A search is no write: sent again it finds again. */
  async #search<T>(path: string, fields: object, options: VectorSearchOptions): Promise<T> {
    const { signal, timeoutMs, consistency: own, ...ask } = options;
    const consistency = this.#asked(own);
    const body = JSON.stringify({ ...fields, ...ask, consistency });
    return (await this.#call({ signal, timeoutMs, method: "POST", path, body }, consistency)).data as T;
  }

  #asked(consistency: VectorConsistency | undefined): VectorConsistency | undefined {
    return consistency ?? this.#consistency;
  }

  /** `consistency`: of a read; searches have it in their bodies. */
  #call(request: HttpRequest, consistency?: VectorConsistency) {
    const asked = request.method === "GET" ? { consistency } : {};
    const query = { namespace: this.#namespace, ...request.query, ...asked };
    const token = consistency === "causal" ? this.token : undefined;
    return this.#http.call({
      ...request,
      path: databasePath(this.databaseId) + request.path,
      query,
      ...(token !== undefined && { headers: { [VECTOR_TOKEN_HEADER]: token } }),
      onHeaders: (headers) => {
        const seen = headers.get(VECTOR_TOKEN_HEADER);
        if (seen) this.#tokens.add(this.#tokenKey, seen);
      },
    });
  }

  async #data<T>(request: HttpRequest): Promise<T> {
    return (await this.#call(request)).data as T;
  }
}

function flag(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}
