// The tables of Directory and Tenant, as numbered steps. Guarantee: append-only; a step once released never changes.
// Must not: hold logic. Applied by objects/migrate.ts when an object starts.

/** Write id → answer, written in the commit of what it answers. `record_id` is a hash of the write id. */
const WRITE_RECORDS = `CREATE TABLE write_records (record_id TEXT PRIMARY KEY, body_hash TEXT NOT NULL,
  answer TEXT NOT NULL, at_ms REAL NOT NULL) WITHOUT ROWID`;
const WRITE_RECORDS_BY_TIME = "CREATE INDEX write_records_by_time ON write_records (at_ms)";

export const DIRECTORY_MIGRATIONS: readonly string[] = [
  [
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    `CREATE TABLE nodes (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, zone TEXT NOT NULL,
        weight REAL NOT NULL, state TEXT NOT NULL, incarnation INTEGER NOT NULL)`,
    // AUTOINCREMENT: a number is never given twice, not even after its row is gone.
    `CREATE TABLE tenants (number INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id TEXT NOT NULL, state TEXT NOT NULL,
        created_at_ms REAL NOT NULL, start TEXT NOT NULL, initialized INTEGER NOT NULL,
        failures INTEGER NOT NULL, next_attempt_ms REAL)`,
    "CREATE UNIQUE INDEX tenants_active ON tenants (tenant_id) WHERE state = 'active'",
    "CREATE INDEX tenants_due ON tenants (next_attempt_ms) WHERE next_attempt_ms IS NOT NULL",
    WRITE_RECORDS,
    WRITE_RECORDS_BY_TIME,
  ].join(";"),
  // A node that served once holds what others rely on: where its store is new it must be rebuilt.
  "ALTER TABLE nodes ADD COLUMN served INTEGER NOT NULL DEFAULT 0; UPDATE nodes SET served = 1 WHERE incarnation > 0",
  `CREATE TABLE repairs (id INTEGER PRIMARY KEY AUTOINCREMENT, started_at_ms REAL NOT NULL, finished_at_ms REAL,
      progress TEXT NOT NULL)`,
  // begun: every node promised its floor (replication/purge-round.ts). purge: what the repair lets go, as JSON. state: JSON by name.
  `ALTER TABLE repairs ADD COLUMN begun INTEGER NOT NULL DEFAULT 1;
   ALTER TABLE repairs ADD COLUMN purge TEXT;
   CREATE TABLE repair_state (name TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;`,
  "ALTER TABLE write_records ADD COLUMN crc INTEGER",
];

export const TENANT_MIGRATIONS: readonly string[] = [
  [
    `CREATE TABLE tenant (one INTEGER PRIMARY KEY CHECK (one = 1), tenant INTEGER NOT NULL, tenant_id TEXT NOT NULL,
        display_name TEXT NOT NULL, state TEXT NOT NULL, replication_factor INTEGER NOT NULL,
        default_consistency TEXT NOT NULL, conflict_policy TEXT NOT NULL, revision INTEGER NOT NULL,
        created_at_ms REAL NOT NULL, sealing_secret BLOB NOT NULL)`,
    `CREATE TABLE api_keys (key_id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL, hash TEXT NOT NULL,
        created_at_ms REAL NOT NULL, expires_at_ms REAL, revoked_at_ms REAL) WITHOUT ROWID`,
    WRITE_RECORDS,
    WRITE_RECORDS_BY_TIME,
  ].join(";"),
  // limits: JSON of rate limit, quotas and tokensValidAfterMs; rate_limit: JSON of a key's own, NULL = none.
  "ALTER TABLE tenant ADD COLUMN limits TEXT NOT NULL DEFAULT '{}'; ALTER TABLE api_keys ADD COLUMN rate_limit TEXT",
  // route_change: the phase that is published; change_state: what the driver of the change keeps. Both JSON or NULL.
  [
    "ALTER TABLE tenant ADD COLUMN route_revision INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tenant ADD COLUMN route_change TEXT",
    "ALTER TABLE tenant ADD COLUMN change_state TEXT",
  ].join(";"),
  // Namespaces of the configuration store. `incarnation`: never given twice; an erasure names the one it means.
  `CREATE TABLE namespaces (incarnation INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
      created_at_ms REAL NOT NULL)`,
  // What each keyspace said last of its living keys and values.
  `ALTER TABLE namespaces ADD COLUMN stored_bytes REAL NOT NULL DEFAULT 0;
   ALTER TABLE namespaces ADD COLUMN stored_keys REAL NOT NULL DEFAULT 0`,
  // objects/checked-rows.ts. A later step that adds a column must set `crc` to NULL.
  ["tenant", "api_keys", "namespaces", "write_records"]
    .map((table) => `ALTER TABLE ${table} ADD COLUMN crc INTEGER`)
    .join(";"),
];

/** A zone's copies of views: objects/zone-views.ts. */
export const ZONE_VIEWS_MIGRATIONS: readonly string[] = [
  "CREATE TABLE kept_views (name TEXT PRIMARY KEY, as_of_ms REAL NOT NULL, view TEXT NOT NULL, crc INTEGER) WITHOUT ROWID",
  "CREATE TABLE deployment (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, crc INTEGER)",
];
