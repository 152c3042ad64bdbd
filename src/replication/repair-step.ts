// One step of a repair by digests: to the next rows that may differ (range-comparison.ts). Must not: compare rows.
import type { Ring } from "../cluster/ring.ts";
import { DIGEST_FANOUT, SYNC_DIGEST_PARTS } from "./limits.ts";
import { type ComparisonWays, type FoundRange, RangeComparison } from "./range-comparison.ts";
import type { Page, PageRequest } from "./sync-frames.ts";
import { type PlannedRange, piecesOf } from "./sync-plan.ts";
import type { SyncState } from "./sync-state.ts";

export interface RepairStep extends Pick<ComparisonWays, "membersOf"> {
  readonly digestRows: { readonly read: number; readonly compared: number };
  readonly ring: Ring;
  readonly plan: readonly PlannedRange[];
  /** Ranges of the ring to ask for. */
  readonly limit: number;
  /** A source's page. */
  readonly page: (nodeId: string, asked: Omit<PageRequest, "tenant" | "routeRevision">) => Promise<Page>;
}

/** A source of an earlier build: it answers with pages of rows only. */
const knowsNoDigests = (error: unknown): boolean =>
  error instanceof Error && error.message.includes("unknown page request");

export interface RepairStepped {
  readonly change: Partial<SyncState>;
  /** Ranges to ask for next: few where the last ones differed, for what is behind the first that differs is asked in vain. */
  readonly limit: number;
}

export async function repairStep(state: SyncState, step: RepairStep): Promise<RepairStepped> {
  const { nextHi, isIncremental, repairId, rowsCompared, rowsRead = 0 } = state;
  const { limit } = step;
  const sources = new Set(Object.keys(state.sources));
  const pieces = piecesOf(step.ring, step.plan, { nextHi, limit, sources });
  const [first] = pieces;
  if (!first) return { change: { nextHi: 2 ** 32 }, limit };
  // A full repair asks what is stored, not what is remembered of it.
  const isFresh = repairId !== undefined && isIncremental !== true;
  const head = { kind: "digests", from: 0, to: 0, limit: step.digestRows.read, isFresh } as const;
  const { membersOf, digestRows } = step;
  const ask: ComparisonWays["ask"] = (id, parts) => step.page(id, { ...head, parts });
  const comparison = new RangeComparison({ ask, membersOf, rowsCompared: digestRows.compared });
  const found = await comparison.next(pieces).catch((error: unknown): FoundRange => {
    if (!knowsNoDigests(error)) throw error;
    return { nextHi: first.fromHi, rowsTo: 0xffff_ffff, equalRanges: limit, rowCount: 0, rowsRead: 0 };
  });
  const change = {
    ...{ nextHi: found.nextHi, rowsTo: found.rowsTo, afterRow: undefined },
    rowsCompared: rowsCompared + found.rowCount,
    rowsRead: rowsRead + found.rowsRead,
  };
  const next = found.rowsTo === undefined ? limit * DIGEST_FANOUT : Math.max(DIGEST_FANOUT, 2 * found.equalRanges);
  return { change, limit: Math.min(SYNC_DIGEST_PARTS, next) };
}
