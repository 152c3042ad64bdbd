// A row of a tenant's table of vector databases.
import type { DatabaseRecord } from "../src/vector/database/record.ts";
import type { DatabaseState } from "./database-rpc.ts";

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
