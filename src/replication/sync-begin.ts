// How a comparison begins: which ranges it is about, who takes part, and whether those who answer are enough. Pure.
import type { TenantRoute } from "../access/types.ts";
import type { Ring } from "../cluster/ring.ts";
import { concerns, isEnough, membersOf, nextOf, type PlannedRange, plannedRanges, type SyncKind } from "./sync-plan.ts";
import type { SyncState } from "./sync-state.ts";

/** Thrown where the sources do not answer as they must; the step is tried again. */
export class SourceAway extends Error {
  override readonly name = "SourceAway";
}

/** A store that is only doubted may hold the only copy of something: nothing of it is deleted. */
export function firstPhase(kind: SyncKind, of: { startedEmpty: boolean; isFull: boolean }): SyncState["phase"] {
  if (kind === "fill" || (kind === "rebuild" && of.startedEmpty)) return "clear";
  if (kind === "rebuild" || kind === "join") return "records";
  return of.isFull ? "strays" : "rows";
}

const zoneCount = (ring: Ring): number => new Set(ring.nodes.map((node) => node.zone)).size;

function factorsUpTo(count: number): TenantRoute[] {
  return Array.from({ length: count }, (_, i) => ({ replicationFactor: i + 1 }));
}

export function planOf(state: SyncState, self: string, ring: Ring): PlannedRange[] {
  const { kind, tenant, ringWork, range, repairId } = state;
  // Replicas of fewer are among those of more.
  const widest = zoneCount(ring);
  const route = state.route ?? { replicationFactor: widest };
  // But with fewer this node may join, with more be there already.
  const routes = ringWork ? factorsUpTo(widest) : [route];
  const planned = plannedRanges(ring, (token) => {
    const members = membersOf(ring, token, route);
    const isMine =
      tenant === undefined && !ringWork
        ? members.all.includes(self)
        : routes.some((each) => concerns(kind, self, membersOf(ring, token, each), nextOf(ring, token, each)));
    const isOthers = repairId !== undefined && members.all[0] !== self;
    return isMine && !isOthers ? members.all : [];
  });
  return planned.flatMap(({ fromHi, toHi, members }) => {
    const from = Math.max(fromHi, range?.fromHi ?? 0);
    const to = Math.min(toHi, range?.toHi ?? 0xffff_ffff);
    return members.length === 0 || from > to ? [] : [{ fromHi: from, toHi: to, members }];
  });
}

export interface Beginning {
  readonly self: string;
  readonly ring: Ring;
  readonly plan: readonly PlannedRange[];
  readonly sources: ReadonlySet<string>;
}

/** Throws SourceAway where those who answered are too few for a range. An incremental repair leaves such ranges out. */
export function assertEnough(
  { kind, route, ringWork, isIncremental }: SyncState,
  { self, ring, plan, sources }: Beginning,
): void {
  if (isIncremental) return;
  const used = ringWork?.factors.map((replicationFactor) => ({ replicationFactor }));
  const routes = route ? [route] : (used ?? factorsUpTo(zoneCount(ring)));
  for (const range of plan) {
    const token = { hi: range.toHi, lo: 0 };
    for (const each of routes) {
      const members = membersOf(ring, token, each);
      if (!members.all.includes(self)) continue;
      if (ringWork && !concerns(kind, self, members, nextOf(ring, token, each))) continue;
      if (!isEnough(kind, self, members, sources)) throw new SourceAway(`too few of ${members.all.join(", ")} answer`);
    }
  }
}
