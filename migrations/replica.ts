// Tables of a storage node beside the engine's own. Append only: an object applies the entries it has not applied yet.
export const REPLICA_MIGRATIONS: readonly string[] = [
  `CREATE TABLE replica_facts (id INTEGER PRIMARY KEY CHECK (id = 1), node_number INTEGER NOT NULL, incarnation INTEGER NOT NULL, reserved_counter INTEGER NOT NULL);
   CREATE TABLE erased_tenants (tenant INTEGER PRIMARY KEY);
   CREATE TABLE hints (id INTEGER NOT NULL, part INTEGER NOT NULL, target TEXT NOT NULL, tenant INTEGER NOT NULL, token_hi INTEGER NOT NULL, created_ms INTEGER NOT NULL, piece BLOB NOT NULL, PRIMARY KEY (id, part));
   CREATE INDEX hints_by_target ON hints (target, id);
   CREATE INDEX hints_by_age ON hints (created_ms);
   CREATE TABLE dirty_ranges (target TEXT NOT NULL, range INTEGER NOT NULL, PRIMARY KEY (target, range));`,
  "CREATE TABLE tenant_usage (tenant INTEGER PRIMARY KEY, stored_bytes REAL NOT NULL, key_count REAL NOT NULL);",
  // CRC-32C over the row's other columns; NULL = written before there was one.
  `ALTER TABLE replica_facts ADD COLUMN crc INTEGER;
   ALTER TABLE hints ADD COLUMN crc INTEGER;`,
];
