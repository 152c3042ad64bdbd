// Numbered, append-only SQL migrations of an object class, applied when it starts.
// Guarantees: each entry runs once, whole or not at all, in order. Must not: be asked to go back.

/** `name` keeps the steps of several parts in one object apart. Entry i is version i + 1. */
export function applyMigrations(storage: DurableObjectStorage, name: string, migrations: readonly string[]): void {
  const { sql } = storage;
  sql.exec("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, version INTEGER NOT NULL)");
  const [row] = sql.exec<{ version: number }>("SELECT version FROM migrations WHERE name = ?", name).toArray();
  const applied = row?.version ?? 0;
  if (applied > migrations.length) {
    throw new Error(
      `${name}: the data is of schema ${applied}, this build knows ${migrations.length}; run a newer build`,
    );
  }
  for (let version = applied; version < migrations.length; version++) {
    storage.transactionSync(() => {
      sql.exec(migrations[version]!);
      sql.exec("INSERT OR REPLACE INTO migrations (name, version) VALUES (?, ?)", name, version + 1);
    });
  }
}
