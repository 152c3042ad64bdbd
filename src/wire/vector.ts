// What can be asked of a shard of a vector database, and what it answers: the types that gateway, sessions, objects and SDK share.
// Values travel as float32 bytes, metadata as the JSON text that came, filters as JSON text. Must not: do anything.

/** When a write is acknowledged: in the log on disk; in memory, logged within a second; in memory, logged when it fits. */
export type Durability = "sync" | "periodic" | "eventual";
export const DURABILITIES: readonly Durability[] = ["sync", "periodic", "eventual"];

export interface VectorInput {
  readonly id: string;
  /** float32, little endian, one for each dimension. */
  readonly values: Uint8Array;
  /** JSON text of an object; empty = none. */
  readonly metadata: Uint8Array;
  /** Of a row that comes from another shard: what is known of its earlier versions. Only between shards. */
  readonly before?: EarlierVersion | undefined;
}

export interface EarlierVersion {
  readonly version: number;
  readonly createdMs: number;
  /** Zero: this is a new version; else the row is moved as it is. */
  readonly updatedMs: number;
}

/** What of a row is given back. */
export interface Shown {
  readonly values?: boolean | undefined;
  readonly metadata?: boolean | undefined;
}

export interface UpsertRequest {
  readonly kind: "upsert";
  readonly rows: readonly VectorInput[];
  /** All or nothing: one bad row refuses the others. */
  readonly atomic?: boolean | undefined;
  readonly durability?: Durability | undefined;
}

/** Changes what is given of a row that exists. */
export interface UpdateRequest {
  readonly kind: "update";
  readonly id: string;
  readonly values?: Uint8Array | undefined;
  readonly metadata?: Uint8Array | undefined;
  readonly durability?: Durability | undefined;
}

export interface DeleteRequest {
  readonly kind: "delete";
  readonly ids: readonly string[];
  readonly durability?: Durability | undefined;
}

/** Deletes rows that match, at most `limit` of them: the caller asks again while `more`. */
export interface DeleteWhereRequest {
  readonly kind: "deleteWhere";
  readonly filter: string;
  readonly limit: number;
}

export interface GetRequest {
  readonly kind: "get";
  readonly ids: readonly string[];
  readonly shown: Shown;
}

/** Rows in an order of their own that neither writes nor merges change. */
export interface ListRequest {
  readonly kind: "list";
  /** As the answer before gave it; empty = from the beginning. */
  readonly cursor: Uint8Array;
  readonly limit: number;
  readonly filter?: string | undefined;
  readonly shown: Shown;
}

export interface CountRequest {
  readonly kind: "count";
  readonly filter?: string | undefined;
}

export interface SearchRequest {
  readonly kind: "search";
  /** float32 bytes of each query. */
  readonly queries: readonly Uint8Array[];
  readonly k: number;
  /** Least similarity, for euclidean the greatest distance. */
  readonly threshold?: number | undefined;
  readonly filter?: string | undefined;
  /** Name of the index; empty = the default one. */
  readonly index: string;
  readonly ef?: number | undefined;
  readonly probes?: number | undefined;
  readonly rerank?: number | undefined;
  readonly shown: Shown;
  readonly explain?: boolean | undefined;
}

/** Every row whose score meets the threshold, best first, equal scores by id; exactly. */
export interface WithinRequest {
  readonly kind: "within";
  /** float32 bytes. */
  readonly query: Uint8Array;
  readonly threshold: number;
  readonly filter?: string | undefined;
  /** The last row of the page before. */
  readonly after?: WithinPlace | undefined;
  /** An id that is neither given nor counted. */
  readonly without?: string | undefined;
  readonly limit: number;
  readonly shown: Shown;
}

export interface WithinPlace {
  readonly score: number;
  readonly id: string;
}

/** One vector of an import, and its place in the request. */
export interface ImportRow {
  readonly index: number;
  readonly row: VectorInput;
}

export interface ImportError {
  /** Place in the request. */
  readonly index: number;
  readonly id: string;
  readonly code: string;
  readonly message: string;
}

/** A part of an import's rows: kept until it is started. May come again. */
export interface ImportStageRequest {
  readonly kind: "importStage";
  readonly job: string;
  /** Another body under the same job is refused. */
  readonly bodyHash: string;
  readonly part: number;
  readonly rows: readonly ImportRow[];
  /** Items that were refused before they had a row. */
  readonly refused: readonly ImportError[];
}

/** All parts were staged: they are applied behind the answer. */
export interface ImportStartRequest {
  readonly kind: "importStart";
  readonly job: string;
  readonly parts: number;
}

