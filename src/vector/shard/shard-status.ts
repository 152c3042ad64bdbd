// What a shard says of itself: for a database's status.
import type { VectorCore } from "../kernels.ts";
import { ReducedIndex } from "../reduce/reduced-index.ts";
import { CorruptSegment } from "../segment/directory.ts";
import type { Segment } from "../segment/segment.ts";
import type { IndexSpec } from "./index-kinds.ts";
import { MAX_NAMED_ROWS } from "./limits.ts";
import type { ResultCache } from "./result-cache.ts";
import type { ShardIndexes } from "./shard-indexes.ts";
import type { VectorStore } from "./vector-store.ts";

/** Of a follower, as its leader knows it. */
export interface ReplicaStatus {
  readonly zone: string;
  /** `filling`: it does not have all yet, and nobody reads it. */
  readonly state: "serving" | "filling";
  /** What it has durably. */
  readonly revision: number;
  readonly lagRevisions: number;
  /** Since it last had all that there was; 0 = it has. */
  readonly lagMs: number;
}

export interface ShardStatus {
  readonly rows: number;
  /** Rows that are scanned until they are sealed. */
  readonly freshRows: number;
  readonly segments: number;
  /** Rows in segments that were deleted or replaced: a merge frees them. */
  readonly deletedRows: number;
  readonly logBytes: number;
  /** Bytes of WASM memory given out, and of indexes in it. */
  readonly memoryBytes: number;
  readonly indexBytes: number;
  /** Of its followers; absent = there are none. */
  readonly replicas?: readonly ReplicaStatus[];
  /** Searches since the shard was opened that were answered from remembered results, those that were not, and their bytes. */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheBytes: number;
  /** Stored bytes of values in the shard's own storage, and of those that left it for the blob store. */
  readonly hotBytes: number;
  readonly coldBytes: number;
  readonly indexes: readonly IndexStatus[];
}

/** One index in one shard. */
export interface IndexStatus {
  readonly name: string;
  /** Of the parameters that it has now: docs/vectors.md. */
  readonly build: number;
  readonly rows: number;
  /** Rows that it finds: those of segments that have it, and those that no segment holds yet. */
  readonly indexedRows: number;
  /** With the part of the segment that is being built. */
  readonly progress: number;
  readonly memoryBytes: number;
  /** Of the segments where it holds reduced rows. */
  readonly reduction?: ReductionStatus | undefined;
  readonly quarantinedRows: number;
  /** The first of them; null where even the id cannot be read. */
  readonly quarantined: readonly { readonly segment: number; readonly row: number; readonly id: string | null }[];
  /** Segments that must do without it. */
  readonly missing: readonly { readonly segment: number; readonly why: string }[];
}

export interface ReductionStatus {
  readonly reducedRows: number;
  /** Shares by rows; null = not known. */
  readonly keptVariance: number | null;
  readonly recall: number | null;
  /** Memory of those segments' indexes, and what they would take more of whole rows. */
  readonly heldBytes: number;
  readonly savedBytes: number;
}

const BYTES_A_VALUE = { int8: 1, none: 4, rabitq: 1 / 8, pq: 1 / 4 } as const;

function reductionStatus({ quantizer }: IndexSpec, indexes: readonly ReducedIndex[]): ReductionStatus {
  const mean = (share: (index: ReducedIndex) => number | undefined): number | null => {
    const known = indexes.filter((index) => share(index) !== undefined);
    const rows = known.reduce((sum, { count }) => sum + count, 0);
    return rows === 0 ? null : known.reduce((sum, index) => sum + index.count * share(index)!, 0) / rows;
  };
  return {
    reducedRows: indexes.reduce((sum, { count }) => sum + count, 0),
    keptVariance: mean(({ reduction }) => (reduction.kind === "pca" ? reduction.keptShare : undefined)),
    recall: mean(({ reduction }) => reduction.recall),
    heldBytes: indexes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
    savedBytes: Math.round(indexes.reduce((sum, index) => sum + index.savedBytes(BYTES_A_VALUE[quantizer]), 0)),
  };
}

interface ShownShard {
  readonly store: VectorStore;
  readonly indexes: ShardIndexes;
  readonly results?: Pick<ResultCache<unknown>, "stats">;
}

const NO_CACHE = { hits: 0, misses: 0, bytes: 0 };

export function shardStatus(
  { store, indexes, results }: ShownShard,
  { arena }: Pick<VectorCore, "arena">,
): ShardStatus {
  const { hits, misses, bytes } = results?.stats ?? NO_CACHE;
  return {
    rows: store.liveCount,
    freshRows: store.freshCount,
    segments: store.sealed.length,
    deletedRows: store.sealed.reduce((sum, { rowCount, liveCount }) => sum + rowCount - liveCount, 0),
    logBytes: store.logBytes,
    memoryBytes: arena.usedBytes,
    indexBytes: indexes.memoryBytes(),
    cacheHits: hits,
    cacheMisses: misses,
    cacheBytes: bytes,
    ...placesOf(store.sealed),
    indexes: indexes.specs.map((spec) => indexStatus(spec, store, indexes)),
  };
}

function placesOf(sealed: readonly Segment[]): { readonly hotBytes: number; readonly coldBytes: number } {
  const places = sealed.map((segment) => segment.valueBytes());
  const sum = (of: "hot" | "cold"): number => places.reduce((bytes, place) => bytes + place[of], 0);
  return { hotBytes: sum("hot"), coldBytes: sum("cold") };
}

function indexStatus(spec: IndexSpec, store: VectorStore, indexes: ShardIndexes): IndexStatus {
  const rows = store.liveCount;
  const sealedRows = store.sealed.reduce((sum, { liveCount }) => sum + liveCount, 0);
  const built = store.sealed.flatMap((segment) => {
    const own = indexes.built(segment, spec);
    return own ? [{ segment, index: own.index, quarantined: own.quarantined }] : [];
  });
  const reduced = built.flatMap(({ index }) => (index instanceof ReducedIndex ? [index] : []));
  const indexed = built.reduce((sum, { segment }) => sum + segment.liveCount, 0);
  const done = store.sealed.reduce((sum, seg) => sum + seg.liveCount * indexes.progressOf(seg, spec), 0);
  const quarantined = built.flatMap(({ segment, quarantined: bad }) =>
    bad.filter((row) => !segment.isDeleted(row)).map((row) => ({ segment, row })),
  );
  return {
    name: spec.name,
    build: spec.build ?? 0,
    rows,
    indexedRows: rows - sealedRows + indexed,
    progress: sealedRows === 0 ? 1 : done / sealedRows,
    memoryBytes: indexes.memoryBytes(spec.name),
    ...(spec.reduction && { reduction: reductionStatus(spec, reduced) }),
    quarantinedRows: quarantined.length,
    quarantined: quarantined.slice(0, MAX_NAMED_ROWS).map(named),
    missing: indexes.missing(spec.name).map(({ segment, why }) => ({ segment, why })),
  };
}

function named({ segment, row }: { readonly segment: Segment; readonly row: number }) {
  try {
    return { segment: segment.number, row, id: segment.idOf(row).id };
  } catch (error) {
    if (!(error instanceof CorruptSegment)) throw error;
    return { segment: segment.number, row, id: null };
  }
}
