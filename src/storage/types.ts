// The contract between the storage engine and what stands on it (the key-value replica now, vector shards later).
// Guarantees: reads and writes of an engine are synchronous within one turn, so a read-modify-write is atomic; blocks that are
// not resident are loaded first by `prepare` (see StorageEngine). Must not: know what a value means.

/** Position on the ring: the two high 32-bit words of murmur3 x86 128 over tenant and key. Order: hi, then lo, unsigned. */
export interface Token {
  readonly hi: number;
  readonly lo: number;
}

/** A key's UTF-8 bytes where they lie: `length` bytes of `source` from `at`. */
export interface EncodedKey {
  readonly source: Uint8Array;
  readonly at: number;
  readonly length: number;
}

/** Names one row. `tenant` is the Directory's number for the tenant: never reused, so a tenant created again sees nothing old. */
export interface RowKey {
  readonly token: Token;
  readonly tenant: number;
  readonly key: string;
  /** Where the key came as bytes and all of them are ASCII: then `key` need not be made. */
  readonly encoded?: EncodedKey | undefined;
}

/** Names one record: the idempotency answer of a write. */
export interface RecordKey {
  readonly tenant: number;
  /** 16 bytes. */
  readonly writeId: Uint8Array;
}

/** Where immutable pieces of tables live. Names are never reused (DESIGN 4), so a late write of an old owner harms nothing. */
export interface BlobStore {
  /** `cuts`: offsets, ascending, at which reads will begin and end; a store of rows cuts there, others need not care. */
  put(name: string, bytes: Uint8Array, cuts?: readonly number[]): Promise<void>;
  /** Exactly `lengthBytes` bytes from `offset`, or undefined where the blob is missing or shorter. */
  get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined>;
  size(name: string): Promise<number | undefined>;
  delete(name: string): Promise<void>;
}

export interface PutPartsOptions {
  /** As for `put`. */
  readonly cuts: readonly number[];
  readonly partBytes: number;
}

/** A blob store that can answer in the same turn (SQLite rows): saves the `prepare` round trip. */
export interface SyncBlobStore extends BlobStore {
  putSync(name: string, bytes: Uint8Array, cuts?: readonly number[]): void;
  /** `putSync` in stretches: each `next` writes about `partBytes`, the blob is whole when it is done. */
  putParts(name: string, bytes: Uint8Array, options: PutPartsOptions): Generator<void, void, void>;
  getSync(name: string, offset: number, lengthBytes: number): Uint8Array | undefined;
  deleteSync(name: string): void;
}

/** The part of a Durable Object's SQLite that the engine uses; a Node stand-in (node:sqlite) serves unit tests. */
export interface SqlStorage {
  /** Rows of one statement; BLOBs come back as ArrayBuffer. */
  exec<Row>(query: string, ...bindings: readonly (string | number | null | ArrayBuffer | Uint8Array)[]): Iterable<Row>;
  /** All of `run` commits, or nothing. */
  transactionSync<T>(run: () => T): T;
}

/** Pure compute kernels: WASM in production, their TypeScript twins in tests and in the simulator. */
export interface Kernels {
  /** CRC-32C (Castagnoli); `seed` is the CRC of what came before. */
  crc32c(bytes: Uint8Array, seed?: number): number;
  /** Bloom filter bytes for tokens given as (hi, lo) pairs; see bloom.ts for the probe. */
  bloomBuild(tokens: Uint32Array, filterBytes: number, hashCount: number): Uint8Array;
  /** One step of a merge of sorted blocks; see {@link MergeRequest}. */
  mergeBlocks(request: MergeRequest): MergeResult;
}

/** One sorted input of a merge: a whole block (block.ts) and the next row of it. */
export interface MergeInput {
  readonly bytes: Uint8Array;
  readonly nextRow: number;
  /** No block follows this one. */
  readonly last: boolean;
}

/**
 * A step takes rows in order from inputs given newest first; of equal rows the newest wins and all are consumed. It stops before
 * the row that would pass `limitBytes`, when an input that is not `last` runs empty, or before a flagged row.
 */
