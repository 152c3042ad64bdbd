// Joining two states of one key.
// Guarantees: commutative and idempotent; associative as long as no write has two stamps that never met, which is what the
// `isSuperseded` question is for: a replica that remembers a write which is no longer alive there says so (spec KV-7).
// A version lives only if every one of its stamps lives: superseding one dot supersedes the write.
import type { Dot } from "../wire/clock.ts";
import { addDots, covers, includes, joinClocks, sameDot, unionDots } from "./clock.ts";
import { byTimeThenId, compareBytes, type KeyState, sameBytes, type Unsettled, type Version } from "./key-state.ts";
import { MAX_UNSETTLED } from "./limits.ts";

/** Asked of a version that only the other side holds: does this side remember the write, and know that it is gone? */
export type IsSuperseded = (version: Version) => boolean;
const NEVER: IsSuperseded = () => false;

export function findVersion(versions: readonly Version[], writeId: Uint8Array): Version | undefined {
  for (const version of versions) if (sameBytes(version.writeId, writeId)) return version;
  return undefined;
}

function holds(version: Version | undefined, dot: Dot): boolean {
  return version !== undefined && version.dots.some((held) => sameDot(held, dot));
}

/** A dot is dead for a side that covers it without holding it alive. */
function isDeadIn(state: KeyState, held: Version | undefined, dot: Dot): boolean {
  return covers(state.clock, dot) && !holds(held, dot);
}

function join(a: Version, b: Version): Version {
  const [first] = a.time <= b.time ? [a, b] : [b, a];
  return { ...first!, dots: unionDots(a.dots, b.dots), restamped: a.restamped || b.restamped };
}

export function mergeUnsettled(a: readonly Unsettled[], b: readonly Unsettled[]): readonly Unsettled[] {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const merged = [...a];
  for (const entry of b) {
    const at = merged.findIndex((held) => sameBytes(held.writeId, entry.writeId));
    if (at < 0) merged.push(entry);
    else if (later(entry.carrier, merged[at]!.carrier)) merged[at] = entry;
  }
  merged.sort((x, y) => compareBytes(x.writeId, y.writeId));
  return merged.length <= MAX_UNSETTLED ? merged : merged.slice(0, MAX_UNSETTLED);
}

function later(a: Dot, b: Dot): boolean {
  return a.actor > b.actor || (a.actor === b.actor && a.counter > b.counter);
}

/** `local` is the side that answers `isSuperseded`; without the question the order does not matter. */
export function mergeStates(local: KeyState, incoming: KeyState, isSuperseded: IsSuperseded = NEVER): KeyState {
  let clock = joinClocks(local.clock, incoming.clock);
  const unsettled = mergeUnsettled(local.unsettled, incoming.unsettled);
  const versions: Version[] = [];
  for (const mine of local.versions) {
    const theirs = findVersion(incoming.versions, mine.writeId);
    const version = theirs ? join(mine, theirs) : mine;
    if (!version.dots.some((dot) => isDeadIn(local, mine, dot) || isDeadIn(incoming, theirs, dot)))
      versions.push(version);
  }
  for (const theirs of incoming.versions) {
    if (findVersion(local.versions, theirs.writeId)) continue;
    if (theirs.dots.some((dot) => covers(local.clock, dot))) {
      clock = addDots(clock, theirs.dots);
    } else if (isSuperseded(theirs)) {
      clock = addDots(clock, theirs.dots);
    } else {
      versions.push(theirs);
    }
  }
  versions.sort(byTimeThenId);
  return { clock, unsettled, versions: unsettled.length === 0 ? versions : withoutSuperseded(versions, unsettled) };
}

/** An unsettled entry says that its write was superseded under one dot; the write's other dots may still be alive elsewhere (KV-8). */
function withoutSuperseded(versions: readonly Version[], unsettled: readonly Unsettled[]): readonly Version[] {
  return versions.filter((version) => !unsettled.some((entry) => sameBytes(entry.writeId, version.writeId)));
}

/**
 * The usual case of a shipped write, decided without building anything: true only when merging gives exactly `incoming`
 * (merge.test.ts holds it to that). The caller still asks `isSuperseded` of the one new version.
 */
export function replacesAll(local: KeyState, incoming: KeyState): boolean {
  const [version] = incoming.versions;
  if (incoming.versions.length !== 1 || version === undefined || local.unsettled.length > 0) return false;
  if (incoming.clock.time < local.clock.time || !includes(incoming.clock, local.clock)) return false;
  if (findVersion(local.versions, version.writeId)) return false;
  for (const dot of version.dots) if (covers(local.clock, dot)) return false;
  return true;
}
