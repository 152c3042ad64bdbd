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
  // rebuilding: the store replaces a lost one and counts nowhere yet. confirmed: 1 = the Directory knows
  // that the node serves; 0 = it must know before the first answer; 2 = it is told that the rebuild is over.
  // routes: the newest revision of a tenant's route that was recorded here. syncs: comparisons with other replicas, as JSON.
  // filling: where the node joins a tenant's replicas. filled: fillings that are complete, so that what they heard counts.
  `ALTER TABLE replica_facts ADD COLUMN rebuilding INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE replica_facts ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 1;
   ALTER TABLE replica_facts ADD COLUMN last_epoch INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE routes (tenant INTEGER PRIMARY KEY, revision INTEGER NOT NULL);
   CREATE TABLE syncs (epoch INTEGER PRIMARY KEY, state TEXT NOT NULL);
   CREATE TABLE filling (tenant INTEGER PRIMARY KEY, ranges TEXT NOT NULL);
   CREATE TABLE filled (epoch INTEGER PRIMARY KEY, at_ms REAL NOT NULL);`,
  // CRC-32C over rebuilding, confirmed and last_epoch; NULL = written before there was one.
  "ALTER TABLE replica_facts ADD COLUMN standing_crc INTEGER;",
  // Hybrid times. floor: no stamp is as early. horizon: deleted states up to it are absent. drop_up_to: every node knows of this one, so
  // their rows may go. swept: up to here the tables were merged without them.
  `CREATE TABLE purge_marks (id INTEGER PRIMARY KEY CHECK (id = 1), floor REAL NOT NULL, horizon REAL NOT NULL,
     drop_up_to REAL NOT NULL, swept REAL NOT NULL);`,
  // tables_check: over all rows of routes, syncs, filling, filled and purge_marks; NULL = written before there was one. The engine's own list
  // of erased tenants is under its manifest's checksum. crc: CRC-32C of a dirty range, as in hints.
  `ALTER TABLE replica_facts ADD COLUMN tables_check INTEGER;
   ALTER TABLE dirty_ranges ADD COLUMN crc INTEGER;
   DROP TABLE erased_tenants;`,
  // objects/checked-rows.ts.
  "ALTER TABLE tenant_usage ADD COLUMN crc INTEGER;",
];
