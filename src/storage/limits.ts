// Every bound of the storage engine, with unit and reason.
// Guarantee: relations between bounds are asserted when an engine opens. Must not: read settings itself.

/** A SQL row or BLOB on Cloudflare is at most 2 MB (DESIGN 1); half of it leaves room for the header and for change. */
export const MAX_LOG_ROW_BYTES = 1024 * 1024;

/** Key of a row in UTF-8 bytes. The API allows 1 KiB; the engine has room for prefixes, and u16 in the row header. */
export const MAX_KEY_BYTES = 8 * 1024;

/** Value of a row: 32 siblings or 4 MiB of state (DESIGN 4) plus clocks; 16 MiB is a guard against runaway, not a feature. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** Answer kept for a write id: a status and a clock. Bounded so that records never need an arena chunk of their own. */
export const MAX_RECORD_ANSWER_BYTES = 16 * 1024;

/** Tenant numbers are u32 in every row header. */
export const MAX_TENANT = 0xffff_ffff;

/** Longest row of a SQLite blob. A block is a row of its own; what is longer (meta sections, huge rows) is cut here. */
export const SQLITE_PIECE_BYTES = 32 * 1024;

/** Bytes of a blob written by one slice: the commit of as many pages takes 1 to 3 ms. */
export const BLOB_PART_BYTES = 256 * 1024;

/** Covered log rows deleted per slice: freeing a row walks its overflow pages (~1 ms per MiB). */
export const LOG_TRIM_SLICE_BYTES = 1024 * 1024;

/** Between two tables that are scrubbed: with tables of 2 MiB, 8 MiB a second when all are due at once. Ms. */
export const SCRUB_PAUSE_MS = 250;

/** Dead or orphaned blobs deleted per slice. */
export const DEAD_BLOBS_PER_SLICE = 2;

/** How long blocks loaded by `prepare` are kept for the read that asked (ms): longer than a turn, shorter than a deadline. */
export const PREPARED_PIN_MS = 5_000;

/** Rounds of `prepare`/`scan` before giving up because compactions keep replacing the tables under it. */
export const MAX_READ_ROUNDS = 64;

/** Largest value admitted to the row cache: bigger ones would push out hundreds of small rows. */
export const MAX_CACHED_ROW_BYTES = 32 * 1024;

/** Overhead charged per cached row (Map slot, entry object, typed array header), bytes. */
export const CACHED_ROW_OVERHEAD_BYTES = 200;

/** Inputs larger than this are merged by the TypeScript twin in place, so that WASM memory stays small (bytes). */
export const MAX_WASM_MERGE_BYTES = 1024 * 1024;

/** Bytes a merge asks an asynchronous blob store for at once, of each run. */
export const MERGE_READ_BYTES = 256 * 1024;

/** The same of SQLite rows, in one statement: a statement costs as much as the block it reads. */
export const LOCAL_MERGE_READ_BYTES = 64 * 1024;

/** Parts of a merge at most: each costs work per table of the runs, and a merge takes the space of a part. */
export const MAX_MERGE_PARTS = 512;

/** What a row costs a slice beside its bytes (index, bloom, comparison: ~0.3 µs, as much as copying this many bytes). */
export const ROW_COST_BYTES = 192;

/** A purge rewrites all tables when at least one row in so many goes by it. Fewer wait for a merge that happens anyway. */
export const PURGE_ROWS_PART = 64;

