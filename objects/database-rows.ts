// A row of a tenant's table of vector databases.
import { CorruptRecord } from "../src/config/record.ts";
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import type { DatabaseInfo, DatabaseState } from "./database-rpc.ts";
import { failure, type RpcResult } from "./tenancy-rpc.ts";

export type DatabaseRow = {
  crc: number | null;
  generation: number;
  namespace: string;
  database_id: string;
  state: DatabaseState | "erased";
  record: string;
  is_configured: number;
  late_until_ms: number;
  created_at_ms: number;
  updated_at_ms: number;
};

export function recordOf({ record }: DatabaseRow): DatabaseRecord {
  return JSON.parse(record) as DatabaseRecord;
}

export function infoOf(row: DatabaseRow): DatabaseInfo {
  const { namespace, generation, state, created_at_ms, updated_at_ms } = row;
  const record = JSON.parse(row.record) as DatabaseRecord;
  if (state === "erased") throw new Error("an erased database has no description");
  const times = { createdAtMs: created_at_ms, updatedAtMs: updated_at_ms };
  return { namespace, generation, state, isSettled: row.is_configured === 1, record, ...times };
}

/** A damaged row is told, never served or changed. */
export function readable<T>(run: () => RpcResult<T>): RpcResult<T> {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof CorruptRecord)) throw error;
    return failure("dataCorrupt", "the database's record is damaged; what its shards hold is not");
  }
}
