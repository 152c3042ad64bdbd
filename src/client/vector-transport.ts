// What `client.vectors` needs of a way to the server: HTTP, or the session.
import type { Page } from "./types.ts";
import type { VectorTokens } from "./vector-tokens.ts";
import type {
  DeletedVectors,
  NewVector,
  StoredVector,
  Vector,
  VectorBatchAnswer,
  VectorBatchOptions,
  VectorChanges,
  VectorConsistency,
  VectorFilters,
  VectorListOptions,
  VectorQuery,
  VectorReadOptions,
  VectorResults,
  VectorSearchCost,
  VectorSearchOptions,
  VectorWriteOptions,
} from "./vector-types.ts";

export type VectorChoice = { readonly ids: readonly string[] } | { readonly filters: VectorFilters };
export type VectorCountOptions = VectorReadOptions & { readonly filters?: VectorFilters | undefined };
export type VectorSearched = VectorResults & VectorSearchCost;
export type VectorSearchedMany = { readonly searches: readonly VectorResults[] } & VectorSearchCost;

export interface VectorTransport {
  upsert(vector: NewVector, options?: VectorWriteOptions): Promise<StoredVector>;
  get(id: string, options?: VectorReadOptions): Promise<Vector>;
  update(id: string, changes: VectorChanges, options?: VectorWriteOptions): Promise<StoredVector>;
  delete(id: string, options?: VectorWriteOptions): Promise<StoredVector>;
  deleteMany(which: VectorChoice, options?: VectorWriteOptions): Promise<DeletedVectors>;
  upsertChunk(
    vectors: readonly NewVector[],
    options?: Omit<VectorBatchOptions, "chunkVectors">,
  ): Promise<VectorBatchAnswer>;
  page(options?: VectorListOptions): Promise<Page<Vector>>;
  count(options?: VectorCountOptions): Promise<number>;
  search(query: VectorQuery, options?: VectorSearchOptions): Promise<VectorSearched>;
  searchMany(queries: readonly VectorQuery[], options?: VectorSearchOptions): Promise<VectorSearchedMany>;
}

/** Which database, and what this client has seen of it. */
export class VectorPlace {
  readonly databaseId: string;
  readonly namespace: string | undefined;
  /** Of reads that do not say it themselves. */
  readonly consistency: VectorConsistency | undefined;
  readonly #tokens: VectorTokens;

  constructor(
    databaseId: string,
    of: {
      readonly namespace?: string | undefined;
      readonly consistency?: VectorConsistency | undefined;
      readonly tokens: VectorTokens;
    },
  ) {
    this.databaseId = databaseId;
    this.namespace = of.namespace;
    this.consistency = of.consistency;
    this.#tokens = of.tokens;
  }

  get #key(): string {
    return `${this.namespace ?? "default"}/${this.databaseId}`;
  }

  get token(): string | undefined {
    return this.#tokens.get(this.#key);
  }

  /** @throws MalformedBytes */
  saw(token: string): void {
    this.#tokens.add(this.#key, token);
  }
}
