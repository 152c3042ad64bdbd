// Creates the storage tables where they are missing, for callers without the object's own migration runner.
// Guarantee: does nothing on a store that has them. Must not: be used once the object lists STORAGE_MIGRATIONS itself.

import { STORAGE_MIGRATIONS } from "../../migrations/storage.ts";
import { drain } from "./drain.ts";
import type { SqlStorage } from "./types.ts";

/** @deprecated Use applyMigrations(storage, "storage", STORAGE_MIGRATIONS) in the object. */
export function applyStorageSchema(sql: SqlStorage): void {
  for (const _ of sql.exec("SELECT name FROM sqlite_master WHERE name = 'storage_log'")) return;
  sql.transactionSync(() => {
    for (const statements of STORAGE_MIGRATIONS) drain(sql.exec(statements));
  });
}