export interface MergeRequest {
  readonly inputs: readonly MergeInput[];
  readonly limitBytes: number;
  /** Take the first row even if it is above the limit. */
  readonly force: boolean;
  /** Ascending; rows of these tenants are dropped. */
  readonly dropTenants: Uint32Array;
  /** Stop before a winning row with FLAG_PURGEABLE. */
  readonly stopAtFlagged: boolean;
  /** What to do with the first row: `keep` and `drop` answer a `flagged` stop. */
  readonly firstRow: "check" | "keep" | "drop";
}

export interface MergeResult {
  /** Merged rows back to back; valid until the next call of the kernel. */
  readonly rows: Uint8Array;
  /** Where each row begins in `rows`; valid until the next call. */
  readonly offsets: Uint32Array;
  /** The next row of each input. */
  readonly nextRows: readonly number[];
  readonly stop: "limit" | "input" | "flagged" | "done";
  /** Input that holds the flagged row, -1 otherwise. */
  readonly flaggedInput: number;
}

/** What was counted since the engine started (counters) or is true now (gauges), for /metrics and /v1/status. */
export interface EngineStats {
  readonly memtableBytes: number;
  readonly memtableRows: number;
  readonly logBytes: number;
  readonly tableCount: number;
  readonly tableBytes: number;
  readonly tableRows: number;
  readonly recordSegmentCount: number;
  readonly recordSegmentBytes: number;
  readonly blockCacheBytes: number;
  readonly rowCacheBytes: number;
  readonly blockCacheHitsTotal: number;
  readonly blockCacheMissesTotal: number;
  readonly rowCacheHitsTotal: number;
  readonly rowCacheMissesTotal: number;
  readonly bloomSkipsTotal: number;
  readonly commitsTotal: number;
  readonly commitBytesTotal: number;
  readonly flushesTotal: number;
  readonly flushBytesTotal: number;
  readonly compactionsTotal: number;
  readonly compactionBytesReadTotal: number;
  readonly compactionBytesWrittenTotal: number;
  readonly corruptBlocksTotal: number;
  /** Rows that were dropped for good because `shouldDrop` said so. */
  readonly purgedRowsTotal: number;
  /** Unreadable stretches of rows and records that were found and not restored. */
  readonly corruptRanges: number;
  readonly scrubbedBlocksTotal: number;
  readonly scrubbedBytesTotal: number;
  /** Since the table that waits longest was last read whole. */
  readonly scrubOldestAgeSeconds: number;
}

/** Thrown by a synchronous read whose block must be loaded first; `prepare` of the same keys loads it. */
export class NotResident extends Error {
  override readonly name = "NotResident";
}

/** Thrown when the commit log is torn or corrupt: this store may have lost acknowledged writes; rebuild it from replicas. */
export class CorruptLog extends Error {
  override readonly name = "CorruptLog";
}

/** Thrown when the list of tables does not match its checksum: what is stored is not known; rebuild the store from replicas. */
export class CorruptManifest extends Error {
  override readonly name = "CorruptManifest";
}

/** Rows whose stored copy is unreadable: [from, to) in row order, `to` undefined = to the table's last token (inclusive). */
export interface CorruptRange {
  readonly blob: string;
  /** Block number in the blob, -1 = its index (then the whole blob is unreadable). */
  readonly section: number;
  readonly kind: "row" | "record";
  readonly from: RowKey | undefined;
  readonly to: RowKey | undefined;
  readonly lastToken: Token;
  /** Tenants that may have had rows in it; undefined = not known (the index is lost). */
  readonly tenants: readonly number[] | undefined;
  /** When the newest row of the table was committed. Ms. */
  readonly newestMs: number;
}

/** Thrown when a stored block fails its CRC32C: the value is unknown here, ask another replica; never a wrong value. */
export class CorruptBlock extends Error {
  override readonly name = "CorruptBlock";
  /** When the newest row of the unreadable table was committed. Ms. */
  readonly newestMs: number;

  constructor(message: string, newestMs: number) {
    super(message);
    this.newestMs = newestMs;
  }
}

/**
 * One LSM store. All mutations of a turn are buffered and made durable by one `commit()` before anyone hears of them.
 * Rows: newest write wins, the engine never merges values (the replica read the old one before it wrote the new).
 * Records: the idempotency log, write id (16 bytes) → opaque answer, kept at least `recordRetentionMs`, then dropped by segment.
 */
