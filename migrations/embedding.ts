// Tables of an Embedder: the models of a tenant, beside those of migrations/storage.ts (blobs). Append only; a step once released never changes.
// Must not: hold logic. Applied by objects/migrate.ts when the first model is written.

export const EMBEDDING_MIGRATIONS: readonly string[] = [
  [
    // definition: JSON of embedding/model.ts. A generation is never given twice: vectors and bytes are remembered under it.
    `CREATE TABLE embedding_models (generation INTEGER PRIMARY KEY AUTOINCREMENT, model_id TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
        definition TEXT NOT NULL, created_at_ms REAL NOT NULL, updated_at_ms REAL NOT NULL, crc INTEGER)`,
    // What a tenant says of models that come with the server.
    "CREATE TABLE embedding_shipped (model_id TEXT PRIMARY KEY, status TEXT NOT NULL, updated_at_ms REAL NOT NULL, crc INTEGER) WITHOUT ROWID",
    // Stretches of a model's files, each a blob. state: writing → whole → dead (to be deleted). blob_crc: CRC32C of its bytes.
    `CREATE TABLE embedding_pieces (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, file TEXT NOT NULL, part INTEGER NOT NULL,
        piece INTEGER NOT NULL, bytes INTEGER NOT NULL, blob_crc INTEGER NOT NULL, state TEXT NOT NULL, crc INTEGER) WITHOUT ROWID`,
    "CREATE INDEX embedding_pieces_of ON embedding_pieces (generation, file, part, piece)",
    `CREATE TABLE write_records (record_id TEXT PRIMARY KEY, body_hash TEXT NOT NULL, answer TEXT NOT NULL,
        at_ms REAL NOT NULL, crc INTEGER) WITHOUT ROWID`,
    "CREATE INDEX write_records_by_time ON write_records (at_ms)",
  ].join(";"),
];
