// A node deletes what it holds and nobody relies on: rows of tenants whose replicas it is none of any more, and whatever it holds of
// a range that it is about to be filled with from others (spec RP-78, RP-79).
// Guarantees: a range is marked as being filled before anything of it is deleted, so that a record without its row kills nothing
// (KV-7); what the node might count for is never deleted: it knows of no newer route in the turn that deletes. Must not: compare.
import type { TenantRoute } from "../access/types.ts";
import type { Ring, TokenRange } from "../cluster/ring.ts";
import { holds } from "../cluster/token-ranges.ts";
import { isPurgeable } from "../kv/purge.ts";
import type { RowKey, ScanOptions, ScanPage } from "../storage/types.ts";
import { RING_TENANT } from "./fence.ts";
import { SYNC_PAGE_BYTES, SYNC_PAGE_ROWS } from "./limits.ts";
import { joiningRanges, releasedRanges } from "./sync-plan.ts";

/** What this node holds and was told, as the deleting sees it. */
export interface OwnRows {
  scan(options: ScanOptions): Promise<ScanPage>;
  /** Deletes rows, in one commit. */
  forget(rows: readonly RowKey[]): void;
  /** Tenants whose route ever changed, as far as was recorded here, ascending. */
  changedTenants(): readonly number[];
  routeRevision(tenant: number): number;
  recordRoute(tenant: number, revision: number): void;
}

export interface Forgetting {
  /** Undefined = all tenants. */
  readonly tenant: number | undefined;
  readonly ranges: readonly TokenRange[];
  readonly after: RowKey | undefined;
  /** Asked in the turn that deletes. */
  readonly mayForget: () => boolean;
}

export interface Forgotten {
  readonly rowCount: number;
  /** Where the next page begins after; undefined = that was the last. */
  readonly after: RowKey | undefined;
}

/** Deletes one page of what is held in the ranges. */
export async function forgetPage(own: OwnRows, { tenant, ranges, after, mayForget }: Forgetting): Promise<Forgotten> {
  const page = await pageOf(own, { tenant, after });
  const strays = page.rows.filter(({ row, value }) => isHeldIn(ranges, row, value));
  if (!mayForget()) return { rowCount: 0, after: undefined };
  if (strays.length > 0) own.forget(strays.map(({ row }) => row));
  return { rowCount: strays.length, after: page.done ? undefined : page.rows.at(-1)?.row };
}

export interface Releasing {
  readonly own: OwnRows;
  readonly self: string;
  readonly ring: Ring;
  readonly tenant: number;
  readonly after: RowKey | undefined;
  /** The tenant's route as its owner tells it now. */
  readonly route: TenantRoute | undefined;
  /** Marks ranges in which this node may not hold what others do. */
  readonly beginFilling: (tenant: number, ranges: readonly TokenRange[]) => void;
  /** Throws when the work was given up. */
  readonly assertWanted: () => void;
}

/** Nodes keep what they are no replicas of while the ring changes, and for a while after that. */
export function mayRelease({ state }: Ring): boolean {
  return state.phase === undefined && state.keepsStrays !== true;
}

export interface ReleasingAll extends Omit<Releasing, "tenant" | "route"> {
  readonly routeOf: (tenant: number) => Promise<TenantRoute | undefined>;
}

/** One page of what this node holds of any tenant and is no replica of. */
export async function releaseAllPage(options: ReleasingAll): Promise<Forgotten> {
  const { own, self, ring, after, routeOf, beginFilling, assertWanted } = options;
  const nothing = { rowCount: 0, after: undefined };
  if (!mayRelease(ring)) return nothing;
  const page = await pageOf(own, { after });
  const routes = new Map<number, TenantRoute | undefined>();
  for (const { row } of page.rows) if (!routes.has(row.tenant)) routes.set(row.tenant, await routeOf(row.tenant));
  // From here on one turn: nobody counts on these rows by what is recorded now.
  assertWanted();
  own.recordRoute(RING_TENANT, ring.state.revision);
  if (own.routeRevision(RING_TENANT) !== ring.state.revision) return nothing;
  const strays: RowKey[] = [];
  for (const [tenant, route] of routes) {
    const revision = route?.routeRevision ?? 0;
    if (!route || route.change) continue;
    own.recordRoute(tenant, revision);
    if (own.routeRevision(tenant) !== revision) continue;
    const ranges = releasedRanges(ring, self, route);
    const mine = page.rows.filter(({ row, value }) => row.tenant === tenant && isHeldIn(ranges, row, value));
    if (mine.length === 0) continue;
    beginFilling(tenant, ranges);
    strays.push(...mine.map(({ row }) => row));
  }
  if (strays.length > 0) own.forget(strays);
  return { rowCount: strays.length, after: page.done ? undefined : page.rows.at(-1)?.row };
}

/** One page of what this node holds where the ring makes it join the replicas of a tenant: it is filled anew. */
export async function clearJoiningPage(options: ReleasingAll): Promise<Forgotten> {
  const { own, self, ring, after, routeOf, beginFilling, assertWanted } = options;
  const page = await pageOf(own, { after });
  const strays: RowKey[] = [];
  const joining = new Map<number, readonly TokenRange[]>();
  for (const { row, value } of page.rows) {
    const { tenant } = row;
    if (!joining.has(tenant)) {
      const route = await routeOf(tenant);
      joining.set(tenant, route ? joiningRanges(ring, self, route) : []);
    }
    if (isHeldIn(joining.get(tenant)!, row, value)) strays.push(row);
  }
  assertWanted();
  for (const [tenant, ranges] of joining) if (ranges.length > 0) beginFilling(tenant, ranges);
  if (strays.length > 0) own.forget(strays);
  return { rowCount: strays.length, after: page.done ? undefined : page.rows.at(-1)?.row };
}

function isHeldIn(ranges: readonly TokenRange[], row: RowKey, value: Uint8Array): boolean {
  return holds(ranges, row.token.hi) && !isPurgeable(value, 0);
}

function pageOf(own: OwnRows, { tenant, after }: { tenant?: number | undefined; after: RowKey | undefined }) {
  return own.scan({
    limitRows: SYNC_PAGE_ROWS,
    limitBytes: SYNC_PAGE_BYTES,
    ...(tenant === undefined ? {} : { tenant }),
    ...(after ? { after } : {}),
  });
}

/** One page of what this node holds of a tenant and is no replica of. Nothing while the tenant's replicas change. */
export async function releasePage(options: Releasing): Promise<Forgotten> {
  const { own, self, ring, tenant, after, route, beginFilling, assertWanted } = options;
  const nothing = { rowCount: 0, after: undefined };
  if (!route || route.change || !mayRelease(ring)) return nothing;
  const revision = route.routeRevision ?? 0;
  // From now on requests by an older route are refused here: nobody counts on these rows.
  own.recordRoute(tenant, revision);
  const isCurrent = (): boolean => own.routeRevision(tenant) === revision;
  const ranges = releasedRanges(ring, self, route);
  if (!isCurrent() || ranges.length === 0) return nothing;
  beginFilling(tenant, ranges);
  const mayForget = (): boolean => {
    assertWanted();
    return isCurrent();
  };
  return forgetPage(own, { tenant, ranges, after, mayForget });
}
