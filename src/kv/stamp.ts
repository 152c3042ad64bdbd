// Applying one write to the state that the stamping replica holds.
// Guarantees: the new dot is covered by nothing before it; exactly what the writer's context names is superseded; without a
// context, all that is held is (DESIGN 4). Must not: choose the dot or the time; the replica does.
import type { Clock, Dot } from "../wire/clock.ts";
import { addDots, advance, coversAny, joinClocks } from "./clock.ts";
import type { KeyState, Unsettled, Version } from "./key-state.ts";
import { MAX_SIBLINGS } from "./limits.ts";
import { mergeUnsettled } from "./merge.ts";

export interface Write {
  readonly writeId: Uint8Array;
  readonly value: Uint8Array | undefined;
  /** The writer's context; undefined = it supersedes whatever is held here. */
  readonly clock: Clock | undefined;
  /** True when this write may have been stamped elsewhere before. */
  readonly restamped: boolean;
}

export interface Stamp {
  readonly dot: Dot;
  readonly time: number;
  /** Is the stamp known to have reached a majority? Then it need not be carried as unsettled. */
  readonly isSettled: (dot: Dot) => boolean;
}

export type StampResult =
  | { readonly kind: "stamped"; readonly state: KeyState; readonly answer: Clock }
  | { readonly kind: "tooManySiblings"; readonly siblingCount: number };

/** The clock a write is answered with: all that its state covers when it stands alone, else only itself (and the writer's context). */
export function answerClock(state: KeyState, version: Version): Clock {
  if (state.versions.length === 1) return state.clock;
  return addDots({ vector: [], dots: [], time: version.time }, version.dots);
}

export function stampWrite(held: KeyState, write: Write, stamp: Stamp): StampResult {
  const survivors: Version[] = [];
  const superseded: Version[] = [];
  for (const version of held.versions) {
    if (write.clock && !coversAny(write.clock, version.dots)) survivors.push(version);
    else superseded.push(version);
  }
  if (survivors.length >= MAX_SIBLINGS) return { kind: "tooManySiblings", siblingCount: survivors.length };
  const version: Version = {
    writeId: write.writeId,
    dots: [stamp.dot],
    time: stamp.time,
    restamped: write.restamped,
    value: write.value,
  };
  const seen = write.clock ? joinClocks(held.clock, write.clock) : held.clock;
  const state: KeyState = {
    clock: advance(seen, stamp.dot, stamp.time),
    unsettled: carry(held.unsettled, superseded, stamp),
    versions: [...survivors, version],
  };
  const own = answerClock(state, version);
  return { kind: "stamped", state, answer: write.clock && survivors.length > 0 ? joinClocks(own, write.clock) : own };
}

/** What this stamp's state must carry: what was carried by a stamp not known settled, and what it supersedes unsettled. */
function carry(held: readonly Unsettled[], superseded: readonly Version[], stamp: Stamp): readonly Unsettled[] {
  const kept: Unsettled[] = [];
  for (const entry of held) if (!stamp.isSettled(entry.carrier)) kept.push({ ...entry, carrier: stamp.dot });
  let added: Unsettled[] = [];
  for (const version of superseded) {
    if (version.dots.some(stamp.isSettled)) continue;
    added = [...mergeUnsettled(added, [{ writeId: version.writeId, dot: version.dots[0]!, carrier: stamp.dot }])];
  }
  return mergeUnsettled(kept, added);
}
