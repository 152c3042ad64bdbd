// Rows that are too old or too many for their database: found and deleted in slices, the oldest first, by when they were last written.
// Guarantees: a row that was written since it was chosen stays; what a restart cuts off is found again. Must not: know time or timers.

import { type AwayBlocks, AwayGathering, whenHere } from "../segment/away.ts";
import { CorruptSegment } from "../segment/directory.ts";
import type { VectorRow } from "../segment/row.ts";
import { Segment } from "../segment/segment.ts";
import { RETENTION_EVERY_MS, RETENTION_SLICE_ROWS } from "./limits.ts";
import { type ListingPlace, listPage } from "./listing.ts";
import type { Located, VectorStore } from "./vector-store.ts";

/** What one shard may keep; absent = no bound. */
export interface Retention {
  readonly maxAgeMs?: number | undefined;
  readonly maxRows?: number | undefined;
  /** Of ids, values and metadata of live rows. */
  readonly maxBytes?: number | undefined;
  /** What goes is kept aside (expired-rows.ts). */
  readonly archives?: true | undefined;
}

/** Takes rows that are about to go, in the turn in which they do. */
export type KeepExpired = (rows: Iterable<VectorRow>) => void;

/** Pauses where what is kept must be fetched first. */
type Removal = Generator<AwayBlocks, number>;

interface Aged {
  readonly id: string;
  readonly updatedMs: number;
  readonly bytes: number;
}

/** How long until the next look: age needs it as often as it is short. */
export function retentionDelayMs({ maxAgeMs }: Retention): number {
  return maxAgeMs === undefined ? RETENTION_EVERY_MS : Math.min(RETENTION_EVERY_MS, Math.max(1000, maxAgeMs / 10));
}

/** Deletes what is beyond the bounds; pauses between slices. `endTurn` is the caller's, at every pause. Gives how many it deleted. */
export function* retain(
  store: VectorStore,
  bounds: Retention,
  { nowMs, keep }: { readonly nowMs: number; readonly keep?: KeepExpired | undefined },
): Generator<AwayBlocks | undefined, number> {
  const remove = (rows: readonly Aged[]): Removal => whenHere(() => removeUnchanged(store, rows, keep));
  const { maxAgeMs, maxRows = Number.POSITIVE_INFINITY, maxBytes } = bounds;
  const oldest = maxAgeMs === undefined ? Number.NEGATIVE_INFINITY : nowMs - maxAgeMs;
  const isCounted = store.liveCount > maxRows || maxBytes !== undefined;
  let deleted = 0;
  const kept: Aged[] = [];
  for (let after: ListingPlace | undefined, isFirst = true; isFirst || after; isFirst = false) {
    const page = listPage(store, { after, limit: RETENTION_SLICE_ROWS });
    const rows = page.rows.map(({ segment, row }): Aged => {
      const { id, stamp } = segment.idOf(row);
      const size = isCounted ? id.length + valueBytesOf(segment, row) + segment.metadataOf(row).length : 0;
      return { id, updatedMs: stamp.updatedMs, bytes: size };
    });
    const expired = rows.filter(({ updatedMs }) => updatedMs < oldest);
    if (expired.length > 0) deleted += yield* remove(expired);
    if (isCounted) for (const row of rows) if (row.updatedMs >= oldest) kept.push(row);
    after = page.next;
    yield;
  }
  return (
    deleted + (isCounted ? yield* trim(kept, remove, { maxRows, maxBytes: maxBytes ?? Number.POSITIVE_INFINITY }) : 0)
  );
}

/** Of a sealed segment none is read for it. */
function valueBytesOf(segment: Located["segment"], row: number): number {
  return segment instanceof Segment ? segment.directory.dimension * 4 : segment.valuesOf(row).length;
}

function* trim(
  rows: readonly Aged[],
  remove: (rows: readonly Aged[]) => Removal,
  { maxRows, maxBytes }: { readonly maxRows: number; readonly maxBytes: number },
): Generator<AwayBlocks | undefined, number> {
  const sorted = rows.toSorted((a, b) => a.updatedMs - b.updatedMs);
  let bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  let excess = 0;
  while (excess < sorted.length && (sorted.length - excess > maxRows || bytes > maxBytes))
    bytes -= sorted[excess++]!.bytes;
  let deleted = 0;
  for (let from = 0; from < excess; from += RETENTION_SLICE_ROWS) {
    deleted += yield* remove(sorted.slice(from, Math.min(excess, from + RETENTION_SLICE_ROWS)));
    yield;
  }
  return deleted;
}

/** Those that were not written since; where they are kept, those that can be read. */
function removeUnchanged(store: VectorStore, rows: readonly Aged[], keep: KeepExpired | undefined): number {
  const same = rows.filter(({ id, updatedMs }) => {
    const found = store.locate(id);
    return found?.segment.idOf(found.row).stamp.updatedMs === updatedMs;
  });
  const ids = keep ? kept(store, same, keep) : same.map(({ id }) => id);
  store.apply(ids.map((id) => ({ kind: "delete", id })));
  return ids.length;
}

/** One at a time: together they may be larger than memory bears. */
function kept(store: VectorStore, rows: readonly Aged[], keep: KeepExpired): readonly string[] {
  const ids: string[] = [];
  requireAll(store, rows);
  function* readable(): Generator<VectorRow, void> {
    for (const { id } of rows) {
      const row = undamaged(() => store.get(id));
      if (!row) continue;
      ids.push(id);
      yield row;
    }
  }
  keep(readable());
  return ids;
}

/** @throws AwayBlocks with what must be fetched before any of them is kept */
function requireAll(store: VectorStore, rows: readonly Aged[]): void {
  const away = new AwayGathering();
  for (const { id } of rows) {
    const found = store.locate(id);
    if (found?.segment instanceof Segment) away.try(() => (found.segment as Segment).requireValues([found.row]));
  }
  away.end();
}

/** What is damaged stays: reads name it, and a copy may have it. */
function undamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CorruptSegment) return undefined;
    throw error;
  }
}
