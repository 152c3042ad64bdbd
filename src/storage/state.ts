// What the engine, its maintenance jobs and its scans share. A plain bag of parts: each part guards its own invariants.
// Invariant (kept by commit and flush): log rows (manifest.logThrough, log.lastSeq] = frozen memtables, oldest first, then active.

import type { CommitLog } from "./commit-log.ts";
import type { Counters } from "./counters.ts";
import type { FailPoint } from "./fail-points.ts";
import type { EngineLimits } from "./limits.ts";
import type { Manifest } from "./manifest.ts";
import type { Memtable } from "./memtable.ts";
import type { RowCache } from "./row-cache.ts";
import type { RunSet } from "./run-set.ts";
import type { SeenFilter } from "./seen-filter.ts";
import type { TableReader } from "./table.ts";
import type { BlobStore, Kernels, RowKey, SyncBlobStore } from "./types.ts";

/** Asked about a purgeable row that a merge including the oldest run would keep; true = drop it for good. */
export type ShouldDrop = (row: RowKey, value: Uint8Array) => boolean;

/** Told of each point where a process may die between two durable steps. Undefined in production, so that a point costs nothing. */
export type AtFailPoint = (point: FailPoint) => Promise<void>;

/** Erased tenants: all of them, and those of which something is still stored. */
export interface ErasedTenants {
  readonly all: Set<number>;
  readonly pending: Set<number>;
}

export interface EngineState {
  readonly limits: EngineLimits;
  readonly kernels: Kernels;
  readonly clock: () => number;
  readonly blobs: BlobStore | SyncBlobStore;
  readonly sync: SyncBlobStore | undefined;
  /** Resolves when everything written so far is durable; needed only where no output gate holds a blob write back. */
  readonly durable: (() => Promise<void>) | undefined;
  readonly shouldDrop: ShouldDrop | undefined;
  readonly atFailPoint: AtFailPoint | undefined;
  readonly counters: Counters;
  readonly log: CommitLog;
  readonly manifest: Manifest;
  readonly reader: TableReader;
  readonly rows: RunSet;
  readonly records: RunSet;
  readonly rowCache: RowCache;
  /** All that was put or added since the engine opened, or what of it came last. */
  readonly seenRows: SeenFilter;
  readonly seenRecords: SeenFilter;
  readonly erased: ErasedTenants;
  /** Random: orders the hash indexes of memtables. */
  readonly secret: number;
  active: Memtable;
  /** Oldest first. */
  readonly frozen: Memtable[];
  /** Flushed, and kept for reads: a copy of what the newest tables hold. Oldest first. */
  readonly kept: Memtable[];
  /** The next commit behind the flushes under way freezes the memtable, however small (an erasure waits for its log rows to go). */
  freezeRequested: boolean;
}
