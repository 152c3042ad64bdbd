// Moves the horizon before which deleted states may go, one step at a time (docs/adr/0027, spec RP-72 to RP-76):
//   before a full repair every node promises a floor under its stamps → the repair ends whole → what was under way dies → hints that
//   were kept by then are drained, and copies of them die → every node is told the horizon, and takes what is before it for absent → rows may be dropped.
// Guarantees: resumable after a crash at any step; a horizon is the least of the floors that all nodes promised, at least a grace period
// before, and a whole repair began after these; no clocks are compared. Must not: own a timer.
import { FLOORS_PER_GRACE } from "./limits.ts";

/** No node stamps at this hybrid time or before it any more, since `atMs`. */
export interface StampFloor {
  readonly time: number;
  readonly atMs: number;
}

export interface PurgeRound {
  /** The full repair that it follows. */
  readonly repairId: number;
  readonly horizon: number;
  /** `settling`, `fading`: what is under way dies. `draining`: hints go. `telling`, `dropping`: nodes are told. */
  readonly step: "settling" | "draining" | "fading" | "telling" | "dropping";
  /** When settling, or fading, is over. */
  readonly notBeforeMs: number;
  /** Node → its newest hint when settling was over. */
  readonly marks: Readonly<Record<string, number>>;
  /** Why the last step did not get on; empty = it did. */
  readonly waitingFor: string;
}

export interface PurgeState {
  /** Oldest first. Of a node whose store is new the last one holds from its first stamp on. */
  readonly floors: readonly StampFloor[];
  /** Every node has it or is being told. */
  readonly horizon: number;
  /** Every node has this one: its rows may be dropped. */
  readonly drop: number;
  readonly round?: PurgeRound | undefined;
}

export const NOTHING_PURGED: PurgeState = { floors: [], horizon: 0, drop: 0 };

/** Ids grow with each hint that a node keeps. */
export interface HintSpan {
  /** Null = none is kept. */
  readonly first: number | null;
  readonly last: number;
}

export interface PurgeEnvironment {
  readonly graceMs: number;
  /** After which nothing that was under way is taken any more. */
  readonly settleMs: number;
  now(): number;
  /** All nodes that may ever hold a row. */
  nodes(): readonly string[];
  load(): PurgeState;
  /** One commit; `change` runs within it. */
  update(change: (state: PurgeState) => PurgeState): Promise<void>;
  /** How often the node's store was made anew, as the owner of the registry knows it. */
  incarnationOf(nodeId: string): number;
  /** Resolves when the node has durably promised a floor under its stamps. */
  promiseFloor(nodeId: string): Promise<{ readonly incarnation: number; readonly floor: number }>;
  hints(nodeId: string): Promise<HintSpan>;
  /** Resolves when the node has durably recorded them. */
  recordHorizon(nodeId: string, marks: { readonly horizon: number; readonly drop: number }): Promise<void>;
}

/** How often a step that waits is tried again, ms. */
const POLL_MS = 1000;

async function ofAll<T>(environment: PurgeEnvironment, ask: (nodeId: string) => Promise<T>): Promise<Map<string, T>> {
  const answers = new Map<string, T>();
  const away: string[] = [];
  await Promise.all(
    environment.nodes().map((id) =>
      ask(id).then(
        (answer) => answers.set(id, answer),
        (error: unknown) => away.push(`${id}: ${error instanceof Error ? error.message : String(error)}`),
      ),
    ),
  );
  if (away.length > 0) throw new Error(away.sort().join("; "));
  return answers;
}