/** What was applied stays; one that was not started is forgotten. */
export interface ImportCancelRequest {
  readonly kind: "importCancel";
  readonly job: string;
  /** Only one that was not started. */
  readonly staged?: boolean | undefined;
}

/** All imports, or one. */
export interface ImportsRequest {
  readonly kind: "imports";
  readonly job?: string | undefined;
}

export interface StatusRequest {
  readonly kind: "status";
}

export type VectorRequest =
  | UpsertRequest
  | UpdateRequest
  | DeleteRequest
  | DeleteWhereRequest
  | GetRequest
  | ListRequest
  | CountRequest
  | SearchRequest
  | WithinRequest
  | ImportStageRequest
  | ImportStartRequest
  | ImportCancelRequest
  | ImportsRequest
  | StatusRequest;

export interface VectorStamp {
  readonly revision: number;
  /** Versions of this id since it was created, from 1. */
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly updatedMs: number;
}

export interface VectorShown {
  readonly id: string;
  readonly stamp: VectorStamp;
  readonly values?: Uint8Array | undefined;
  readonly metadata?: Uint8Array | undefined;
}

export interface VectorFailure {
  readonly kind: "error";
  /** One of wire/error-codes.ts. */
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** What a shard answers that was never created, or erased: its database is deleted, or the caller's view of it is old. */
export const NO_SUCH_SHARD: VectorFailure = {
  kind: "error",
  code: "notFound",
  message: "there is no such database",
  details: { reason: "noSuchShard" },
};

export function isGone({ code, details }: VectorFailure): boolean {
  return code === "notFound" && details?.["reason"] === "noSuchShard";
}

/** The place in a shard's history that an answer reflects. */
export interface ShardPlace {
  readonly term: number;
  readonly revision: number;
}

export interface WrittenAnswer extends ShardPlace {
  readonly kind: "written";
  /** Of each row, in the order of the request. `null`: there was nothing to delete. */
  readonly results: readonly (VectorStamp | VectorFailure | null)[];
  /** deleteWhere: rows that match are left. */
  readonly more?: boolean | undefined;
}

export interface RowsAnswer extends ShardPlace {
  readonly kind: "rows";
  readonly rows: readonly (VectorShown | null)[];
  /** Empty = these were all. */
  readonly cursor: Uint8Array;
}

export interface CountAnswer extends ShardPlace {
  readonly kind: "count";
  readonly count: number;
}

export interface VectorHit extends VectorShown {
  readonly score: number;
}

export interface FoundAnswer extends ShardPlace {
  readonly kind: "found";
  /** Of each query, best first. */
  readonly results: readonly (readonly VectorHit[])[];
  /** Rows looked at, over all queries. */
  readonly scanned: number;
  /** Queries whose results were remembered: nothing was looked at for them. */
  readonly cached: number;
  /** JSON: what each segment did, for each query; empty unless asked for. */
  readonly explain: string;
}

export interface WithinAnswer extends ShardPlace {
  readonly kind: "within";
  readonly rows: readonly VectorHit[];
  /** There are others behind the last one. */
  readonly more: boolean;
  /** All that meet the threshold, those of earlier pages included. */
  readonly total: number;
  readonly scanned: number;
}

export interface StatusAnswer extends ShardPlace {
  readonly kind: "status";
  /** JSON: see vector/shard/shard-status.ts. */
  readonly status: string;
}

export type VectorAnswer =
  | WrittenAnswer
  | RowsAnswer
  | CountAnswer
  | FoundAnswer
  | WithinAnswer
  | StatusAnswer
  | VectorFailure;

/** Kinds that change something; their callers need the scope read-write. */
const WRITING: ReadonlySet<VectorRequest["kind"]> = new Set([
  ...["upsert", "update", "delete", "deleteWhere"],
  ...["importStage", "importStart", "importCancel"],
] as const);

export function isVectorWrite(request: VectorRequest): boolean {
  return WRITING.has(request.kind);
}

/** One request with what makes it repeatable. */
export interface VectorCall {
  /** Of a write that may be repeated: 16 bytes. */
  readonly writeId?: Uint8Array | undefined;
  /** With `writeId`: 8 bytes; another body under the same id is refused. */
  readonly bodyHash?: Uint8Array | undefined;
  /** From the shard that places the row: run here, whatever the database's strategy. */
  readonly isPlaced?: boolean | undefined;
  /** Which of its database's topologies (vector/database/resharding.ts) the caller knows; absent = 0, it never changed. */
  readonly topology?: number | undefined;
  readonly request: VectorRequest;
}
