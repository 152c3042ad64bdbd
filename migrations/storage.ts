// Tables of the storage engine and its SQLite blob store. Append only: an object applies the entries it has not applied yet.
// Must not: hold logic.

/** Entry i is version i + 1; an entry may hold several statements. Apply before `openEngine`. */
export const STORAGE_MIGRATIONS: readonly string[] = [
  // storage_numbers: logThrough (highest log row covered by tables), term (starts that named blobs).
  // storage_log: the commit log; a group larger than a row is split in `parts` rows with consecutive seq.
  // storage_tables: the manifest: which blobs are tables; a run is the tables of one runOrder (and kind) by position.
  // storage_intents: names that a blob write has begun for and no manifest row names yet.
  // storage_dead: names that no manifest row names any more; deleted from the blob store, then from here.
  // storage_erased: tenants erased for ever (numbers are never reused); done = nothing of them is stored any more.
  // storage_blobs, storage_pieces: the SQLite blob store; a piece's id is blob id * 2^20 + piece (of 32 KiB).
  `CREATE TABLE storage_numbers (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
   CREATE TABLE storage_log (seq INTEGER PRIMARY KEY, part INTEGER NOT NULL, parts INTEGER NOT NULL,
     atMs REAL NOT NULL, crc INTEGER NOT NULL, bytes BLOB NOT NULL);
   CREATE TABLE storage_tables (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL UNIQUE,
     runOrder INTEGER NOT NULL, position INTEGER NOT NULL, sizeBytes INTEGER NOT NULL, rowCount INTEGER NOT NULL,
     metaOffset INTEGER NOT NULL, metaBytes INTEGER NOT NULL, metaCrc INTEGER NOT NULL,
     firstHi INTEGER NOT NULL, firstLo INTEGER NOT NULL, firstTenant INTEGER NOT NULL, firstKey BLOB,
     lastHi INTEGER NOT NULL, lastLo INTEGER NOT NULL, minMs REAL NOT NULL, maxMs REAL NOT NULL);
   CREATE TABLE storage_intents (name TEXT PRIMARY KEY) WITHOUT ROWID;
   CREATE TABLE storage_dead (name TEXT PRIMARY KEY) WITHOUT ROWID;
   CREATE TABLE storage_erased (tenant INTEGER PRIMARY KEY, done INTEGER NOT NULL);
   CREATE TABLE storage_blobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sizeBytes INTEGER NOT NULL);
   CREATE TABLE storage_pieces (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);`,
  // A piece's id becomes blob id * 2^28 + offset, so that a block is a row. Negative on the way: old and new ids overlap.
  `UPDATE storage_pieces SET id = -(id / 1048576 * 268435456 + id % 1048576 * 32768);
   UPDATE storage_pieces SET id = -id;`,
  // When all of a table was last read and checked, or written. And from here on a table's first row may lie behind the first of its
  // blob (a merge took what was before it): builds that do not know that must not open the store.
  "ALTER TABLE storage_tables ADD COLUMN scrubbedMs REAL NOT NULL DEFAULT 0;",
];
