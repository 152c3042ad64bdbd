// The types of `client.databases` and `client.vectors`. Pure types.
import type { CallOptions, ListOptions } from "./types.ts";

export type VectorMetric = "cosine" | "euclidean" | "dot";
export type VectorDurability = "sync" | "periodic" | "eventual";
export type VectorMetadata = Readonly<Record<string, unknown>>;
/** Conditions on metadata, as docs/vectors.md tells them. */
export type VectorFilters = Readonly<Record<string, unknown>>;

/** What of a database may be changed. Each field has a default. */
export interface DatabaseChanges {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly indexParameters?: Readonly<Record<string, unknown>> | undefined;
  readonly replication?: { readonly factor?: number; readonly sync?: boolean; readonly maxLagMs?: number } | undefined;
  readonly embeddingModels?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** Field → type. Null: metadata is free. */
  readonly metadataSchema?: Readonly<Record<string, string>> | null | undefined;
  /** Of writes that do not say it themselves. Default: `sync`. */
  readonly durability?: VectorDurability | undefined;
  readonly retentionPolicy?: Readonly<Record<string, unknown>> | null | undefined;
  readonly accessControl?: Readonly<Record<string, unknown>> | null | undefined;
}

export interface NewDatabase extends DatabaseChanges {
  /** Default: one is made. */
  readonly databaseId?: string | undefined;
  /** Default: that of the first model that `embeddingModels` name by `modelId`. */
  readonly vectorDimension?: number | undefined;
  /** Default: `cosine`. */
  readonly metric?: VectorMetric | undefined;
  /** Default: `HNSW`. */
  readonly indexType?: string | undefined;
  readonly sharding?: NewSharding | undefined;
  /** Indexes hold vectors of fewer values; the full ones are kept. */
  readonly reduction?: DatabaseReduction | undefined;
}

export interface DatabaseReduction {
  readonly kind: "pca" | "random";
  /** Fewer than `vectorDimension`. */
  readonly dimensions: number;
}

/** How vectors come to their shards: `hash` (default), `range` of a metadata field, `centroid`. */
export interface NewSharding {
  readonly strategy?: string | undefined;
  readonly numShards?: number | undefined;
  /** `range`. Without split points they are learned. */
  readonly key?: string | undefined;
  readonly splitPoints?: readonly (number | string)[] | undefined;
  /** `centroid`. */
  readonly shardProbes?: number | undefined;
  readonly targetRecall?: number | undefined;
  readonly learnRows?: number | undefined;
}

