// Bounds of segment files, with their reasons.

/** Raw bytes of a block, aimed at: with its stored form it fits one row of the SQLite blob store (32 KiB). */
export const BLOCK_BYTES = 32 * 1024 - 256;
/** Values are read a few rows at a time for the exact re-rank: small blocks cost less to read and to check. */
export const VALUE_BLOCK_BYTES = 8 * 1024;
/** Stored bytes of one blob of a section: a slice of writing, and far below what a bucket reads back. */
export const PART_BYTES = 512 * 1024;
/** Blocks written between two pauses, at most. */
export const SLICE_BLOCKS = 16;
/** Blocks kept decoded, per segment store. */
export const BLOCK_CACHE_BYTES = 8 * 1024 * 1024;
/** A read of more values is a scan, whose blocks are not kept. */
export const MAX_KEPT_READ_BYTES = 64 * 1024;
/** Sections of one segment: columns and those of its indexes. */
export const MAX_SECTIONS = 256;
/** UTF-8 bytes of a vector's id. */
export const MAX_ID_BYTES = 512;
/** Rows of one segment: a row number and a 32-bit hash fit a number of 53 bits. */
export const MAX_SEGMENT_ROWS = 2 ** 21;
/** A block is stored packed if that is at most such a share of it: less is not worth unpacking it for each read. */
export const MOST_PACKED_SHARE = 0.85;
