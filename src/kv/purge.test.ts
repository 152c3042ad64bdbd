// Which states may go: the walk over the bytes against the decoded state.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EMPTY_STATE, encodeState, type KeyState } from "./key-state.ts";
import { EMPTY_BYTES, isPurgeable } from "./purge.ts";

const time = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constant(2 ** 52));
const writeId = fc.uint8Array({ minLength: 16, maxLength: 16 });
const dot = fc.record({ actor: fc.integer({ min: 1, max: 2 ** 32 }), counter: fc.integer({ min: 1, max: 2 ** 40 }) });
const version = fc.record({
  writeId,
  dots: fc.array(dot, { minLength: 1, maxLength: 3 }),
  time,
  restamped: fc.boolean(),
  value: fc.option(fc.uint8Array({ maxLength: 5 }), { nil: undefined, freq: 4 }),
});
const state: fc.Arbitrary<KeyState> = fc.record({
  clock: fc.record({ vector: fc.array(dot, { maxLength: 4 }), dots: fc.array(dot, { maxLength: 3 }), time }),
  unsettled: fc.array(fc.record({ writeId, dot, carrier: dot }), { maxLength: 3 }),
  versions: fc.array(version, { maxLength: 3 }),
});

describe("what may go", () => {
  it("[RP-75] a state without a value and without a time above the horizon; of anything else not", () => {
    fc.assert(
      fc.property(state, time, (held, horizon) => {
        const times = [held.clock.time, ...held.versions.map((each) => each.time)];
        const expected = held.versions.every(({ value }) => !value) && times.every((each) => each <= horizon);
        expect(isPurgeable(encodeState(held), horizon)).toBe(expected);
      }),
      { numRuns: 3000 },
    );
  });

  it("bytes that are cut, or have more behind them, are not taken for a state", () => {
    fc.assert(
      fc.property(state, fc.nat(), (held, cut) => {
        const bytes = encodeState(held);
        expect(isPurgeable(bytes.subarray(0, cut % bytes.length), 2 ** 53)).toBe(false);
        expect(isPurgeable(Uint8Array.of(...bytes, 0), 2 ** 53)).toBe(false);
      }),
    );
  });

  it("the empty state may always go", () => {
    expect(EMPTY_BYTES).toEqual(encodeState(EMPTY_STATE));
    for (const horizon of [0, 1, 2 ** 52]) expect(isPurgeable(EMPTY_BYTES, horizon)).toBe(true);
  });
});
