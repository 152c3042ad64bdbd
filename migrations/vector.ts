// Tables of a vector shard, beside those of migrations/storage.ts (log, blobs, intents). Append only.
// Must not: hold logic.

/** Entry i is version i + 1. */
export const VECTOR_MIGRATIONS: readonly string[] = [
  // vector_segments: the manifest: sealed segments with their directories (which carry a CRC32C of their own).
  // vector_deleted: deleted rows of a segment, a page of words each, as of the last seal or merge; the log holds what came later.
  // vector_answers: answers of writes by write id. vector_facts: the shard's configuration, as JSON text.
  // vector_numbers: logThrough (log rows that segments cover), revision (of that log row), term (starts), check (of all numbers).
  `CREATE TABLE vector_segments (number INTEGER PRIMARY KEY, directory BLOB NOT NULL);
   CREATE TABLE vector_deleted (segment INTEGER NOT NULL, page INTEGER NOT NULL, crc INTEGER NOT NULL, words BLOB NOT NULL,
     PRIMARY KEY (segment, page)) WITHOUT ROWID;
   CREATE TABLE vector_answers (seq INTEGER PRIMARY KEY, write_id BLOB NOT NULL, body_hash BLOB NOT NULL, at_ms REAL NOT NULL,
     crc INTEGER NOT NULL, answer BLOB NOT NULL);
   CREATE TABLE vector_facts (name TEXT PRIMARY KEY, crc INTEGER NOT NULL, bytes BLOB NOT NULL) WITHOUT ROWID;
   CREATE TABLE vector_numbers (name TEXT PRIMARY KEY, value REAL NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;`,
  // vector_imports: jobs as JSON text (vector/shard/import-queue.ts). vector_import_rows: their rows that are not applied yet, in chunks.
  // vector_directory_parts: what of a segment's directory is behind its first MiB.
  `CREATE TABLE vector_imports (seq INTEGER PRIMARY KEY, job TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL, text TEXT NOT NULL);
   CREATE TABLE vector_import_rows (id INTEGER PRIMARY KEY, job TEXT NOT NULL, chunk INTEGER NOT NULL, crc INTEGER NOT NULL,
     bytes BLOB NOT NULL, UNIQUE (job, chunk));
   CREATE TABLE vector_directory_parts (segment INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (segment, part));`,
  // Where the strategy of sharding is not a hash of ids: rows whose ids belong here by their hash, but that are in another shard; and
  // rows that are on their way (vector/sharding/placements.ts). crc: CRC32C of the other columns.
  `CREATE TABLE vector_placements (id TEXT PRIMARY KEY, shard INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE vector_moves (id TEXT PRIMARY KEY, from_shard INTEGER NOT NULL, to_shard INTEGER NOT NULL,
     late_until_ms REAL NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;`,
  // vector_snapshots: info is JSON of vector/shard/snapshots.ts. Parts: segments (their directory, the words of their deleted rows), and
  // pages of rows that no segment had (their number as text, the rows). vector_held: dead blobs that a snapshot names.
  `CREATE TABLE vector_snapshots (id TEXT PRIMARY KEY, info TEXT NOT NULL, parts INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE vector_snapshot_parts (id TEXT NOT NULL, part INTEGER NOT NULL, kind TEXT NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL,
     crc INTEGER NOT NULL, PRIMARY KEY (id, part));
   CREATE TABLE vector_held (name TEXT PRIMARY KEY) WITHOUT ROWID;`,
  // vector_cold: blobs of an archived shard that are in the blob store, or on their way there (vector/shard/cold-blobs.ts); crc: of the columns
  // but state. vector_cold_dead: what is there and needed no more.
  `CREATE TABLE vector_cold (name TEXT PRIMARY KEY, cold TEXT NOT NULL, state TEXT NOT NULL, codec INTEGER NOT NULL, rawBytes INTEGER NOT NULL,
     storedBytes INTEGER NOT NULL, rawCrc INTEGER NOT NULL, crc INTEGER NOT NULL, cuts BLOB NOT NULL) WITHOUT ROWID;
   CREATE TABLE vector_cold_dead (cold TEXT PRIMARY KEY) WITHOUT ROWID;`,
];
