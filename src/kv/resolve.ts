// What a reader sees of a key's state, by the tenant's conflict policy.
// Guarantees: a function of the set of versions alone, so every replica and every reader resolves alike. A newest version that
// is a delete hides the key under last-write-wins; under `siblings` a live sibling of a delete stays readable.
// Must not: change the state; the next write that carries the returned clock does.
import type { ConflictPolicy } from "../access/types.ts";
import type { Clock } from "../wire/clock.ts";
import type { Sibling } from "../wire/session.ts";
import type { KeyState, Version } from "./key-state.ts";
import { rawMembers } from "./raw-object.ts";

export type Resolved =
  | {
      readonly kind: "value";
      readonly clock: Clock;
      readonly value: Uint8Array;
      readonly siblings: readonly Sibling[] | undefined;
    }
  | { readonly kind: "notFound"; readonly clock: Clock };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The context that supersedes this version and no other. */
function clockOf(version: Version): Clock {
  return { vector: [], dots: version.dots, time: version.time };
}

export function resolveState(state: KeyState, policy: ConflictPolicy): Resolved {
  const { clock, versions } = state;
  const live = versions.filter((version) => version.value !== undefined);
  const newest = versions.at(-1);
  if (!newest || live.length === 0) return { kind: "notFound", clock };
  if (versions.length === 1) return { kind: "value", clock, value: newest.value!, siblings: undefined };
  switch (policy) {
    case "lastWriteWins":
      return newest.value
        ? { kind: "value", clock, value: newest.value, siblings: undefined }
        : { kind: "notFound", clock };
    case "jsonMerge":
      return { kind: "value", clock, value: mergeValues(live.map((version) => version.value!)), siblings: undefined };
    case "siblings": {
      const siblings = versions.map((version) => ({ clock: clockOf(version), value: version.value }));
      return { kind: "value", clock, value: live.at(-1)!.value!, siblings };
    }
    default:
      throw new Error(`unknown conflict policy ${policy satisfies never}`);
  }
}

/** Oldest first. Objects are merged member by member, to a depth of {@link MAX_MERGE_DEPTH}; anything else: the newer wins. Raw member texts are kept. */
export function mergeValues(oldestFirst: readonly Uint8Array[]): Uint8Array {
  if (oldestFirst.length === 1) return oldestFirst[0]!;
  const texts = oldestFirst.map((value) => decoder.decode(value));
  return encoder.encode(texts.reduce((older, newer) => mergeTexts(older, newer)));
}

/** Each level scans its text anew: the depth bounds the work, and the stack. Below it the newer wins whole. */
const MAX_MERGE_DEPTH = 16;

function mergeTexts(older: string, newer: string, depth = 0): string {
  if (depth >= MAX_MERGE_DEPTH) return newer;
  const base = rawMembers(older);
  const over = rawMembers(newer);
  if (!base || !over) return newer;
  for (const [name, text] of over) {
    const held = base.get(name);
    base.set(name, held === undefined ? text : mergeTexts(held, text, depth + 1));
  }
  return `{${[...base].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`;
}
