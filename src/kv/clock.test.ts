// Laws of contexts: what is covered, and how they join.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clock, smallDot, uniqueDots } from "../../test/unit/replication/arbitraries.ts";
import { type Clock, type Dot, EMPTY_CLOCK } from "../wire/clock.ts";
import { addDots, advance, covers, coversAny, includes, joinClocks, sameClock, unionDots, vectorAt } from "./clock.ts";

/** The slow twin: a context as the set of all dots up to counter 8 that it covers. */
function covered(context: Clock): string[] {
  const names: string[] = [];
  for (const actor of [4097, 8193, 12289])
    for (let counter = 1; counter <= 8; counter++)
      if (covers(context, { actor, counter })) names.push(`${actor}:${counter}`);
  return names;
}

const small = uniqueDots(smallDot, 14).map((dots) => addDots(EMPTY_CLOCK, dots));

describe("joining contexts", () => {
  it("[KV-11] is commutative", () => {
    fc.assert(fc.property(clock, clock, (a, b) => void expect(joinClocks(a, b)).toEqual(joinClocks(b, a))));
  });

  it("[KV-11] is associative", () => {
    fc.assert(
      fc.property(
        clock,
        clock,
        clock,
        (a, b, c) => void expect(joinClocks(joinClocks(a, b), c)).toEqual(joinClocks(a, joinClocks(b, c))),
      ),
    );
  });

  it("[KV-11] is idempotent, and the empty context changes nothing", () => {
    fc.assert(
      fc.property(clock, (a) => {
        expect(joinClocks(a, a)).toEqual(a);
        expect(joinClocks(a, EMPTY_CLOCK)).toEqual(a);
      }),
    );
  });

  it("[KV-11] covers exactly what the parts covered: dots are folded over contiguous runs only", () => {
    fc.assert(
      fc.property(small, small, (a, b) => {
        const expected = [...new Set([...covered(a), ...covered(b)])].sort();
        expect(covered(joinClocks(a, b)).sort()).toEqual(expected);
      }),
    );
  });

  it("[KV-11] leaves a gap open and closes it with the missing dot", () => {
    const dot = (counter: number): Dot => ({ actor: 4097, counter });
    const gap = addDots(EMPTY_CLOCK, [dot(1), dot(3)]);
    expect(gap).toEqual({ vector: [dot(1)], dots: [dot(3)], time: 0 });
    expect(covers(gap, dot(2))).toBe(false);
    expect(addDots(gap, [dot(2)])).toEqual({ vector: [dot(3)], dots: [], time: 0 });
  });

  it("[KV-11] does not depend on the order in which dots come", () => {
    fc.assert(
      fc.property(uniqueDots(smallDot, 12), (dots) => {
        const oneByOne = dots.reduce((context, dot) => addDots(context, [dot]), EMPTY_CLOCK);
        expect(oneByOne).toEqual(addDots(EMPTY_CLOCK, [...dots].reverse()));
      }),
    );
  });
});

describe("comparing contexts", () => {
  it("includes = every dot of the inner one is covered by the outer one", () => {
    fc.assert(
      fc.property(small, small, (a, b) => {
        const all = covered(b).every((name) => covered(a).includes(name));
        expect(includes(a, b)).toBe(all);
        expect(includes(joinClocks(a, b), b)).toBe(true);
      }),
    );
  });

  it("sameClock is equality, coversAny is some", () => {
    fc.assert(
      fc.property(clock, clock, fc.array(smallDot), (a, b, dots) => {
        expect(sameClock(a, a)).toBe(true);
        expect(sameClock(a, b)).toBe(JSON.stringify(a) === JSON.stringify(b));
        expect(coversAny(a, dots)).toBe(dots.some((dot) => covers(a, dot)));
      }),
    );
  });

  it("advance jumps the stamper's own entry; unionDots has each dot once", () => {
    const context = advance(addDots(EMPTY_CLOCK, [{ actor: 4097, counter: 3 }]), { actor: 4097, counter: 9 }, 5);
    expect(context).toEqual({ vector: [{ actor: 4097, counter: 9 }], dots: [], time: 5 });
    expect(vectorAt(context, 8193)).toBe(0);
    const dots = [
      { actor: 1, counter: 1 },
      { actor: 1, counter: 4 },
    ];
    expect(
      unionDots(dots, [
        { actor: 1, counter: 4 },
        { actor: 2, counter: 1 },
      ]),
    ).toEqual([...dots, { actor: 2, counter: 1 }]);
  });
});
