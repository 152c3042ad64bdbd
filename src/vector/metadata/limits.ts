// Bounds of metadata and filters, with their reasons.

/** Bytes of a row's metadata as JSON text. */
export const MAX_METADATA_BYTES = 64 * 1024;
/** Levels of objects and arrays in metadata: walks recurse. */
export const MAX_METADATA_DEPTH = 16;
/** Characters of a path, dots included. */
export const MAX_PATH_CHARACTERS = 512;
/** Longer strings are not kept whole in an index: rows that hold one are checked against the metadata itself. Characters. */
export const MAX_INDEXED_CHARACTERS = 256;
/** Paths that one segment indexes; rows with others are checked against the metadata itself. Guards against keys that are data. */
export const MAX_INDEXED_PATHS = 512;
/** Characters of one word; the rest of a longer one is not looked at. */
export const MAX_WORD_CHARACTERS = 64;

/** Conditions of one filter, nested ones included. */
export const MAX_CONDITIONS = 256;
/** Levels of `$and`, `$or`, `$not` and nested fields. */
export const MAX_FILTER_DEPTH = 16;
/** Values of one `$in`, `$nin`, `$containsAny`, `$containsAll`. */
export const MAX_FILTER_VALUES = 1024;
/** Characters of one text, word list or prefix in a filter. */
export const MAX_FILTER_TEXT_CHARACTERS = 4096;
/** Half the earth's circumference: every point is nearer. Metres. */
export const MAX_RADIUS_METERS = 20_037_509;
