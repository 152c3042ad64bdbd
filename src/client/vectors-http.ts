// Vectors of one database over HTTP.
// Guarantees: a write is applied once over all of its retries; values are float32 as they are stored.
import { VECTOR_TOKEN_HEADER } from "../wire/vector-token.ts";
import { base64Of } from "./config-codec.ts";
import { databasePath } from "./database-path.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import { itemTexts, memberText } from "./raw-json.ts";
import type { Page } from "./types.ts";
import { BINARY_TYPE, binaryBatch, metadataTextOf } from "./vector-batch.ts";
import { floatBytesOf, numbersOf, tensorFields } from "./vector-inputs.ts";
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
  VectorHit,
  VectorListOptions,
  VectorQuery,
  VectorReadOptions,
  VectorResults,
  VectorSearchOptions,
  VectorWriteOptions,
} from "./vector-types.ts";

/** Of a query in a URL: what is longer goes in a body. */
const MAX_OPTIONS_CHARACTERS = 1000;

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

/** The vectors of one database, one request a call. */
export class HttpVectors implements VectorTransport {
  readonly #http: HttpClient;
  readonly #place: VectorPlace;

  constructor(http: HttpClient, place: VectorPlace) {
    this.#http = http;
    this.#place = place;
  }

  upsert(
    vector: NewVector | NewText | NewImage | NewTensor,
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<StoredVector> {
    return this.data({ ...options, method: "POST", path: "/vectors", body: vectorText(vector, { durability }) });
  }

  async get(id: string, { consistency, ...options }: VectorReadOptions = {}): Promise<Vector> {
    const request = { ...options, method: "GET", path: "/vector", query: { id } } as const;
    const { data, text } = await this.#call(request, this.#asked(consistency));
    return vectorOf(data as Raw<Vector>, memberText(text, "data")!);
  }

  update(
    id: string,
    changes: VectorChanges,
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<StoredVector> {
    return this.data({
      ...options,
      method: "PUT",
      path: "/vector",
      query: { id },
      body: vectorText(changes, { durability }),
    });
  }

  delete(id: string, { durability, ...options }: VectorWriteOptions = {}): Promise<StoredVector> {
    return this.data({ ...options, method: "DELETE", path: "/vector", query: { id, durability } });
  }

  deleteMany(which: VectorChoice, { durability, ...options }: VectorWriteOptions = {}): Promise<DeletedVectors> {
    const body = JSON.stringify({ ...which, durability });
    return this.data({ ...options, method: "POST", path: "/vectors/delete", body });
  }

  /** One request with texts. */
  async upsertTextChunk(
    texts: readonly NewText[],
    { durability, ...options }: VectorWriteOptions = {},
  ): Promise<VectorBatchAnswer> {
    const body = `{"vectors":[${texts.map((text) => vectorText(text, {})).join(",")}]}`;
    const query = { durability };
    const sent = { ...options, method: "POST", path: "/vectors/batch", query, body } as const;
    const { stored, failed, results } = await this.data<RawBatch>(sent);
    return { stored, failed, results: shownResults(results) };
  }

  /** One request with vectors of one dimension. */
  async upsertChunk(
    vectors: readonly NewVector[],
    { durability, atomic, ...options }: Omit<VectorBatchOptions, "chunkVectors"> = {},
  ): Promise<VectorBatchAnswer> {
    const { stored, failed, results } = await this.data<RawBatch>({
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

  async count({ filters, consistency, ...options }: VectorCountOptions = {}): Promise<number> {
    const query = { filters: filters && JSON.stringify(filters) };
    const request = { ...options, method: "GET", path: "/vectors/count", query } as const;
    const { data } = await this.#call(request, this.#asked(consistency));
    return (data as { count: number }).count;
  }

  async search(query: VectorQuery, options: VectorSearchOptions = {}): Promise<VectorSearched> {
    const found = "vector" in query ? await this.#searchByBytes(query.vector, options) : undefined;
    const answer = found ?? (await this.#search<VectorSearched>("/search", queryFields(query), options));
    return { ...answer, ...resultsOf(answer) };
  }

  async searchMany(queries: readonly VectorQuery[], options: VectorSearchOptions = {}): Promise<VectorSearchedMany> {
    const fields = { queries: queries.map(queryFields) };
    const found = await this.#search<VectorSearchedMany>("/search/batch", fields, options);
    return { ...found, searches: found.searches.map(resultsOf) };
  }

  /** The vector as bytes, which cost the server less than numbers; undefined where the other fields are too long for a query. */
  async #searchByBytes(
    vector: ArrayLike<number>,
    { signal, timeoutMs, consistency: own, ...ask }: VectorSearchOptions,
  ): Promise<VectorSearched | undefined> {
    const consistency = this.#asked(own);
    const options = JSON.stringify({ ...ask, consistency });
    if (options.length > MAX_OPTIONS_CHARACTERS) return undefined;
    const body = floatBytesOf(vector);
    const query = options === "{}" ? {} : { options };
    const request = { method: "POST", path: "/search", query, body, contentType: BINARY_TYPE } as const;
    return (await this.#call({ ...request, signal, timeoutMs }, consistency)).data as VectorSearched;
  }

  /** A search is no write: sent again it finds again. */
  async #search<T>(path: string, fields: object, options: VectorSearchOptions): Promise<T> {
    const { signal, timeoutMs, consistency: own, ...ask } = options;
    const consistency = this.#asked(own);
    const body = JSON.stringify({ ...fields, ...ask, consistency });
    return (await this.#call({ signal, timeoutMs, method: "POST", path, body }, consistency)).data as T;
  }

  #asked(consistency: VectorConsistency | undefined): VectorConsistency | undefined {
    return consistency ?? this.#place.consistency;
  }

  /** `consistency`: of a read; searches have it in their bodies. */
  #call(request: HttpRequest, consistency?: VectorConsistency) {
    const asked = request.method === "GET" ? { consistency } : {};
    const query = { namespace: this.#place.namespace, ...request.query, ...asked };
    const token = consistency === "causal" ? this.#place.token : undefined;
    return this.#http.call({
      ...request,
      path: databasePath(this.#place.databaseId) + request.path,
      query,
      ...(token !== undefined && { headers: { [VECTOR_TOKEN_HEADER]: token } }),
      onHeaders: (headers) => {
        const seen = headers.get(VECTOR_TOKEN_HEADER);
        if (seen) this.#place.saw(seen);
      },
    });
  }

  /** A request to a path of the database. */
  async data<T>(request: HttpRequest): Promise<T> {
    return (await this.#call(request)).data as T;
  }
}

function flag(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}