export interface DatabaseSnapshotName {
  readonly snapshotId: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

export interface DatabaseSnapshot extends DatabaseSnapshotName {
  readonly rows: number;
  readonly shards: readonly {
    readonly shard: number;
    readonly revision: number;
    readonly rows: number;
    readonly bytes: number;
  }[];
}

/** Vectors that a database's retention has archived. */
export interface ExpiredVectors {
  readonly databaseId: string;
  readonly rows: number;
  readonly bytes: number;
  /** When the first and the last of them were last written. */
  readonly oldestAt: string | null;
  readonly newestAt: string | null;
  /** Names what there is: given to a download and a deletion, what is archived meanwhile stays. */
  readonly through: string;
}

/** A change of the number of shards. */
export interface DatabaseReshard {
  readonly databaseId: string;
  readonly state: "preparing" | "moving" | "ending" | "done";
  /** Where vectors go that are written now. */
  readonly numShards: number;
  readonly from?: number;
  readonly to?: number;
  readonly cancelled?: true;
  /** 0 to 1. */
  readonly progress: number;
}

export interface Database {
  readonly databaseId: string;
  readonly namespace: string;
  readonly state: string;
  readonly name: string;
  readonly description: string;
  readonly vectorDimension: number;
  readonly metric: VectorMetric;
  readonly indexType: string;
  readonly indexParameters: Readonly<Record<string, unknown>>;
  readonly reduction?: DatabaseReduction | undefined;
  readonly sharding: NewSharding & { readonly strategy: string; readonly numShards: number };
  readonly replication: { readonly factor: number; readonly sync: boolean; readonly maxLagMs: number };
  readonly embeddingModels: readonly Readonly<Record<string, unknown>>[];
  readonly metadataSchema: Readonly<Record<string, string>> | null;
  readonly durability: VectorDurability;
  readonly retentionPolicy: Readonly<Record<string, unknown>> | null;
  readonly accessControl: Readonly<Record<string, unknown>> | null;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Of a database, or of one shard. */
export interface VectorAmounts {
  readonly rows: number;
  readonly freshRows: number;
  readonly segments: number;
  readonly deletedRows: number;
  readonly logBytes: number;
  readonly memoryBytes: number;
  readonly indexBytes: number;
  /** Searches answered from remembered results since the shard was opened, and those that were not. */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheBytes: number;
  /** Stored bytes of values in the shards' own storage, and of those that left it for the blob store. */
  readonly hotBytes: number;
  readonly coldBytes: number;
}

export interface DatabaseStatus extends VectorAmounts {
  readonly databaseId: string;
  readonly state: string;
  readonly shards: readonly (VectorAmounts & {
    readonly shard: number;
    readonly term: number;
    readonly revision: number;
    /** Its followers; absent: it has none. */
    readonly replicas?: readonly {
      readonly zone: string;
      /** `filling`: it does not have all yet, and nobody reads it. */
      readonly state: "serving" | "filling";
      /** Of one that is being filled: what it has of its owner's segments. */
      readonly copied?: { readonly bytes: number; readonly ofBytes: number };
      readonly revision: number;
      readonly lagRevisions: number;
      readonly lagMs: number;
    }[];
  })[];
}

export interface NewDatabaseIndex {
  /** Its name, for searches too. */
  readonly indexId: string;
  /** `FLAT`, `HNSW`, `IVF` or `LSH`. */
  readonly indexType: string;
  readonly indexParameters?: Readonly<Record<string, unknown>> | undefined;
}

export interface IndexChanges {
  readonly indexParameters?: Readonly<Record<string, unknown>> | undefined;
  /** Built anew though nothing else changes. */
  readonly rebuild?: boolean | undefined;
}

/** An index of a database, and how far it is built. */
export interface DatabaseIndex {
  readonly indexId: string;
  readonly isDefault: boolean;
  readonly indexType: string;
  readonly indexParameters: Readonly<Record<string, unknown>>;
  /** Degraded: some segments must do without it; `missing` says why. */
  readonly state: "building" | "ready" | "degraded";
  /** 0 to 1, by rows. */
  readonly progress: number;
  readonly rows: number;
  readonly indexedRows: number;
  readonly memoryBytes: number;
  /** What the database's reduction saves and costs, as it was measured; null = not known yet. */
  readonly reduction?:
    | (DatabaseReduction & {
        readonly reducedRows: number;
        readonly keptVariance: number | null;
        readonly recall: number | null;
        readonly savedBytes: number;
        readonly savedShare: number;
      })
    | undefined;
  /** Vectors that it does not hold: their stored values are damaged, or cannot be compared. */
  readonly quarantinedRows: number;
  readonly quarantined: readonly {
    readonly shard: number;
    readonly segment: number;
    readonly row: number;
    readonly id: string | null;
  }[];
  readonly missing: readonly { readonly shard: number; readonly segment: number; readonly why: string }[];
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Vectors that were taken to be stored behind the answer. */
export interface VectorImport {
  readonly importId: string;
  /** Staged: not all shards have begun. Failed: what waited on disk is damaged. */
  readonly state: "staged" | "queued" | "running" | "done" | "failed" | "cancelled";
  readonly total: number;
  readonly stored: number;
  readonly failed: number;
  /** 0 to 1. */
  readonly progress: number;
  /** The first of those that were refused, by their place in the request. */
  readonly errors: readonly {
    readonly index: number;
    readonly id: string;
    readonly code: string;
    readonly message: string;
  }[];
  /** Why it does not go on for the time being. */
  readonly waitsFor?: string;
  readonly createdAt: string;
  readonly endedAt: string | null;
}

export interface DatabaseWriteOptions extends CallOptions {
  /** 32 hex digits: the same write sent again is applied once. Default: random, kept over this call's retries. */
  readonly writeId?: string | undefined;
}

export interface VectorWriteOptions extends DatabaseWriteOptions {
  /** When this write is acknowledged. Default: the database's. */
  readonly durability?: VectorDurability | undefined;
}

export interface NewVector {
  /** Default: one is made. */
  readonly id?: string | undefined;
  /** Kept as float32. */
  readonly values: ArrayLike<number>;
  readonly metadata?: VectorMetadata | undefined;
  /** Instead of `metadata`: the exact JSON text of an object, which comes back byte for byte. */
  readonly metadataJson?: string | undefined;
}

/** A vector that the database's model for texts makes. The text itself is not stored: put it into the metadata to read it again. */
export interface NewText extends Omit<NewVector, "values"> {
  readonly text: string;
}

/** A vector that the database's model for images makes. The image itself is not stored. */
export interface NewImage extends Omit<NewVector, "values"> {
  /** PNG or JPEG. */
  readonly image: Uint8Array;
}

/** What a model of the family `tensor` takes, by the names of its inputs: numbers row by row; their shape where the model leaves it open. */
export type Tensors = Readonly<
  Record<string, { readonly data: ArrayLike<number>; readonly shape?: readonly number[] }>
>;

export interface NewTensor extends Omit<NewVector, "values"> {
  readonly tensor: Tensors;
}

export type VectorChanges = Omit<NewVector, "id" | "values"> & {
  readonly values?: ArrayLike<number> | undefined;
  readonly text?: string | undefined;
  readonly image?: Uint8Array | undefined;
  readonly tensor?: Tensors | undefined;
};

export interface StoredVector {
  readonly id: string;
  readonly version: number;
  readonly revision: number;
  readonly shard: string;
  readonly createdAt: string;
  readonly updatedAt: string;
}

export interface Vector extends StoredVector {
  /** Where they were asked for. */
  readonly values?: Float32Array;
  readonly metadata?: VectorMetadata;
  /** The exact JSON text of the metadata. */
  readonly metadataJson?: string;
}

/** Of `client.vectors`. */
export interface VectorsOptions {
  readonly namespace?: string | undefined;
  /** Of reads that do not say it themselves. Default: `strong`. */
  readonly consistency?: VectorConsistency | undefined;
}

/**
 * `strong`: every acknowledged write. `causal`: at least what this client has written and seen. `eventual`: any copy that lacks less than
 * the database's `maxLagMs`.
 */
export type VectorConsistency = "strong" | "causal" | "eventual";

export interface VectorReadOptions extends CallOptions {
  readonly consistency?: VectorConsistency | undefined;
}

export interface VectorListOptions extends ListOptions {
  readonly consistency?: VectorConsistency | undefined;
  readonly filters?: VectorFilters | undefined;
  readonly includeMetadata?: boolean | undefined;
  readonly includeValues?: boolean | undefined;
}

export interface VectorBatchOptions extends VectorWriteOptions {
  /** All or nothing; all of one shard, in one chunk. */
  readonly atomic?: boolean | undefined;
  /** Most vectors of one request. Default 1000. */
  readonly chunkVectors?: number | undefined;
}

/** Of one vector of a batch: stored, or why not. */
export type VectorBatchResult =
  | { readonly ok: true; readonly id: string; readonly version: number; readonly revision: number }
  | {
      readonly ok: false;
      readonly id: string;
      readonly error: {
        readonly code: string;
        readonly message: string;
        readonly details: Readonly<Record<string, unknown>>;
      };
    };

export interface VectorBatchAnswer {
  readonly stored: number;
  readonly failed: number;
  /** In the order of the vectors. */
  readonly results: readonly VectorBatchResult[];
}

export interface DeletedVectors {
  readonly deleted: number;
  /** Of ids: those that there are not. */
  readonly missing?: readonly string[];
  /** True: more match than one call deletes; call again. */
  readonly more: boolean;
  /** What some shards refused when others had done it: an Idempotency-Key that they know with another request. */
  readonly refused?: readonly {
    readonly ids?: readonly string[];
    readonly error: { readonly code: string; readonly message: string };
  }[];
}

export interface VectorSearchOptions extends CallOptions {
  /** Default: 10; with a threshold all that meet it. */
  readonly topK?: number | undefined;
  /** With a threshold and no `topK`: results of a page, and the cursor of the page before. */
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
  /** Least similarity; for euclidean the greatest distance. */
  readonly threshold?: number | undefined;
  readonly filters?: VectorFilters | undefined;
  readonly index?: string | undefined;
  readonly ef?: number | undefined;
  readonly probes?: number | undefined;
  readonly rerank?: number | undefined;
  readonly includeMetadata?: boolean | undefined;
  readonly includeValues?: boolean | undefined;
  readonly explain?: boolean | undefined;
  /** For texts, images and tensors: a model of the database by its id or name, or any of its dimension. */
  readonly embeddingModel?: string | undefined;
  readonly consistency?: VectorConsistency | undefined;
  /** A shard may take so long. */
  readonly deadlineMs?: number | undefined;
  /** Results of the other shards where one does not answer in time; see `missingShards`. */
  readonly partial?: boolean | undefined;
}

/** A vector, a text, an image or tensors for the database's model, or the id of a vector that is stored. */
export type VectorQuery =
  | { readonly vector: ArrayLike<number> }
  | { readonly text: string }
  | { readonly image: Uint8Array }
  | { readonly tensor: Tensors }
  | { readonly id: string };

export interface VectorHit {
  readonly id: string;
  /** Cosine similarity, dot product, or euclidean distance. */
  readonly score: number;
  readonly metadata?: VectorMetadata;
  readonly values?: Float32Array;
}

export interface VectorResults {
  readonly results: readonly VectorHit[];
  /** False: there may be more that meet the threshold. */
  readonly isComplete: boolean;
  /** A threshold without `topK`: of the next page (null = this is the last), and the number of all that meet it. */
  readonly cursor?: string | null;
  readonly total?: number;
}

/** What a search cost. */
export interface VectorSearchCost {
  /** Rows looked at. */
  readonly scanned: number;
  /** True: `missingShards` did not answer, and their vectors are not among the results. Only where `partial` was asked for. */
  readonly partial?: true;
  readonly missingShards?: readonly number[];
  readonly explain?: unknown;
}

/** A database's vectors made anew, from the texts in its rows' metadata. */
export interface NewReembedding {
  readonly model: string;
  /** The metadata field with the text. Default: `text`. */
  readonly textField?: string | undefined;
  /** A row without a text that the model can embed fails the job (default), or is left behind. */
  readonly onMissing?: "fail" | "drop" | undefined;
}

export interface Reembedding extends Required<NewReembedding> {
  readonly jobId: string;
  readonly vectorDimension: number;
  /** `switching`: writes are held up for a moment. */
  readonly state: "running" | "switching" | "done" | "failed" | "cancelled";
  readonly rows: number;
  readonly embedded: number;
  readonly missing: number;
  readonly progress: number;
  /** Why it failed, or what it waits for. */
  readonly message: string;
  readonly startedAt: string;
  readonly endedAt: string | null;
}
