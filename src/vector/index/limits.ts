// Bounds of the indexes, with unit and reason. Relations between them are asserted below, at load.

/** Dimensions of a vector (DESIGN 7). */
export const MAX_DIMENSION = 4096;

/** Rows of a segment: a key of a walk has 31 bits for the row. The memory is full long before. */
export const MAX_SEGMENT_ROWS = 2 ** 31 - 1;

/** Links that a row of an HNSW graph chooses. Level 0 holds twice as many, and kernels have static room for 128. */
export const MIN_M = 2;
export const MAX_M = 64;
export const DEFAULT_M = 24;

/** Candidates while a row is inserted. 100 loses under half a point of recall against 200 and builds nearly twice as fast. */
export const DEFAULT_EF_CONSTRUCTION = 100;
export const MAX_EF_CONSTRUCTION = 1000;

/** Candidates kept during a walk. Under dot queries lie off the rows' sphere, and the same recall takes a wider walk. */
export const DEFAULT_EF = { euclidean: 64, cosine: 64, dot: 160 } as const;
/** A walk that keeps more than this is slower than a scan of any segment that fits. */
export const MAX_EF = 4096;

/** The scan of so many live rows is cheaper than a walk that keeps one candidate, by how the filter is walked: rows. */
export const SCAN_ROWS_PER_EF = { open: 16, among: 24, sparse: 128 } as const;
/**
 * A sparse walk keeps more candidates the smaller the share that its filter lets through, as the root of it, up to so many times: of a million
 * rows it found 0.93 of the nearest at 5 % with as many as an open one.
 */
export const MAX_SPARSE_WIDENING = 4;
/** Below so many live rows the scan is as fast as any walk, and exact: rows. */
export const MIN_WALK_ROWS = 1000;
/** A filter that lets a smaller share through is walked by looking through rows that fail (Qdrant's ACORN takes 0.4 too). */
export const SPARSE_BELOW_SHARE = 0.4;
/** A filtered walk gives up for a scan when its work exceeds this share of the live rows. */
export const WALK_BUDGET_SHARE = 0.5;

/**
 * Candidates of codes that a scan keeps for the exact re-rank when nothing is asked; those of them go on whose distance is within the
 * error of the k-th. A walk keeps `ef` of them anyway.
 */
export const SCAN_CANDIDATES = 128;

/** Values that the bounds of the affine map are taken from, and the share of them that is cut off at either end. */
export const SAMPLED_VALUES = 131_072;
export const CLIPPED_SHARE = 0.0002;

/** Float32 rows copied at a time from a source that is not in the arena: bytes. */
export const PIECE_BYTES = 256 * 1024;
/** A row that is read or encoded costs so much less than one that is inserted. */
export const ROWS_PER_INSERT = 32;

/** Above this share of lost rows a graph is built anew instead of being mended. */
export const MAX_MENDED_SHARE = 0.6;

if (MAX_EF_CONSTRUCTION > MAX_EF) throw new Error("the pool of a build must fit the pool of a search");
if (2 * MAX_M > 128) throw new Error("a list of level 0 must fit the static room of the kernels");

/**
 * Lists of an IVF index, unless its parameters say otherwise: the square root of its rows, but more of them where rows are few (finer
 * lists lose fewer of the nearest for the same rows read), down to so many rows a list.
 */
export const MIN_CELLS = 400;
export const FEWEST_ROWS_PER_CELL = 32;
export const MAX_CELLS = 65_536;
/** Rows a list is trained with, and most bytes of all of them: k-means gains little from more. */
export const TRAINED_ROWS_PER_CELL = 48;
export const TRAINED_BYTES = 16 * 1024 * 1024;
/** Rows that a single centre or the centres of product codes are taken from. */
export const TRAINED_ROWS = 4096;
export const CELL_ROUNDS = 8;
export const PRODUCT_ROUNDS = 6;
/** Share of the rows whose codes a search reads when nothing is asked. */
export const DEFAULT_SCANNED_SHARE = 0.08;
/**
 * Standard errors of a 1-bit estimate within which a row must lie: the paper's ε₀ for scans and for searches that ask for more lists
 * than the default; fewer for the others, which lose more by the lists that are not read, for half of the candidates.
 */
export const BOUND_EPSILON = { thorough: 1.9, quick: 1.4 } as const;
/** Rows re-ranked between two looks at what the bounds still allow. */
export const RERANKED_AT_ONCE = 32;
/** Candidates of product codes for the exact re-rank when nothing is asked: they have no bound. */
export const PRODUCT_CANDIDATES = 200;
/** Values of a group of product codes: 2 bits a value. Wider from here on, so that the sums of a scan hold. */
export const NARROW_PRODUCTS_TO = 2048;

/** LSH: hash tables, projections of a key, and buckets that a query reads when nothing is asked. */
export const DEFAULT_TABLES = 8;
export const MAX_TABLES = 64;
export const MAX_HASH_BITS = 32;
export const DEFAULT_BUCKETS = 200;
/** Rows that a bucket is meant to hold. */
export const ROWS_PER_BUCKET = 16;
/** Euclidean: width of a step in deviations of the projections, and the bits that a step tells of a row. */
export const STEP_DEVIATIONS = 3;
export const BITS_PER_STEP = 0.75;
/** Rows of a segment with hash tables: a key and a row are sorted as one number of 53 bits. */
export const MAX_HASHED_ROWS = 2 ** 21;
