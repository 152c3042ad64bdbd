// Sets of tokens against a list of the tokens in them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { complementOf, holds, unionOf, without } from "./token-ranges.ts";

const edge = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 2 ** 32 - 12, max: 2 ** 32 - 1 }));
const ranges = fc.array(
  fc.tuple(edge, edge).map(([a, b]) => ({ fromHi: Math.min(a, b), toHi: Math.max(a, b) })),
  { maxLength: 4 },
);

describe("token ranges", () => {
  it("[RP-79] union, difference and complement hold what they should, ascending and apart", () => {
    fc.assert(
      fc.property(ranges, ranges, edge, (a, b, hi) => {
        expect(holds(unionOf(a, b), hi)).toBe(holds(a, hi) || holds(b, hi));
        expect(holds(without(a, b), hi)).toBe(holds(a, hi) && !holds(b, hi));
        expect(holds(complementOf(a), hi)).toBe(!holds(a, hi));
        const joined = unionOf(a, b);
        for (const [i, range] of joined.entries())
          expect(range.fromHi).toBeGreaterThan((joined[i - 1]?.toHi ?? -2) + 1);
      }),
      { numRuns: 1000 },
    );
  });
});
