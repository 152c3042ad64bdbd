// Brings the storage tables to the newest version when an object starts.
// Guarantees: each step applies once, whole or not at all. Must not: be called outside a start.

import { type Migration, STORAGE_MIGRATIONS } from "../../migrations/storage.ts";
import type { SqlStorage } from "./types.ts";

/** Applies the steps above the stored version; idempotent. */
export function applyStorageSchema(sql: SqlStorage, migrations: readonly Migration[] = STORAGE_MIGRATIONS): void {
  drain(sql.exec("CREATE TABLE IF NOT EXISTS storage_schema (version INTEGER NOT NULL)"));
  let current = 0;
  for (const row of sql.exec<{ version: number | null }>("SELECT max(version) AS version FROM storage_schema")) {
    current = row.version ?? 0;
  }
  for (const migration of migrations) {
    if (migration.version <= current) continue;
    sql.transactionSync(() => {
      for (const statement of migration.statements) drain(sql.exec(statement));
      drain(sql.exec("INSERT INTO storage_schema (version) VALUES (?)", migration.version));
    });
  }
}

/** Runs a statement to its end for its effect. */
export function drain(rows: Iterable<unknown>): void {
  for (const _ of rows) {
    // Nothing to keep: iterating is what completes the statement in every implementation.
  }
}
