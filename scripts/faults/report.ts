// What faults cost, gathered by kind: requests failed, longest unavailability of each system and level, and the availability that gives at a
// stated rate of faults. Pure.
import type { Kind } from "./plan.ts";

/** What clients ask, with its level. */
export const SYSTEMS = [
  "put one",
  "put quorum",
  "put all",
  "get one",
  "get quorum",
  "config write",
  "config read",
  "config follower read",
  "vector write",
  "vector search",
  "vector follower search",
] as const;
export type System = (typeof SYSTEMS)[number];
export type BySystem = Readonly<Record<System, number>>;

/** What one fault cost: the longest time without a good answer, in ms, at the instances that were not hurt, or at all. */
export interface FaultCost {
  readonly kind: Kind;
  readonly zone: string;
  readonly recoveredMs: number;
  readonly asked: number;
  readonly failed: BySystem;
  readonly failedElsewhere: BySystem;
  readonly elsewhere: BySystem;
  readonly anywhere: BySystem;
  /** Failures by their codes. */
  readonly codes: Readonly<Partial<Record<System, Readonly<Record<string, number>>>>>;
  /** What it was done to, where that was not chosen. */
  readonly about?: string | undefined;
}

/** A fault of each kind comes once in so long. */
export const FAULT_EVERY_DAYS = 30;
/** The specs'. */
const TARGETS = [99.999, 99.99, 99.9];
const DAY_MS = 86_400_000;

export function bySystem(value: (system: System) => number): BySystem {
  return Object.fromEntries(SYSTEMS.map((system) => [system, value(system)])) as Record<System, number>;
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function groups(costs: readonly FaultCost[]): (readonly [Kind, readonly FaultCost[]])[] {
  const kinds = [...new Set(costs.map(({ kind }) => kind))];
  return kinds.map((kind) => [kind, costs.filter((cost) => cost.kind === kind)]);
}

/** Per kind: faults, requests asked and failed, seconds until all was back, and the longest away per system, elsewhere and at all. */
export function tableOf(costs: readonly FaultCost[]): string[] {
  const head = ["fault", "n", "asked", "failed", "failed elsewhere", "back after", ...SYSTEMS];
  const lines = [row(head), row(head.map(() => "---"))];
  const sum = (of: BySystem): number => SYSTEMS.reduce((total, system) => total + of[system], 0);
  for (const [kind, each] of groups(costs)) {
    const most = (pick: (cost: FaultCost) => number): number => Math.max(...each.map(pick));
    const total = (pick: (cost: FaultCost) => number): string =>
      String(each.reduce((all, cost) => all + pick(cost), 0));
    const away = SYSTEMS.map(
      (system) =>
        `${seconds(most((cost) => cost.elsewhere[system]))} / ${seconds(most((cost) => cost.anywhere[system]))}`,
    );
    const failed = [total(({ failed }) => sum(failed)), total(({ failedElsewhere }) => sum(failedElsewhere))];
    lines.push(
      row([
        kind,
        String(each.length),
        total(({ asked }) => asked),
        ...failed,
        seconds(most(({ recoveredMs }) => recoveredMs)),
        ...away,
      ]),
    );
  }
  return lines;
}

export interface Availability {
  readonly system: System;
  readonly percent: number;
  /** The strictest of the specs' targets that it meets. */
  readonly meets: number | undefined;
}

/**
 * Of a client that goes to another instance when its own is hurt: each kind of fault that was seen comes once in {@link FAULT_EVERY_DAYS}
 * days and costs its mean longest time without an answer elsewhere, unless nothing failed there.
 */
export function availabilities(costs: readonly FaultCost[]): Availability[] {
  return SYSTEMS.map((system) => {
    let awayMs = 0;
    for (const [, each] of groups(costs)) {
      const lost = each.map((cost) => (cost.failedElsewhere[system] > 0 ? cost.elsewhere[system] : 0));
      awayMs += lost.reduce((all, ms) => all + ms, 0) / each.length;
    }
    const percent = 100 * (1 - awayMs / (FAULT_EVERY_DAYS * DAY_MS));
    return { system, percent, meets: TARGETS.find((target) => percent >= target) };
  });
}

export function availabilityLines(costs: readonly FaultCost[]): string[] {
  const kinds = groups(costs).length;
  const title = `availability where each of these ${kinds} kinds of fault comes once in ${FAULT_EVERY_DAYS} days:`;
  const lines = availabilities(costs).map(
    ({ system, percent, meets }) =>
      `  ${system.padEnd(24)} ${percent.toFixed(5)} %  ${meets ? `≥ ${meets} %` : "below 99.9 %"}`,
  );
  return [title, ...lines];
}
