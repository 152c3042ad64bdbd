// Creates the storage tables where they are missing, for callers without the object's own migration runner.
// Guarantee: all of them or none; does nothing on a store that has them. Must not: know the statements.

import { drain } from "./drain.ts";
import type { SqlStorage } from "./types.ts";

/** Applies `migrations` (STORAGE_MIGRATIONS), each once. */
export function applyStorageSchema(sql: SqlStorage, migrations: readonly string[]): void {
  drain(sql.exec("CREATE TABLE IF NOT EXISTS storage_schema (version INTEGER NOT NULL)"));
  let applied = 0;
  for (const row of sql.exec<{ version: number | null }>("SELECT max(version) AS version FROM storage_schema")) {
    applied = row.version ?? 0;
  }
  for (let version = applied; version < migrations.length; version++) {
    sql.transactionSync(() => {
      drain(sql.exec(migrations[version]!));
      drain(sql.exec("INSERT INTO storage_schema (version) VALUES (?)", version + 1));
    });
  }
}
