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
  `CREATE TABLE vector_imports (seq INTEGER PRIMARY KEY, job TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL, text TEXT NOT NULL);
   CREATE TABLE vector_import_rows (id INTEGER PRIMARY KEY, job TEXT NOT NULL, chunk INTEGER NOT NULL, crc INTEGER NOT NULL,
     bytes BLOB NOT NULL, UNIQUE (job, chunk));`,
];
