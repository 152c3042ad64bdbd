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
  // The later time: an acknowledged retry must not fall behind what it came after when its first stamp turns up (spec KV-25).
  const later = a.time >= b.time ? a : b;
  return { ...later, dots: unionDots(a.dots, b.dots), restamped: a.restamped || b.restamped };
}

/** All entries of both, one for each write: of two the one with the later carrier. */
export function mergeUnsettled(a: readonly Unsettled[], b: readonly Unsettled[]): readonly Unsettled[] {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const merged = [...a];
  for (const entry of b) {
    const at = merged.findIndex((held) => sameBytes(held.writeId, entry.writeId));
    if (at < 0) merged.push(entry);
    else if (isLater(entry.carrier, merged[at]!.carrier)) merged[at] = entry;
  }
  return bounded(merged);
}

/** The youngest {@link MAX_UNSETTLED}: counters grow, and a hot key is stamped by one replica (spec KV-20). */
function bounded(entries: Unsettled[]): readonly Unsettled[] {
  const byId = (x: Unsettled, y: Unsettled): number => compareBytes(x.writeId, y.writeId);
  const byAge = (x: Unsettled, y: Unsettled): number =>
    y.dot.counter - x.dot.counter || y.dot.actor - x.dot.actor || byId(x, y);
  if (entries.length === MAX_UNSETTLED + 1) {
    // Every write of a hot key comes by here.
    let oldest = 0;
    for (let i = 1; i < entries.length; i++) if (byAge(entries[i]!, entries[oldest]!) > 0) oldest = i;
    entries.splice(oldest, 1);
  } else if (entries.length > MAX_UNSETTLED) {
    entries.sort(byAge).length = MAX_UNSETTLED;
  }
  return entries.sort(byId);
}

/** The entries of `list` for writes that `known` has none for. */
export function entriesBeyond(known: readonly Unsettled[], list: readonly Unsettled[]): readonly Unsettled[] {
  if (known.length === 0 || list.length === 0) return list;
  // Both are sorted by write id. Full lists on both sides are what a hot key has.
  const beyond: Unsettled[] = [];
  let at = 0;
  for (const entry of list) {
    let order = -1;
    while (at < known.length) {
      order = compareBytes(known[at]!.writeId, entry.writeId);
      if (order >= 0) break;
      at++;
    }
    if (order !== 0) beyond.push(entry);
  }
  return beyond;
}

function isLater(a: Dot, b: Dot): boolean {
  return a.actor > b.actor || (a.actor === b.actor && a.counter > b.counter);
}

/**
 * As {@link mergeUnsettled}, without the entries that one side has dropped: it covers an entry's carrier and no longer has the entry,
 * so the carrier was settled there (spec KV-24). Without this each side would give the other back what it has done away with.
 */
function joinUnsettled(a: KeyState, b: KeyState): readonly Unsettled[] {
  if (a.unsettled.length === 0 && b.unsettled.length === 0) return a.unsettled;
  const kept = (mine: KeyState, other: KeyState): readonly Unsettled[] =>
    mine.unsettled.filter((entry) => {
      const same = other.unsettled.find((held) => sameBytes(held.writeId, entry.writeId));
      if (!same) return !covers(other.clock, entry.carrier);
      // The other side has moved the entry on to a carrier that this side does not know.
      return (
        sameDot(same.carrier, entry.carrier) || !covers(other.clock, entry.carrier) || covers(mine.clock, same.carrier)
      );
    });
  return mergeUnsettled(kept(a, b), kept(b, a));
}

/** `local` is the side that answers `isSuperseded`; without the question the order does not matter. */
export function mergeStates(local: KeyState, incoming: KeyState, isSuperseded: IsSuperseded = NEVER): KeyState {
  let clock = joinClocks(local.clock, incoming.clock);
  const unsettled = joinUnsettled(local, incoming);
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
  return { clock, unsettled, versions: withoutSuperseded(versions, local.unsettled, incoming.unsettled) };
}

/** An unsettled entry says that its write was superseded under one dot; the write's other dots may still be alive elsewhere (KV-8). */
function withoutSuperseded(
  versions: readonly Version[],
  ...lists: readonly (readonly Unsettled[])[]
): readonly Version[] {
  if (lists.every((list) => list.length === 0)) return versions;
  return versions.filter((version) => !lists.some((list) => hasEntry(list, version.writeId)));
}

function hasEntry(entries: readonly Unsettled[], writeId: Uint8Array): boolean {
  return entries.some((entry) => sameBytes(entry.writeId, writeId));
}

/**
 * The usual case of a shipped write, decided without building anything: true only when merging gives exactly `incoming`
 * (merge.test.ts holds it to that). The caller still asks `isSuperseded` of the one new version.
 */
export function replacesAll(local: KeyState, incoming: KeyState): boolean {
  const [version] = incoming.versions;
  if (incoming.versions.length !== 1 || version === undefined) return false;
  if (incoming.clock.time < local.clock.time || !includes(incoming.clock, local.clock)) return false;
  if (findVersion(local.versions, version.writeId) || hasEntry(local.unsettled, version.writeId)) return false;
  // Entries of the local side are gone or moved on there: `incoming` covers their carriers. New ones are new where their carrier is.
  for (const entry of incoming.unsettled) if (covers(local.clock, entry.carrier)) return false;
  for (const dot of version.dots) if (covers(local.clock, dot)) return false;
  return true;
}
