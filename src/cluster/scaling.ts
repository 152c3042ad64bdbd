// Whether a cluster should have one instance more or one less, by the load of those that run. Pure (ADR 79).
// Guarantees: between minimum and maximum; one change at a time, and a pause after each; an instance goes only where those that stay would have room to spare, so that no change calls for
// its opposite; what is unknown is no reason for anything. Must not: measure, start or stop anything.

export interface ScalingRules {
  readonly min: number;
  readonly max: number;
  /** Mean load above which one more is started. Load: of an instance's busiest process, 1 = a whole core. */
  readonly above: number;
  /** Mean load below which one is drained. */
  readonly below: number;
  /** How long it must have been above, below. Ms. */
  readonly upAfterMs: number;
  readonly downAfterMs: number;
  /** After the end of a change. Ms. */
  readonly cooldownMs: number;
}

/** Of {@link ScalingRules.above}: what those that stay may be loaded with at most, as far as can be told, when one goes. */
export const ROOM = 0.8;

export interface ScalingLook {
  readonly nowMs: number;
  /** Zones of instances that are there, and their loads; undefined = it could not be measured. */
  readonly running: ReadonlyMap<string, number | undefined>;
  /** Zones of the table whose instances are stopped. */
  readonly stopped: readonly string[];
  /** Something is on its way: storage nodes change, or an instance comes, goes or is away. */
  readonly isChanging: boolean;
}

export interface ScalingState {
  readonly aboveSinceMs?: number | undefined;
  readonly belowSinceMs?: number | undefined;
  /** The last look at which something was on its way. */
  readonly changedAtMs?: number | undefined;
}

export type ScalingDecision =
  | { readonly kind: "start" | "drain"; readonly zone: string; readonly why: string }
  | { readonly kind: "stay"; readonly why: string };

interface Decided {
  readonly state: ScalingState;
  readonly decision: ScalingDecision;
}

/** Names the field that is wrong; undefined = all is well. */
export function problemOf({ min, max, above, below }: ScalingRules): string | undefined {
  if (min < 1 || max < min) return `min is ${min} and max is ${max}: 1 <= min <= max`;
  if (!(below > 0 && above <= 1 && below < above * ROOM))
    return `below is ${below} and above is ${above}: 0 < below < ${ROOM} * above, above <= 1`;
  return undefined;
}

const shownLoad = (load: number): string => load.toFixed(2);

export function decideScaling(held: ScalingState, look: ScalingLook, rules: ScalingRules): Decided {
  const { nowMs, running, isChanging } = look;
  const stay = (why: string, state: ScalingState): Decided => ({ state, decision: { kind: "stay", why } });
  if (isChanging) return stay("something changes", { changedAtMs: nowMs });
  const loads = [...running.values()];
  const known = loads.filter((load) => load !== undefined);
  if (known.length < loads.length || loads.length === 0)
    return stay("not every instance tells its load", { changedAtMs: held.changedAtMs });
  const mean = known.reduce((sum, load) => sum + load, 0) / known.length;
  const state: ScalingState = {
    changedAtMs: held.changedAtMs,
    aboveSinceMs: mean > rules.above ? (held.aboveSinceMs ?? nowMs) : undefined,
    belowSinceMs: mean < rules.below ? (held.belowSinceMs ?? nowMs) : undefined,
  };
  const pausedMs = nowMs - (held.changedAtMs ?? Number.NEGATIVE_INFINITY);
  const load = `the mean load of ${known.length} instances is ${shownLoad(mean)}`;
  if (pausedMs < rules.cooldownMs) return stay(`${load}; a change ended ${Math.round(pausedMs / 1000)} s ago`, state);
  if (known.length < rules.min)
    return started(look, rules, { state, why: `${known.length} instances, min is ${rules.min}` });
  if (state.aboveSinceMs !== undefined && nowMs - state.aboveSinceMs >= rules.upAfterMs)
    return started(look, rules, { state, why: `${load}, above ${rules.above}` });
  if (state.belowSinceMs !== undefined && nowMs - state.belowSinceMs >= rules.downAfterMs)
    return drained(look, rules, { state, mean });
  return stay(load, state);
}

function started(
  { running, stopped, nowMs }: ScalingLook,
  { max }: ScalingRules,
  { state, why }: { readonly state: ScalingState; readonly why: string },
): Decided {
  const [zone] = stopped.toSorted(byNumber);
  if (running.size >= max) return { state, decision: { kind: "stay", why: `${why}; max is ${max}` } };
  if (zone === undefined)
    return { state, decision: { kind: "stay", why: `${why}; no instance of the table is stopped` } };
  return { state: { changedAtMs: nowMs }, decision: { kind: "start", zone, why } };
}

/** The one that came last. */
function drained(
  { running, nowMs }: ScalingLook,
  { min, above, below }: ScalingRules,
  { state, mean }: { readonly state: ScalingState; readonly mean: number },
): Decided {
  const count = running.size;
  const why = `the mean load of ${count} instances is ${shownLoad(mean)}, below ${below}`;
  if (count <= min) return { state, decision: { kind: "stay", why: `${why}; min is ${min}` } };
  const left = (mean * count) / (count - 1);
  if (left > above * ROOM)
    return { state, decision: { kind: "stay", why: `${why}; ${count - 1} would have ${shownLoad(left)} each` } };
  const zone = [...running.keys()].toSorted(byNumber).at(-1)!;
  return { state: { changedAtMs: nowMs }, decision: { kind: "drain", zone, why } };
}

/** z2 before z10. */
function byNumber(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : 1);
}
