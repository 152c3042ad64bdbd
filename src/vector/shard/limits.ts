// Bounds of one shard, with their reasons.

/** Rows of the fresh segment before it is sealed: it is scanned exactly, and its metadata index is made of maps. */
export const FRESH_ROWS = 8192;
/** Bytes of values and metadata of the fresh segment before it is sealed: it is all in memory, and in the log. */
export const FRESH_BYTES = 32 * 1024 * 1024;
/** Rows of one extent of the fresh segment in the arena, if they are small: */
export const EXTENT_ROWS = 1024;
/** … and bytes of one extent, at least one row. */
export const EXTENT_BYTES = 1024 * 1024;
/** Rows written or merged between two pauses. */
export const SLICE_ROWS = 256;
/** Words of one stored page of deleted rows: 32 768 rows. */
export const DELETED_PAGE_WORDS = 1024;
/** Below this a segment is scanned, whatever index its database asks for. Rows. */
export const SMALL_SEGMENT_ROWS = 8192;
/** Rows that an index builder inserts between two pauses: some milliseconds. */
export const BUILD_SLICE_ROWS = 64;
/** Filters whose rows are remembered for a sealed segment. */
export const KEPT_SELECTIONS = 32;
