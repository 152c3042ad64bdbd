// Bounds of a vector database's record, with their reasons.

/** A tenant's databases; each shard is an object of its own. */
export const MAX_DATABASES_PER_TENANT = 1000;
/** Shards of a database: each search asks all of them. */
export const MAX_SHARDS = 64;
/** Indexes of a database: each is built over all rows, and a segment's directory holds the sections of two builds of each. */
export const MAX_INDEXES = 8;
export const MAX_DATABASE_ID_CHARACTERS = 63;
export const MAX_NAME_CHARACTERS = 200;
export const MAX_DESCRIPTION_CHARACTERS = 2000;
/** Fields that a metadata schema declares: each is looked at in every row that is written. */
export const MAX_SCHEMA_FIELDS = 256;
/** What is recorded for later use: embedding models, roles, permissions. */
export const MAX_EMBEDDING_MODELS = 32;
export const MAX_ROLES = 64;
/** Copies of a shard. */
export const MAX_REPLICAS = 7;
/** Shards of a database whose copies are filled at once: what others write and search waits for no more than that. */
export const FILLED_AT_ONCE = 4;
/** Snapshots of a database: each keeps the segments of its time on disk. */
export const MAX_SNAPSHOTS = 16;
