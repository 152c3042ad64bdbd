// A tenant's list of its vector databases, as numbered steps. Guarantee: append-only; a step once released never changes.
// Must not: hold logic. Applied by objects/migrate.ts when a Tenant starts.

export const TENANT_DATABASE_MIGRATIONS: readonly string[] = [
  [
    // state: creating → ready → deleting → erased (its id is free, its shards are erased once more after late_until_ms).
    // record: JSON of vector/database/record.ts. is_configured: all shards have it. late_until_ms: calls that configure shards may
    // arrive until then, though nobody waits for them.
    `CREATE TABLE databases (generation INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, database_id TEXT NOT NULL,
        state TEXT NOT NULL, record TEXT NOT NULL, is_configured INTEGER NOT NULL, late_until_ms REAL NOT NULL,
        created_at_ms REAL NOT NULL, updated_at_ms REAL NOT NULL)`,
    "CREATE UNIQUE INDEX databases_live ON databases (namespace, database_id) WHERE state <> 'erased'",
  ].join(";"),
  // CRC32C of the other columns (objects/checked-rows.ts); NULL until the row is sealed.
  "ALTER TABLE databases ADD COLUMN crc INTEGER",
];
