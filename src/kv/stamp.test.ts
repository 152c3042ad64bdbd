// Stamping one write on what a replica holds.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { reached } from "../../test/unit/replication/arbitraries.ts";
import { type Clock, EMPTY_CLOCK } from "../wire/clock.ts";
import { covers, coversAny, includes } from "./clock.ts";
import { EMPTY_STATE, type KeyState, sameBytes } from "./key-state.ts";
import { MAX_SIBLINGS } from "./limits.ts";
import { mergeStates } from "./merge.ts";
import { stampWrite } from "./stamp.ts";

const ID = new Uint8Array(16).fill(255);
const DOT = { actor: 20481, counter: 7 };

function stamp(held: KeyState, clock: Clock | undefined, isSettled = (): boolean => false) {
  const write = { writeId: ID, value: ID, clock, restamped: false };
  const result = stampWrite(held, write, { dot: DOT, time: held.clock.time + 1, isSettled });
  if (result.kind !== "stamped") throw new Error(`refused beside ${result.siblingCount} siblings`);
  return result;
}

describe("stamping", () => {
  it("[KV-1] with a clock supersedes exactly what the clock names", () => {
    fc.assert(
      fc.property(reached, fc.nat(2), ({ states }, other) => {
        const held = states[0]!;
        const { clock } = states[other]!;
        const { state } = stamp(held, clock);
        for (const version of held.versions) {
          const isKept = state.versions.some((kept) => sameBytes(kept.writeId, version.writeId));
          expect(isKept).toBe(!coversAny(clock, version.dots));
        }
        expect(state.versions.at(-1)!.writeId).toEqual(ID);
        expect(includes(state.clock, held.clock) && includes(state.clock, clock)).toBe(true);
      }),
    );
  });

  it("[KV-6] without a clock supersedes all that is held", () => {
    fc.assert(
      fc.property(reached, ({ states: [held] }) => {
        const { state } = stamp(held!, undefined);
        expect(state.versions.map((version) => version.writeId)).toEqual([ID]);
      }),
    );
  });

  it("[KV-2] the answer covers the write and the writer's clock, and no sibling beside which the write stands", () => {
    fc.assert(
      fc.property(reached, fc.nat(2), ({ states }, other) => {
        const { clock } = states[other]!;
        const { state, answer } = stamp(states[0]!, clock);
        expect(covers(answer, DOT) && includes(answer, clock)).toBe(true);
        for (const version of state.versions)
          if (!sameBytes(version.writeId, ID)) expect(coversAny(answer, version.dots)).toBe(false);
      }),
    );
  });

  it("[KV-4] a 33rd version is refused; a write that supersedes one of the 32 is not", () => {
    let held = EMPTY_STATE;
    for (let n = 1; n <= MAX_SIBLINGS; n++) {
      const write = { writeId: new Uint8Array(16).fill(n), value: ID, clock: EMPTY_CLOCK, restamped: false };
      const result = stampWrite(held, write, { dot: { actor: 4097, counter: n }, time: n, isSettled: () => false });
      if (result.kind === "stamped") held = result.state;
    }
    expect(held.versions.length).toBe(MAX_SIBLINGS);
    expect(() => stamp(held, EMPTY_CLOCK)).toThrow("beside 32 siblings");
    const one: Clock = { vector: [], dots: [{ actor: 4097, counter: 5 }], time: 0 };
    expect(stamp(held, one).state.versions.length).toBe(MAX_SIBLINGS);
  });

  it("[KV-9] what is superseded and not settled is carried with the new dot; what is settled is not", () => {
    const first = stampWrite(
      EMPTY_STATE,
      { writeId: new Uint8Array(16).fill(1), value: ID, clock: undefined, restamped: false },
      { dot: { actor: 4097, counter: 1 }, time: 1, isSettled: () => false },
    );
    if (first.kind !== "stamped") throw new Error(first.kind);
    const { unsettled } = stamp(first.state, undefined).state;
    expect(unsettled).toEqual([
      { writeId: new Uint8Array(16).fill(1), dot: { actor: 4097, counter: 1 }, carrier: DOT },
    ]);
    expect(stamp(first.state, undefined, () => true).state.unsettled).toEqual([]);
  });

  it("[KV-8] what a stamp supersedes stays dead wherever the states meet", () => {
    fc.assert(
      fc.property(reached, ({ states: [a, b] }) => {
        const { state } = stamp(a!, undefined);
        const merged = mergeStates(state, b!);
        for (const version of a!.versions)
          expect(merged.versions.some((alive) => sameBytes(alive.writeId, version.writeId))).toBe(false);
        expect(merged.versions.some((alive) => sameBytes(alive.writeId, ID))).toBe(true);
      }),
    );
  });
});
