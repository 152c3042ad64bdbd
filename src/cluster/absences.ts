// Which instances have failed in the eyes of most, and what is due because of it. The reconciler's pure rules about absent instances.
// Guarantees: acts on what most of the other instances say, so one that is cut off accuses in vain; each failure is noted once, its end too.
// Must not: read clocks, or know how a node is replaced.
import type { MembershipView } from "./told.ts";

/** A view is good for so long; supervisors send theirs again three times meanwhile. Ms. */
export const VIEW_FRESH_MS = 30_000;

/** What is done about the nodes of an instance that stays away: noted; planned and noted; done. */
export const REPLACE_POLICIES = ["observe", "dry-run", "act"] as const;
export type ReplacePolicy = (typeof REPLACE_POLICIES)[number];

export interface HeldView {
  readonly view: MembershipView;
  readonly atMs: number;
}

/** An instance that most of the others have found failed. */
export interface Failure {
  readonly zone: string;
  readonly incarnation: number;
  /** Most have known it since then. */
  readonly sinceMs: number;
}

/** What is remembered of an instance that is away. */
export interface Absence extends Failure {
  /** What is to be done after so long was done. */
  readonly isActedOn: boolean;
  /** The change of the ring that removes its storage nodes. */
  readonly operationId?: number | undefined;
}

/** @param zones of all instances. Most of those that are not accused themselves must say so, whether they were heard or not. */
export function agreedFailures(views: readonly HeldView[], zones: readonly string[], nowMs: number): Failure[] {
  const fresh = views.filter(({ atMs }) => nowMs - atMs < VIEW_FRESH_MS);
  return zones.flatMap((zone) => {
    const accusers = fresh.flatMap(({ view }) => {
      const member = view.members.find((each) => each.zone === zone);
      return view.zone !== zone && member?.state === "failed" ? [member] : [];
    });
    if (accusers.length * 2 <= zones.length - 1) return [];
    const incarnation = Math.max(...accusers.map((member) => member.incarnation));
    return [{ zone, incarnation, sinceMs: medianOf(accusers.map(({ sinceMs }) => sinceMs)) }];
  });
}

/** Of two in the middle the later one: nothing is due too early. */
function medianOf(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

export type AbsenceStep =
  | { readonly kind: "failed" | "due"; readonly absence: Absence }
  | { readonly kind: "back"; readonly zone: string; readonly incarnation: number };

export interface AbsenceRules {
  readonly zones: readonly string[];
  /** 0 = nothing is ever due. */
  readonly replaceAfterMs: number;
}

/** What has to be noted, in order. `held`: what is remembered; each step changes it as it says. */
export function stepAbsences(
  held: readonly Absence[],
  { views, nowMs }: { readonly views: readonly HeldView[]; readonly nowMs: number },
  { zones, replaceAfterMs }: AbsenceRules,
): AbsenceStep[] {
  const failures = agreedFailures(views, zones, nowMs);
  const steps: AbsenceStep[] = [];
  for (const failure of failures) {
    const known = held.find(({ zone }) => zone === failure.zone);
    if (!known) steps.push({ kind: "failed", absence: { ...failure, isActedOn: false } });
    const isDue = replaceAfterMs > 0 && nowMs - (known ?? failure).sinceMs >= replaceAfterMs;
    if (isDue && known?.isActedOn !== true)
      steps.push({ kind: "due", absence: { ...(known ?? failure), isActedOn: true } });
  }
  for (const { zone } of held) {
    if (failures.some((failure) => failure.zone === zone)) continue;
    const member = seenBack(views, zone, nowMs);
    if (member) steps.push({ kind: "back", zone, incarnation: member.incarnation });
  }
  return steps;
}

/** Said to be there by somebody, and failed by nobody, lately. */
function seenBack(views: readonly HeldView[], zone: string, nowMs: number) {
  const said = views
    .filter(({ view, atMs }) => nowMs - atMs < VIEW_FRESH_MS && view.zone !== zone)
    .flatMap(({ view }) => view.members.filter((member) => member.zone === zone));
  if (said.some(({ state }) => state === "failed")) return undefined;
  return said.find(({ state }) => state === "alive" || state === "left");
}
