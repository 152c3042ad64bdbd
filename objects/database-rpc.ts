// The RPC surface of a Tenant for its vector databases.
import type { IndexChange } from "../src/vector/database/indexes.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import type { Mutation, RpcResult } from "./tenancy-rpc.ts";

/** Creating: not all shards have answered yet. Deleting: no longer there for anyone; its shards are being erased. */
export type DatabaseState = "creating" | "ready" | "deleting";

export interface DatabaseInfo {
  readonly namespace: string;
  readonly generation: number;
  readonly state: DatabaseState;
  readonly record: DatabaseRecord;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Fields of the record that are given are replaced whole. */
export type DatabaseChanges = Partial<Omit<DatabaseRecord, "databaseId" | "indexes" | "defaultBuild" | "lastBuild">>;

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
  /** Creates, changes or deletes one index; the shards have what is wanted when it answers, and build it behind searches. */
  changeIndex(name: NamedDatabase, change: IndexChange, mutation: Mutation): Promise<RpcResult<DatabaseInfo>>;
  deleteDatabase(name: NamedDatabase, mutation: Mutation): Promise<RpcResult<DeletedDatabase>>;
  /** Null = there is none; one that is being deleted is none. */
  findDatabase(name: NamedDatabase): Promise<DatabaseInfo | null>;
  /** Of one namespace, after the id `after`, by id. */
  listDatabases(page: {
    readonly namespace: string;
    readonly after: string;
    readonly limit: number;
  }): Promise<readonly DatabaseInfo[]>;
}
