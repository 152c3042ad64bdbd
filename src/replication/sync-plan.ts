// Which replicas a comparison of ranges concerns, and whose answers are enough. Pure functions of the ring and a tenant's route.
import type { TenantRoute } from "../access/types.ts";
import type { Ring, TokenRange } from "../cluster/ring.ts";
import { complementOf } from "../cluster/token-ranges.ts";
import type { Token } from "../storage/types.ts";
import { readQuorum } from "./tally.ts";

/**
 * `rebuild`: this node lost its disk. `fill`: it joins the replicas of a tenant, rows only. `join`: the tenant's writes are joint by
 * now; what was written before is brought over. `repair`: the replicas of a range are brought to agreement. `release`: what a change
 * of the tenant's replicas left behind here is deleted; nothing is compared.
 */
export type SyncKind = "rebuild" | "fill" | "join" | "repair" | "release";

export interface Members {
  /** The authority: those that reads ask today. */
  readonly old: readonly string[];
  readonly joining: readonly string[];
  /** Both, each once. */
  readonly all: readonly string[];
}

export function membersOf(ring: Ring, token: Token, route: TenantRoute): Members {
  const { write: old, pending, joint = [] } = ring.replicas(token, route.replicationFactor);
  const next = route.change ? ring.replicas(token, route.change.to).write : joint;
  const joining = [...next, ...pending].filter((id) => !old.includes(id));
  return { old, joining, all: [...old, ...new Set(joining)] };
}

/** Is this node's copy of the token what the work is for? */
export function concerns(kind: SyncKind, self: string, members: Members, next: readonly string[]): boolean {
  switch (kind) {
    case "rebuild":
    case "repair":
      return members.all.includes(self);
    case "fill":
      return members.joining.includes(self);
    case "join":
      return next.includes(self);
    case "release":
      return false;
    default:
      throw new Error(`unknown kind ${kind satisfies never}`);
  }
}

/** The replicas of the new factor or ring, of which each must know all that a quorum of the old ones knows. */
export function nextOf(ring: Ring, token: Token, route: TenantRoute): readonly string[] {
  if (route.change) return ring.replicas(token, route.change.to).write;
  return ring.replicas(token, route.replicationFactor).joint ?? [];
}

/** Whether these sources together know every write that a majority of the old replicas acknowledged. */
export function isEnough(kind: SyncKind, self: string, members: Members, sources: ReadonlySet<string>): boolean {
  if (kind === "repair") return members.all.every((id) => sources.has(id));
  const { old } = members;
  const count = old.filter((id) => sources.has(id) && !(kind === "rebuild" && id === self)).length;
  // The only replica of all lost its disk: there is nobody to ask.
  if (kind === "rebuild" && old.length === 1 && old[0] === self) return true;
  return count >= readQuorum(old.length);
}

/** Adjacent ranges with the same members, as one: fewer and larger pages. */
export function plannedRanges(ring: Ring, membersAt: (token: Token) => readonly string[]): PlannedRange[] {
  const planned: PlannedRange[] = [];
  for (const { fromHi, toHi } of ring.ranges()) {
    const members = membersAt({ hi: toHi, lo: 0 });
    const last = planned.at(-1);
    if (last && sameMembers(last.members, members)) planned[planned.length - 1] = { ...last, toHi };
    else planned.push({ fromHi, toHi, members });
  }
  return planned;
}

export interface PlannedRange extends TokenRange {
  readonly members: readonly string[];
}

export interface Pieces {
  readonly nextHi: number;
  readonly limit: number;
  /** Others are not asked: a range without all of its members is left out. */
  readonly sources: ReadonlySet<string>;
}

/** What is planned from a place on, cut where the ring is: in a piece every tenant has the same replicas. */
export function piecesOf(
  ring: Ring,
  plan: readonly PlannedRange[],
  { nextHi, limit, sources }: Pieces,
): PlannedRange[] {
  const pieces: PlannedRange[] = [];
  const cuts = ring.ranges();
  let cut = 0;
  for (const { fromHi, toHi, members } of plan) {
    if (!members.every((id) => sources.has(id))) continue;
    for (let from = Math.max(fromHi, nextHi); from <= toHi; ) {
      if (pieces.length === limit) return pieces;
      while (cuts[cut]!.toHi < from) cut++;
      const to = Math.min(toHi, cuts[cut]!.toHi);
      pieces.push({ fromHi: from, toHi: to, members });
      from = to + 1;
    }
  }
  return pieces;
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}

/** The ranges in which this node joins the replicas of a tenant: there it may not yet hold what others do. */
export function joiningRanges(ring: Ring, self: string, route: TenantRoute): TokenRange[] {
  const planned = plannedRanges(ring, (token) => (membersOf(ring, token, route).joining.includes(self) ? [self] : []));
  return planned.flatMap(({ fromHi, toHi, members }) => (members.length > 0 ? [{ fromHi, toHi }] : []));
}

/** The ranges in which this node is no replica of a tenant whose route does not change. */
export function releasedRanges(ring: Ring, self: string, route: TenantRoute): TokenRange[] {
  const planned = plannedRanges(ring, (token) => (membersOf(ring, token, route).all.includes(self) ? [self] : []));
  return complementOf(planned.filter(({ members }) => members.length > 0));
}
