// The tables of the storage engine, as numbered steps. Guarantee: append-only; a step once released never changes.
// Must not: hold logic. Applied by src/storage/schema.ts when an object starts.

/** One step; `statements` run in one transaction together with the bump of the version. */
export interface Migration {
  readonly version: number;
  readonly statements: readonly string[];
}

export const STORAGE_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: [
      // Single numbers: logThrough (highest log row covered by tables), term (starts that named blobs).
      "CREATE TABLE storage_numbers (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID",
      // The commit log. A group larger than a row is split in `parts` rows with consecutive seq.
      `CREATE TABLE storage_log (seq INTEGER PRIMARY KEY, part INTEGER NOT NULL, parts INTEGER NOT NULL,
        atMs REAL NOT NULL, crc INTEGER NOT NULL, bytes BLOB NOT NULL)`,
      // The manifest: which blobs are tables. A run is the tables of one runOrder (and kind) by position.
      `CREATE TABLE storage_tables (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL UNIQUE,
        runOrder INTEGER NOT NULL, position INTEGER NOT NULL, sizeBytes INTEGER NOT NULL, rowCount INTEGER NOT NULL,
        metaOffset INTEGER NOT NULL, metaBytes INTEGER NOT NULL, metaCrc INTEGER NOT NULL,
        firstHi INTEGER NOT NULL, firstLo INTEGER NOT NULL, firstTenant INTEGER NOT NULL, firstKey BLOB,
        lastHi INTEGER NOT NULL, lastLo INTEGER NOT NULL, minMs REAL NOT NULL, maxMs REAL NOT NULL)`,
      // Names that a blob write has begun for and no manifest row names yet.
      "CREATE TABLE storage_intents (name TEXT PRIMARY KEY) WITHOUT ROWID",
      // Names that no manifest row names any more; deleted from the blob store, then from here.
      "CREATE TABLE storage_dead (name TEXT PRIMARY KEY) WITHOUT ROWID",
      // Tenants erased for ever (numbers are never reused); done = nothing of them is stored any more.
      "CREATE TABLE storage_erased (tenant INTEGER PRIMARY KEY, done INTEGER NOT NULL)",
      // The SQLite blob store: pieces of a blob under id * 2^20 + piece.
      "CREATE TABLE storage_blobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sizeBytes INTEGER NOT NULL)",
      "CREATE TABLE storage_pieces (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
    ],
  },
];
