// Bounds of one shard, with their reasons.

/** Rows of the fresh segment before it is sealed: it is scanned exactly, and its metadata index is made of maps. */
export const FRESH_ROWS = 8192;
/** Bytes of values and metadata of the fresh segment before it is sealed: it is all in memory, and in the log. */
export const FRESH_BYTES = 32 * 1024 * 1024;
/** Rows of one extent of the fresh segment in the arena, if they are small: */
export const EXTENT_ROWS = 1024;
/** … and bytes of one extent, at least one row. */
export const EXTENT_BYTES = 1024 * 1024;
/** The length (norm) of a vector: squares of sums and differences of two stay in float32, whose greatest number is 3.4e38. */
export const MAX_VECTOR_LENGTH = 1e18;
/** The same at the other end, where squares would come to nothing: a direction is all that cosine similarity looks at. */
export const MIN_COSINE_LENGTH = 1e-18;
/** Rows written or merged between two pauses, at most. */
export const SLICE_ROWS = 256;
/** Bytes of writes that are applied in one turn, at least one call; and those that wait for nothing that goes on behind searches. */
export const TURN_BYTES = 256 * 1024;
export const SMALL_TURN_BYTES = 32 * 1024;
/** While searches come, at most this share of the thread goes to large writes, seals, merges and builds: their p99 stays below three times. */
export const BEHIND_SHARE = 1 / 3;
/** … and "while" is so long after the last one. Ms. */
export const SEARCHED_LATELY_MS = 100;
/** Pieces of upkeep that go before a large write where upkeep does not keep up. */
export const PIECES_A_WRITE_IF_BEHIND = 4;
/** Words of one stored page of deleted rows: 32 768 rows. */
export const DELETED_PAGE_WORDS = 1024;
/** A directory is stored in rows of so many bytes: on Cloudflare they hold at most 2 MB. */
export const DIRECTORY_PART_BYTES = 1024 * 1024;
/** Below this a segment is scanned, whatever index its database asks for: a sealed fresh segment soon is part of a merge. Rows. */
export const SMALL_SEGMENT_ROWS = 2 * FRESH_ROWS;
/** Rows that an index builder inserts at once, and how often between two pauses (slice.ts: or for so long). */
export const BUILD_STEP_ROWS = 8;
export const BUILD_SLICE_STEPS = 8;
/** Of a shard's memory: an index that is built behind searches is given up where less is left for what is written next. */
export const SPARE_MEMORY_SHARE = 1 / 16;
/** float32 rows that a scan for a threshold compares between two pauses: some milliseconds. Bytes. */
export const SCAN_SLICE_BYTES = 2 * 1024 * 1024;
/** Rows of an import that are applied in one commit: some milliseconds, and far below what a SQL row holds. Bytes. */
export const IMPORT_CHUNK_BYTES = 256 * 1024;
/** Imports that wait at a shard, and their bytes: they are on disk until they are applied. */
export const MAX_WAITING_IMPORTS = 32;
export const MAX_IMPORT_BYTES = 256 * 1024 * 1024;
/** Errors of vectors that an import keeps at a shard, of those it counts. */
export const MAX_IMPORT_ERRORS = 100;
/** Imports that ended are shown for so long, at most so many; one that was not sent whole is forgotten. Ms. */
export const KEPT_IMPORT_MS = 24 * 3_600_000;
export const MAX_KEPT_IMPORTS = 100;
export const STAGED_IMPORT_MS = 10 * 60_000;
/** Rows that an index's status names. */
export const MAX_NAMED_ROWS = 100;
/** Filters whose rows are remembered for a sealed segment. */
export const KEPT_SELECTIONS = 32;
/** Answers of writes kept for repetitions: by age (DESIGN 3), and by number, 64 bytes each in memory. */
export const KEPT_WRITE_MS = 24 * 3_600_000;
export const MAX_KEPT_WRITES = 100_000;
/** Bytes of their answers, on disk. */
export const MAX_KEPT_WRITE_BYTES = 256 * 1024 * 1024;
/** Rows of one page or one get. */
export const MAX_PAGE_ROWS = 10_000;
/** Nearest rows of one search (DESIGN 7). */
export const MAX_TOP_K = 10_000;
/** Queries of one call. */
export const MAX_QUERIES = 1000;
/** Bytes of an answer's rows: a message between objects holds 32 MiB. */
export const MAX_SHARD_ANSWER_BYTES = 24 * 1024 * 1024;
/** Rows of the fresh segment at which writes are refused until the seal that is under way has ended. */
export const MAX_FRESH_ROWS = 8 * FRESH_ROWS;
/** … and bytes: metadata is held by JavaScript, outside of the shard's memory budget. */
export const MAX_FRESH_BYTES = 4 * FRESH_BYTES;
/** Segments of one size that become one of the next. */
export const MERGE_FAN_IN = 4;
/** A segment with a larger share of deleted rows is rewritten. */
export const MOST_DELETED_SHARE = 0.5;
/** … where the shard is at the limit of its disk. */
export const MOST_DELETED_SHARE_IF_FULL = 0.05;
/**
 * Writes acknowledged before they are logged wait so long, and at most so many bytes. What is promised is a second and ten: timers of a
 * busy process come late, and logging takes its time (a kill -9 was seen to cost a write 1 142 ms old when this was 1000). Ms.
 */
export const LOG_DELAY_MS = { periodic: 500, eventual: 8000 } as const;
export const MAX_UNLOGGED_BYTES = 8 * 1024 * 1024;
/** Rows that retention looks at or deletes between two pauses. */
export const RETENTION_SLICE_ROWS = 500;
/** Archived rows of one blob: a small one is written again when more come, a large one is in memory when it is read. Bytes. */
export const EXPIRED_PART_BYTES = 256 * 1024;
/** A blob of an archive is read so often before it is damaged. */
export const THAW_TRIES = 3;
/** Blobs of a snapshot that are compared with their checksums in one turn: some 8 MiB, some milliseconds. */
export const CHECKED_BLOBS = 16;
/** What is kept of values that were fetched from the blob store, per shard; a read that needs more than half of it brings segments back. Bytes. */
export const FETCHED_BYTES = 16 * 1024 * 1024;
/** Between two ranges of a blob so much is fetched with them rather than asking twice: a question costs more than these bytes. */
export const FETCH_GAP_BYTES = 32 * 1024;
/** Fetches that go on at once, and the time for all of one read. Ms. */
export const FETCHES_AT_ONCE = 16;
export const FETCH_DEADLINE_MS = 5000;
/** A read is run again so often after what it lacked was fetched; then its segments come back. */
export const FETCH_TRIES = 4;
/** After a fetch that failed none is tried for so long: reads of what is here must not wait behind them. Ms. */
export const FETCH_PAUSE_MS = 1000;
/** Reads that had to fetch after which a segment's values come back. */
export const RETURN_FETCHES = 16;
/** When values were last read is noted so often: this share of the time after which they leave, and not more often than a minute. */
export const HEAT_NOTE_SHARE = 1 / 16;
export const HEAT_NOTE_MS = 60_000;
/** Damaged blobs of an archive that are named, of a shard. */
export const MAX_NAMED_BLOBS = 8;
/** Between two looks for rows that are too many, at least for those that are too old. Ms. */
export const RETENTION_EVERY_MS = 60_000;
