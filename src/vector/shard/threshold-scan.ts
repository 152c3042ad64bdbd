// Every row whose score meets a threshold, exactly: all rows that may be given are compared by their float32 values, in slices.
// Guarantees: the rows are those that lived when the scan began, whatever is written, sealed or merged meanwhile; pages that follow one
// another by (score, id) give a row that lives all through once. Must not: use an index: codes and graphs may miss rows.
import type { Pointer } from "../arena.ts";
import type { Filter } from "../filter/filter.ts";
import { FlatScan } from "../index/flat-index.ts";
import { bitmapBytes, residentRows, rowStride } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { BitSet } from "../metadata/bit-set.ts";
import { compareText } from "../metadata/values.ts";
import { distanceOf, type Metric, scoreOf } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { type AwayBlocks, whenHere } from "../segment/away.ts";
import type { Segment } from "../segment/segment.ts";
import { FreshSegment } from "./fresh-segment.ts";
import { SCAN_SLICE_BYTES } from "./limits.ts";
import { inOrder, type MatchPlace } from "./match-order.ts";
import { selectRows } from "./selections.ts";
import { rowsOf } from "./shard-indexes.ts";
import type { Located, VectorStore } from "./vector-store.ts";

export interface ThresholdAsk {
  readonly values: Float32Array;
  readonly threshold: number;
  readonly filter?: Filter | undefined;
  readonly after?: MatchPlace | undefined;
  readonly limit: number;
  /** An id that is neither given nor counted. */
  readonly without?: string | undefined;
}

export interface Match extends Located, MatchPlace {}

export interface Matches {
  readonly rows: readonly Match[];
  /** There are others behind the last one. */
  readonly more: boolean;
  /** All that meet the threshold, those before `after` included. */
  readonly total: number;
  /** Rows that were compared, or whose metadata was read. */
  readonly scanned: number;
}

export interface ThresholdScanOptions {
  readonly core: VectorCore;
  readonly store: VectorStore;
  readonly metric: Metric;
  readonly dimension: number;
}

/** Rows of a segment as of the scan's beginning. */
interface Snapshot {
  readonly segment: FreshSegment | Segment;
  readonly rowCount: number;
  /** Those that live, and that the filter lets through. */
  readonly live: BitSet;
}

/** What meets the threshold in a segment, by row. */
interface Found {
  readonly segment: FreshSegment | Segment;
  readonly rows: number[];
  readonly scores: number[];
}

export class ThresholdScan {
  readonly #options: ThresholdScanOptions;

  constructor(options: ThresholdScanOptions) {
    this.#options = options;
  }

  /** Pauses between slices, and for what must be fetched; the store must be pinned meanwhile. @throws ArenaFull, CorruptSegment */
  *run(ask: ThresholdAsk): Generator<AwayBlocks | undefined, Matches> {
    const { core, store, metric, dimension } = this.#options;
    const query = new QuerySlot(core, metric, dimension);
    try {
      let scanned = 0;
      const own = ask.without === undefined ? undefined : store.locate(ask.without);
      const all = store.segments.map((segment): Snapshot => {
        const { live, judged } = liveRows(segment, ask.filter);
        if (own?.segment === segment) live.remove(own.row);
        scanned += judged + live.size;
        return { segment, rowCount: segment.rowCount, live };
      });
      const found: Found[] = [];
      for (const snapshot of all) {
        if (snapshot.live.size > 0) found.push(yield* this.#scan(snapshot, query, ask));
      }
      return { ...pageOf(found, metric, ask), scanned };
    } finally {
      query.release();
    }
  }

  *#scan(
    { segment, rowCount, live }: Snapshot,
    query: QuerySlot,
    ask: ThresholdAsk,
  ): Generator<AwayBlocks | undefined, Found> {
    const { core, metric, dimension } = this.#options;
    const isFresh = segment instanceof FreshSegment;
    const slice = isFresh ? rowCount : Math.max(32, Math.floor(SCAN_SLICE_BYTES / rowStride(dimension)));
    const scan = new FlatScan(core, isFresh ? residentRows(dimension, segment.extents) : rowsOf(core, segment));
    const found: Found = { segment, rows: [], scores: [] };
    const most = justBeyond(distanceOf(metric, ask.threshold));
    for (let from = 0; from < rowCount; from += slice) {
      const to = Math.min(rowCount, from + slice);
      if (!live.hasWithin(from, to)) continue;
      const { rows, distances } = yield* whenHere(() => {
        // Other searches took the workspace meanwhile.
        const prepared = query.prepare(ask.values);
        const allowed = copied(core, live);
        return scan.within(prepared, { most, from, to, capacity: to - from, allowed });
      });
      for (const [at, row] of rows.entries()) {
        const score = scoreOf(metric, distances[at]!);
        if (!meets(metric, score, ask.threshold)) continue;
        found.rows.push(row);
        found.scores.push(score);
      }
      if (!isFresh) yield;
    }
    return found;
  }
}

function liveRows(segment: FreshSegment | Segment, filter: Filter | undefined) {
  const selected = filter && selectRows(filter, segment);
  const live = selected ? selected.rows.copy() : BitSet.all(segment.rowCount);
  return { live: live.drop(segment.deleted), judged: selected?.judged ?? 0 };
}

function copied({ workspace, arena }: VectorCore, rows: BitSet): Pointer {
  const at = workspace.reserve("allowedRows", bitmapBytes(rows.count));
  const words = arena.words(at, bitmapBytes(rows.count) / 4);
  words.fill(0);
  words.set(rows.words);
  return at;
}

/** A little more than the distance: float32 must not round a row away that the score lets through. */
function justBeyond(distance: number): number {
  return Math.fround(distance + Math.abs(distance) * 2 ** -22 + 2 ** -140);
}

function meets(metric: Metric, score: number, threshold: number): boolean {
  return metric === "euclidean" ? score <= threshold : score >= threshold;
}

/** The first of the order behind `after`. Only ids of rows that may be given are read. */
function pageOf(found: readonly Found[], metric: Metric, { after, limit }: ThresholdAsk): Omit<Matches, "scanned"> {
  const sign = metric === "euclidean" ? 1 : -1;
  const total = found.reduce((sum, { rows }) => sum + rows.length, 0);
  const behind: { segment: Found["segment"]; row: number; key: number }[] = [];
  for (const { segment, rows, scores } of found) {
    for (const [at, row] of rows.entries()) {
      const key = scores[at]! * sign;
      const isBehind =
        !after || key > after.score * sign || (key === after.score * sign && isAfter(segment, row, after.id));
      if (isBehind) behind.push({ segment, row, key });
    }
  }
  const cut = behind.length > limit ? Float64Array.from(behind, ({ key }) => key).sort()[limit - 1]! : Infinity;
  const candidates = behind
    .filter(({ key }) => key <= cut)
    .map(({ segment, row, key }): Match => ({ segment, row, score: key * sign, id: segment.idOf(row).id }));
  const rows = candidates.sort(inOrder(metric)).slice(0, limit);
  return { rows, more: behind.length > rows.length, total };
}

function isAfter(segment: Found["segment"], row: number, id: string): boolean {
  return compareText(segment.idOf(row).id, id) > 0;
}