/** Settings of one engine; see {@link SERVER_LIMITS} and {@link CLOUDFLARE_LIMITS}. */
export interface EngineLimits {
  /** Bytes of log (rows and records) a memtable takes before it freezes. */
  readonly memtableBytes: number;
  /** Frozen memtables waiting at which `overloaded` turns true. */
  readonly maxFrozenMemtables: number;
  /** Flushed memtables kept in memory for reads: what was written lately is what is read and overwritten next. 0 = none. */
  readonly keptMemtables: number;
  readonly rowCacheBytes: number;
  readonly blockCacheBytes: number;
  /** Sparse indexes and bloom filters in memory; above it the coldest are dropped and read again when needed. */
  readonly tableMetaCacheBytes: number;
  /** Target size of the rows of a data block: with the trailer it fills two SQLite pages. */
  readonly blockBytes: number;
  /** Target size of a table (one blob): bounds the memory of a merge and the time of one blob write. */
  readonly tableBytes: number;
  readonly bloomBitsPerRow: number;
  /** More than for rows: every write asks every run for its write id, and nearly always the answer is no. */
  readonly bloomBitsPerRecord: number;
  /** Of each generation of a {@link SeenFilter}: a power of two. There are two of rows and two of records; each takes half a token a byte. */
  readonly seenFilterBytes: number;
  /** Records (idempotency answers) are kept at least this long. */
  readonly recordRetentionMs: number;
  /** Every stored block is read and checked at least this often; 0 = never. */
  readonly scrubPeriodMs: number;
  /** Bytes read or written by one slice of flush or compaction (≤ ~5 ms). */
  readonly sliceBytes: number;
  /** Runs of similar size that are merged together. */
  readonly compactionFanIn: number;
  /** Runs at which adjacent ones are merged whatever their sizes: bounds the tables a read may touch. */
  readonly maxRuns: number;
  /** Tables of up to this size together are rewritten when a single row of them may go. */
  readonly purgeAlwaysBytes: number;
}

/** Where a block is read over the network or from a file, a round trip costs more than its bytes. */
export const REMOTE_BLOCK_BYTES = 16 * 1024;

/** Self-hosted: memory is cheap, one object per storage node. */
export const SERVER_LIMITS: EngineLimits = {
  memtableBytes: 16 * 1024 * 1024,
  maxFrozenMemtables: 3,
  keptMemtables: 1,
  rowCacheBytes: 32 * 1024 * 1024,
  blockCacheBytes: 64 * 1024 * 1024,
  tableMetaCacheBytes: 64 * 1024 * 1024,
  blockBytes: 7600,
  tableBytes: 2 * 1024 * 1024,
  bloomBitsPerRow: 12,
  bloomBitsPerRecord: 20,
  seenFilterBytes: 1024 * 1024,
  recordRetentionMs: 24 * 3600 * 1000,
  scrubPeriodMs: 14 * 24 * 3600 * 1000,
  sliceBytes: 512 * 1024,
  compactionFanIn: 4,
  maxRuns: 12,
  // About a second of work.
  purgeAlwaysBytes: 64 * 1024 * 1024,
};

/** Cloudflare: 128 MB for all objects of an isolate (DESIGN 1). */
export const CLOUDFLARE_LIMITS: EngineLimits = {
  ...SERVER_LIMITS,
  keptMemtables: 0,
  memtableBytes: 4 * 1024 * 1024,
  rowCacheBytes: 4 * 1024 * 1024,
  blockCacheBytes: 8 * 1024 * 1024,
  tableMetaCacheBytes: 8 * 1024 * 1024,
  seenFilterBytes: 128 * 1024,
};

/** Throws RangeError naming the value and the limit when bounds contradict each other. */
export function assertLimits(limits: EngineLimits): void {
  const positive = Object.entries(limits) as [keyof EngineLimits, number][];
  for (const [name, value] of positive) {
    const mayBeZero = name === "keptMemtables" || name === "scrubPeriodMs";
    if (mayBeZero ? !(value >= 0) : !(value > 0))
      throw new RangeError(`storage limit ${name} must be > 0, is ${value}`);
  }
  // A position in the arena is 31 bits (see arena.ts), and a turn may overshoot the freeze by its own size.
  if (limits.memtableBytes > 256 * 1024 * 1024) {
    throw new RangeError(`storage limit memtableBytes must be ≤ 256 MiB, is ${limits.memtableBytes}`);
  }
  if (limits.seenFilterBytes < 64 || !Number.isInteger(Math.log2(limits.seenFilterBytes))) {
    throw new RangeError(
      `storage limit seenFilterBytes must be a power of two from 64 on, is ${limits.seenFilterBytes}`,
    );
  }
  if (limits.tableBytes < limits.blockBytes) {
    throw new RangeError(`storage limit tableBytes ${limits.tableBytes} is below blockBytes ${limits.blockBytes}`);
  }
  if (limits.compactionFanIn < 2 || limits.maxRuns < limits.compactionFanIn) {
    throw new RangeError(
      `storage limits need 2 ≤ compactionFanIn ${limits.compactionFanIn} ≤ maxRuns ${limits.maxRuns}`,
    );
  }
}