/** Before a full repair begins anywhere. Rejects when a node does not answer: the repair must wait. */
export async function promiseFloors(environment: PurgeEnvironment): Promise<void> {
  const { graceMs } = environment;
  const latest = environment.load().floors.at(-1);
  if (latest && environment.now() - latest.atMs < graceMs / FLOORS_PER_GRACE) return;
  const promised = await ofAll(environment, (id) => environment.promiseFloor(id));
  await environment.update((state) => {
    let time = Number.POSITIVE_INFINITY;
    for (const [id, { incarnation, floor }] of promised) {
      // A store that was made since knows nothing of the promise.
      if (incarnation !== environment.incarnationOf(id)) throw new Error(`${id}: its store is new`);
      time = Math.min(time, floor);
    }
    const isNewer = time > (state.floors.at(-1)?.time ?? 0);
    return isNewer ? { ...state, floors: [...state.floors, { time, atMs: environment.now() }] } : state;
  });
}

export interface RepairEnd {
  readonly repairId: number;
  readonly nowMs: number;
  readonly graceMs: number;
  readonly settleMs: number;
}

/** A full repair ended: every node compared everything, and no row was passed over. Begins a round where a floor is old enough. */
export function repairEnded(state: PurgeState, of: RepairEnd): PurgeState {
  const { repairId, nowMs, graceMs, settleMs } = of;
  const floor = state.floors.filter(({ atMs }) => atMs + graceMs <= nowMs).at(-1);
  if (!floor || floor.time <= state.horizon || state.round) return state;
  const notBeforeMs = nowMs + settleMs;
  const round: PurgeRound = {
    ...{ repairId, horizon: floor.time, step: "settling", notBeforeMs, marks: {}, waitingFor: "" },
  };
  return { ...state, round };
}

/** One step of the round. Returns when the next is due, in ms; undefined = there is no round. */
export async function stepPurge(environment: PurgeEnvironment): Promise<number | undefined> {
  const { round } = environment.load();
  if (!round) return undefined;
  try {
    return await step(environment, round);
  } catch (error) {
    const waitingFor = error instanceof Error ? error.message : String(error);
    await environment.update((state) => (state.round ? { ...state, round: { ...state.round, waitingFor } } : state));
    return POLL_MS;
  }
}

async function step(environment: PurgeEnvironment, round: PurgeRound): Promise<number> {
  const { horizon, marks } = round;
  const goOn = (change: Partial<PurgeRound>, more: Partial<PurgeState> = {}): Promise<void> =>
    environment.update((state) => ({ ...state, ...more, round: { ...round, waitingFor: "", ...change } }));
  switch (round.step) {
    case "settling": {
      const restMs = round.notBeforeMs - environment.now();
      if (restMs > 0) return restMs;
      const spans = await ofAll(environment, (id) => environment.hints(id));
      await goOn({ step: "draining", marks: Object.fromEntries([...spans].map(([id, { last }]) => [id, last])) });
      return 0;
    }
    case "draining": {
      const spans = await ofAll(environment, (id) => environment.hints(id));
      const keepers = [...spans].filter(([id, { first }]) => first !== null && first <= (marks[id] ?? first));
      if (keepers.length > 0) throw new Error(`${keepers.map(([id]) => id).join(", ")}: hints are not delivered yet`);
      // A copy of a hint that was delivered may still be under way.
      await goOn({ step: "fading", notBeforeMs: environment.now() + environment.settleMs });
      return 0;
    }
    case "fading": {
      const restMs = round.notBeforeMs - environment.now();
      if (restMs > 0) return restMs;
      // Known before anyone is told, so that a store made anew meanwhile starts with it.
      await goOn({ step: "telling" }, { horizon });
      return 0;
    }
    case "telling": {
      const { drop } = environment.load();
      await ofAll(environment, (id) => environment.recordHorizon(id, { horizon, drop }));
      await goOn({ step: "dropping" }, { drop: horizon });
      return 0;
    }
    case "dropping": {
      await ofAll(environment, (id) => environment.recordHorizon(id, { horizon, drop: horizon }));
      await environment.update((state) => ({
        ...state,
        floors: state.floors.filter(({ time }, i) => time > horizon || i === state.floors.length - 1),
        round: undefined,
      }));
      return 0;
    }
    default:
      throw new Error(`unknown step ${round.step satisfies never}`);
  }
}
