// What is kept of a comparison between its steps.
import type { TenantRoute } from "../access/types.ts";
import type { TokenRange } from "../cluster/ring.ts";
import type { RowKey } from "../storage/types.ts";
import type { SyncKind } from "./sync-plan.ts";

/** What is kept of a job, as JSON. */
export interface SyncState {
  readonly epoch: number;
  readonly kind: SyncKind;
  /** Undefined = all tenants. */
  readonly tenant?: number | undefined;
  /** Of the tenant, while it changes. */
  readonly route?: TenantRoute | undefined;
  /** Of a change of the ring: its revision, and how many replicas tenants' keys have. */
  readonly ringWork?: RingWork | undefined;
  /** The ring by which the work began. */
  readonly ringRevision?: number | undefined;
  /** Only tokens with high words in this range. */
  readonly range?: { readonly fromHi: number; readonly toHi: number } | undefined;
  /** A full repair, of which each node does the ranges that it is the first replica of. */
  readonly repairId?: number | undefined;
  /** Of a repair: what was kept of digests is believed, and ranges of which a replica is away are left out (spec RP-130). */
  readonly isIncremental?: boolean | undefined;
  /** Where this node joins the tenant's replicas. */
  readonly joining?: readonly TokenRange[] | undefined;
  /** Of a rebuild: the store held nothing when it began, so that what came meanwhile is all from others. */
  readonly startedEmpty?: boolean | undefined;
  readonly phase: "start" | "clear" | "strays" | "records" | "rows" | "routes" | "marks" | "done";
  /** What is purged here since the work began; a filling is begun anew when that changes (spec RP-77). */
  readonly horizon?: number | undefined;
  /** Of the deleting of strays: the last tenant that is done with. */
  readonly afterTenant?: number | undefined;
  /** Node → actor: whom the work began with. Another incarnation knows less than the one that was asked. */
  readonly sources: Readonly<Record<string, number>>;
  /** Of the records: which source, which window of ids. */
  readonly source: number;
  readonly window: number;
  /** Of the rows: everything below this was compared. */
  readonly nextHi: number;
  readonly afterRow?: RowKey | undefined;
  /** Of a repair: up to here rows are compared one by one, for their digests differ; then by digests again. */
  readonly rowsTo?: number | undefined;
  readonly failures: number;
  readonly rowsCompared: number;
  readonly rowsRepaired: number;
  readonly rowsUnreadable: number;
  readonly recordsTaken: number;
  readonly rangesDone?: number | undefined;
  readonly rangeCount?: number | undefined;
  /** Ranges that were left out. */
  readonly rangesLeftOut?: number | undefined;
  /** Rows that were read to compare, at the node that read most: what the work costs. */
  readonly rowsRead?: number | undefined;
  /** Of states that were brought to a node. */
  readonly bytesRepaired?: number | undefined;
}

/** What a change of the ring gives to its comparisons. */
export interface RingWork {
  readonly revision: number;
  /** Replication factors that tenants have. */
  readonly factors: readonly number[];
  /** Rows compared in a second at most; absent: as fast as a pause between pages lets it. */
  readonly keysPerSecond?: number | undefined;
}

export function newSync(
  of: Pick<SyncState, "epoch" | "kind"> &
    Partial<
      Pick<
        SyncState,
        "tenant" | "route" | "ringWork" | "range" | "repairId" | "isIncremental" | "joining" | "startedEmpty"
      >
    >,
): SyncState {
  return {
    ...of,
    phase: "start",
    sources: {},
    source: 0,
    window: 0,
    nextHi: 0,
    failures: 0,
    rowsCompared: 0,
    rowsRepaired: 0,
    rowsUnreadable: 0,
    recordsTaken: 0,
  };
}
