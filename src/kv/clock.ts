// Causality over dots: what a context covers, and how two contexts join.
// Guarantees: join is commutative, associative, idempotent; explicit dots are folded into the vector only over contiguous runs,
// because folding over a gap would claim writes that nobody has seen (DESIGN 4).
// Must not: read clocks or randomness. Formats are in wire/clock.ts.
import { byActorThenCounter, type Clock, type Dot } from "../wire/clock.ts";

export function sameDot(a: Dot, b: Dot): boolean {
  return a.actor === b.actor && a.counter === b.counter;
}

export function vectorAt(clock: Clock, actor: number): number {
  for (const entry of clock.vector) if (entry.actor === actor) return entry.counter;
  return 0;
}

/** True when the write named by `dot` is in the past described by `clock`. */
export function covers(clock: Clock, dot: Dot): boolean {
  for (const entry of clock.vector) if (entry.actor === dot.actor && entry.counter >= dot.counter) return true;
  for (const held of clock.dots) if (sameDot(held, dot)) return true;
  return false;
}

export function coversAny(clock: Clock, dots: readonly Dot[]): boolean {
  for (const dot of dots) if (covers(clock, dot)) return true;
  return false;
}

/** Union of sorted dot lists, without repeats. */
export function unionDots(a: readonly Dot[], b: readonly Dot[]): readonly Dot[] {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const merged = [...a, ...b].sort(byActorThenCounter);
  return merged.filter((dot, i) => i === 0 || !sameDot(dot, merged[i - 1]!));
}

/** Drops dots that the vector covers and folds contiguous ones into it. `vector` and `dots` are sorted. */
function fold(vector: Dot[], dots: readonly Dot[]): { vector: Dot[]; dots: Dot[] } {
  const rest: Dot[] = [];
  for (const dot of dots) {
    const at = vector.findIndex((entry) => entry.actor === dot.actor);
    const reached = at < 0 ? 0 : vector[at]!.counter;
    if (dot.counter <= reached) continue;
    if (dot.counter !== reached + 1) {
      rest.push(dot);
    } else if (at < 0) {
      vector.push(dot);
      vector.sort(byActorThenCounter);
    } else {
      vector[at] = dot;
    }
  }
  return { vector, dots: rest };
}

function joinVectors(a: readonly Dot[], b: readonly Dot[]): Dot[] {
  const joined: Dot[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    if (!right || (left && left.actor < right.actor)) {
      joined.push(left!);
      i++;
    } else if (!left || right.actor < left.actor) {
      joined.push(right);
      j++;
    } else {
      joined.push(left.counter >= right.counter ? left : right);
      i++;
      j++;
    }
  }
  return joined;
}

export function joinClocks(a: Clock, b: Clock): Clock {
  const time = Math.max(a.time, b.time);
  const vector = joinVectors(a.vector, b.vector);
  if (a.dots.length === 0 && b.dots.length === 0) return { vector, dots: [], time };
  return { ...fold(vector, unionDots(a.dots, b.dots)), time };
}

/** `clock` plus single dots. */
export function addDots(clock: Clock, dots: readonly Dot[]): Clock {
  return joinClocks(clock, { vector: [], dots: [...dots].sort(byActorThenCounter), time: 0 });
}

/** The context of the replica that stamps: it has seen every dot of its own for this key, so its entry may jump (no gap is claimed). */
export function advance(clock: Clock, dot: Dot, time: number): Clock {
  return joinClocks(clock, { vector: [dot], dots: [], time });
}

export function sameClock(a: Clock, b: Clock): boolean {
  const same = (x: readonly Dot[], y: readonly Dot[]) =>
    x.length === y.length && x.every((dot, i) => sameDot(dot, y[i]!));
  return a.time === b.time && same(a.vector, b.vector) && same(a.dots, b.dots);
}

/** True when everything in `inner` is covered by `outer`. */
export function includes(outer: Clock, inner: Clock): boolean {
  return (
    inner.vector.every((entry) => vectorAt(outer, entry.actor) >= entry.counter) &&
    inner.dots.every((dot) => covers(outer, dot))
  );
}
