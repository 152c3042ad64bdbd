// The tables of webhooks: a subscription's own (WebhookSender) and a tenant's list of them (Tenant), as numbered steps. Guarantee:
// append-only; a step once released never changes. Must not: hold logic. Applied by objects/migrate.ts when an object starts.

export const WEBHOOK_SENDER_MIGRATIONS: readonly string[] = [
  [
    // `name`: subscription, progress, secrets; `crc`: CRC32C of name and value.
    "CREATE TABLE webhook_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE webhook_dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, letter TEXT NOT NULL, crc INTEGER NOT NULL)",
    `CREATE TABLE write_records (record_id TEXT PRIMARY KEY, body_hash TEXT NOT NULL, answer TEXT NOT NULL,
        at_ms REAL NOT NULL) WITHOUT ROWID`,
    "CREATE INDEX write_records_by_time ON write_records (at_ms)",
  ].join(";"),
  "ALTER TABLE write_records ADD COLUMN crc INTEGER",
];

export const TENANT_WEBHOOK_MIGRATIONS: readonly string[] = [
  // `start`: what the sender is to be given, emptied once it has it (it holds the secret).
  `CREATE TABLE webhooks (id TEXT PRIMARY KEY, namespace TEXT NOT NULL, state TEXT NOT NULL, created_at_ms REAL NOT NULL,
      start TEXT NOT NULL) WITHOUT ROWID`,
  "ALTER TABLE webhooks ADD COLUMN crc INTEGER",
];
