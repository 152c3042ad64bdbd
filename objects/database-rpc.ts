// The RPC surface of a Tenant for its vector databases.
import type { IndexChange } from "../src/vector/database/indexes.ts";
import type { RestoreOfAll } from "../src/vector/database/lifecycle.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import type { Mutation, RpcResult } from "./tenancy-rpc.ts";

/** Creating: not all shards have answered yet. Deleting: no longer there for anyone; its shards are being erased. */
export type DatabaseState = "creating" | "ready" | "deleting";

export interface DatabaseInfo {
  readonly namespace: string;
  readonly generation: number;
  readonly state: DatabaseState;
  /** All shards have what the record says. */
  readonly isSettled: boolean;
  readonly record: DatabaseRecord;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Fields of the record that are given are replaced whole. */
export type DatabaseChanges = Partial<Omit<DatabaseRecord, "databaseId" | "indexes" | "defaultBuild" | "lastBuild">>;

/** What is done to all shards of a database, and goes on after a crash. */
export type DatabaseTask =
  | { readonly kind: "takeSnapshot" | "dropSnapshot"; readonly snapshotId: string }
  /** `token`: the same restore is done once. */
  | ({ readonly kind: "restoreSnapshot" } & RestoreOfAll)
  | { readonly kind: "archive" | "unarchive" };

/** What is asked of a database's vectors: to be made anew from its rows' texts. */
export interface NewReembedding {
  readonly jobId: string;
  readonly modelId: string;
  readonly vectorDimension: number;
  readonly textField: string;
  readonly onMissing: "fail" | "drop";
}

export interface DeletedDatabase {
  readonly databaseId: string;
  readonly erasure: "running" | "done";
}

export interface NamedDatabase {
  readonly namespace: string;
  readonly databaseId: string;
}

export interface TenantDatabasesRpc {
  createDatabase(
    input: { readonly namespace: string; readonly record: DatabaseRecord },
    mutation: Mutation,
  ): Promise<RpcResult<DatabaseInfo>>;
  updateDatabase(name: NamedDatabase, changes: DatabaseChanges, mutation: Mutation): Promise<RpcResult<DatabaseInfo>>;
  runDatabaseTask(name: NamedDatabase, task: DatabaseTask, mutation: Mutation): Promise<RpcResult<DatabaseInfo>>;
  /**
   * Begins to bring a database to so many shards, its rows to other places among as many, or back to as many as there were; goes on behind the
   * answer.
   */
  reshardDatabase(
    name: NamedDatabase,
    shards: number | "anew" | "back",
    mutation: Mutation,
  ): Promise<RpcResult<DatabaseInfo>>;
  /** Creates, changes or deletes one index; the shards have what is wanted when it answers, and build it behind searches. */
  changeIndex(name: NamedDatabase, change: IndexChange, mutation: Mutation): Promise<RpcResult<DatabaseInfo>>;
  /** Begins one, which goes on behind the answer; null: ends the one that is under way. */
  reembedDatabase(
    name: NamedDatabase,
    asked: NewReembedding | null,
    mutation: Mutation,
  ): Promise<RpcResult<DatabaseInfo>>;
  deleteDatabase(name: NamedDatabase, mutation: Mutation): Promise<RpcResult<DeletedDatabase>>;
  /** Null = there is none; one that is being deleted is none. */
  findDatabase(name: NamedDatabase): Promise<RpcResult<DatabaseInfo | null>>;
  /** Of one namespace, after the id `after`, by id. */
  listDatabases(page: {
    readonly namespace: string;
    readonly after: string;
    readonly limit: number;
  }): Promise<RpcResult<readonly DatabaseInfo[]>>;
}