export interface StorageEngine {
  /** Makes blocks that `get`/`findRecord` of these will need resident. Undefined = nothing to wait for (the usual case). */
  prepare(rows: readonly RowKey[], records?: readonly RecordKey[]): Promise<void> | undefined;
  /**
   * The newest value of a row. A view that stays valid; callers must not write into it. `willPut`: it is read to be written anew,
   * and so not worth a place in the row cache.
   */
  get(row: RowKey, willPut?: boolean): Uint8Array | undefined;
  /** The engine copies `value`. `purgeable` marks a row that the `shouldDrop` hook is asked about when tables merge. */
  put(row: RowKey, value: Uint8Array, purgeable?: boolean): void;
  findRecord(tenant: number, writeId: Uint8Array): Uint8Array | undefined;
  addRecord(tenant: number, writeId: Uint8Array, answer: Uint8Array): void;
  /** Writes what this turn put and added as log rows. Throws = nothing of it may be acknowledged, the object must restart. */
  commit(): void;
  /** True when several frozen memtables wait for their flush: refuse or delay writes until maintenance has caught up. */
  readonly overloaded: boolean;
  /** True when `runMaintenance` has work (flush, compaction, erasure, orphan sweep, record expiry). */
  readonly maintenanceDue: boolean;
  /** One bounded slice of that work (≤ ~5 ms of CPU); resolves true when more remains. */
  runMaintenance(): Promise<boolean>;
  /** From now on nothing of the tenant is seen; rows, records and blobs are rewritten away by maintenance. Durable on return. */
  eraseTenant(tenant: number): void;
  /** Tenants whose erasure has not finished. */
  erasuresPending(): readonly number[];
  /** Rows of one tenant in (token, key) order after `after`, for export and listing. Async: may read many blocks. */
  scan(options: ScanOptions): Promise<ScanPage>;
  /** Records in the order of their ids' hashes, for streaming to another store. Async: may read many blocks. */
  scanRecords(options: RecordScanOptions): Promise<RecordPage>;
  stats(): EngineStats;
}

/** An engine whose unreadable blocks can be given up once their rows have been restored from elsewhere. */
export interface RepairableEngine extends StorageEngine {
  /** When the clock may make `maintenanceDue` true, for stored tables to be read and checked (ms); undefined = it will not. */
  readonly nextScrubMs: number | undefined;
  /** What was found unreadable and not given up; the engine's `onCorrupt` told of each. */
  corruptRanges(): readonly CorruptRange[];
  /**
   * The rows of `range` have been put again from other replicas and committed: reads of rows that were not put pass over the block
   * instead of throwing, and maintenance rewrites the run without it. After a restart before that the block is reported again.
   */
  discardCorrupt(range: CorruptRange): void;
  /** `shouldDrop` says yes to more rows than before: maintenance looks for them and drops them. Forgotten by a restart. */
  purge(): void;
  readonly purgePending: boolean;
}

export interface ScanOptions {
  /** Only this tenant; undefined = all. */
  readonly tenant?: number;
  /** Exclusive start; undefined = from the beginning of the token range. */
  readonly after?: RowKey;
  /** Inclusive range of token.hi, for streaming and repair of hash ranges. */
  readonly fromTokenHi?: number;
  readonly toTokenHi?: number;
  readonly limitRows: number;
  readonly limitBytes: number;
  /** Passes over what cannot be read, instead of throwing CorruptBlock: only for finding out which rows are still readable. */
  readonly pastCorrupt?: boolean;
}

export interface ScanPage {
  readonly rows: readonly { readonly row: RowKey; readonly value: Uint8Array }[];
  /** True when the range is exhausted. */
  readonly done: boolean;
}

export interface RecordScanOptions {
  /** Exclusive start; undefined = from `fromHash`. */
  readonly after?: RecordKey;
  /** Inclusive range of the ids' hashes (u32). A narrow one keeps the work of a page small. */
  readonly fromHash: number;
  readonly toHash: number;
  readonly limitRows: number;
}

export interface RecordPage {
  readonly records: readonly { readonly key: RecordKey; readonly answer: Uint8Array }[];
  /** True when the range is exhausted. */
  readonly done: boolean;
}
