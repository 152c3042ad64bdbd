// Laws of merging, on states that three replicas reach by stamping and shipping.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Reached, reached } from "../../test/unit/replication/arbitraries.ts";
import { covers, includes } from "./clock.ts";
import { decodeState, EMPTY_STATE, encodeState, type KeyState, sameBytes, type Unsettled } from "./key-state.ts";
import { MAX_UNSETTLED } from "./limits.ts";
import { entriesBeyond, mergeStates, mergeUnsettled, replacesAll } from "./merge.ts";
import { stampWrite } from "./stamp.ts";

const RUNS = { numRuns: 400 };
const bytes = (state: KeyState): string => Buffer.from(encodeState(state)).toString("hex");
const withoutUnsettled = (state: KeyState): string => bytes({ ...state, unsettled: [] });
const entryOf = (state: KeyState, writeId: Uint8Array): Unsettled | undefined =>
  state.unsettled.find((entry) => sameBytes(entry.writeId, writeId));

/** One of the states had settled the entry under one of its carriers: whether it is still carried may be either (KV-24). */
function wasSettled({ writeId }: Unsettled, states: readonly KeyState[]): boolean {
  const carriers = states.flatMap((state) => entryOf(state, writeId)?.carrier ?? []);
  return states.some((state) => !entryOf(state, writeId) && carriers.some((carrier) => covers(state.clock, carrier)));
}

const id = (n: number): Uint8Array => new Uint8Array(16).fill(n);

describe("merging states", () => {
  it("[KV-10] [RP-28] is commutative, associative and idempotent while no write has two stamps", () => {
    fc.assert(
      fc.property(reached, ({ states: [a, b, c] }) => {
        expect(bytes(mergeStates(a!, b!))).toBe(bytes(mergeStates(b!, a!)));
        const [left, right] = [mergeStates(mergeStates(a!, b!), c!), mergeStates(a!, mergeStates(b!, c!))];
        expect(withoutUnsettled(left)).toBe(withoutUnsettled(right));
        for (const [one, other] of [[left, right] as const, [right, left] as const])
          for (const entry of one.unsettled)
            expect(entryOf(other, entry.writeId) !== undefined || wasSettled(entry, [a!, b!, c!])).toBe(true);
        // Where they carry otherwise, they carry the same as soon as they meet.
        expect(bytes(mergeStates(left, right))).toBe(bytes(mergeStates(right, left)));
        expect(bytes(mergeStates(a!, a!))).toBe(bytes(a!));
        expect(bytes(mergeStates(mergeStates(a!, b!), b!))).toBe(bytes(mergeStates(a!, b!)));
      }),
      RUNS,
    );
  });

  it("[KV-21] leaves every version covered by the clock, in the order (time, write id)", () => {
    fc.assert(
      fc.property(reached, ({ states: [a, b] }) => {
        const { clock, versions } = mergeStates(a!, b!);
        for (const version of versions) for (const dot of version.dots) expect(covers(clock, dot)).toBe(true);
        for (let i = 1; i < versions.length; i++)
          expect(versions[i]!.time).toBeGreaterThanOrEqual(versions[i - 1]!.time);
        expect(includes(clock, a!.clock) && includes(clock, b!.clock)).toBe(true);
      }),
      RUNS,
    );
  });

  it("[KV-1] never loses a version that the other side does not cover", () => {
    fc.assert(
      fc.property(reached, ({ states: [a, b] }) => {
        const merged = mergeStates(a!, b!);
        for (const version of a!.versions) {
          const isKnownThere = version.dots.some((dot) => covers(b!.clock, dot));
          const isAliveThere = b!.versions.some((other) => sameBytes(other.writeId, version.writeId));
          const isAlive = merged.versions.some((other) => sameBytes(other.writeId, version.writeId));
          expect(isAlive).toBe(!isKnownThere || isAliveThere);
        }
      }),
      RUNS,
    );
  });

  it("[KV-1] after all is merged, exactly the writes that no other write knew of or stood on are alive", () => {
    const aliveByHand = ({ stamped }: Reached, final: KeyState): void => {
      for (const write of stamped) {
        const isAlive = final.versions.some((version) => sameBytes(version.writeId, write.writeId));
        const isKnown = stamped.some(
          (other) => other !== write && other.knew !== undefined && covers(other.knew, write.dot),
        );
        if (isKnown) expect(isAlive).toBe(false);
      }
    };
    fc.assert(
      fc.property(reached, (made) =>
        aliveByHand(
          made,
          made.states.reduce((x, y) => mergeStates(x, y)),
        ),
      ),
      RUNS,
    );
  });

  it("replacesAll says yes only where merging gives exactly the incoming state", () => {
    let yes = 0;
    fc.assert(
      fc.property(reached, ({ states }) => {
        for (const a of [EMPTY_STATE, ...states]) {
          for (const b of states) {
            if (!replacesAll(a, b)) continue;
            yes++;
            expect(bytes(mergeStates(a, b))).toBe(bytes(b));
          }
        }
      }),
      RUNS,
    );
    expect(yes).toBeGreaterThan(50);
  });
});

describe("one write under several dots", () => {
  const stamp = (held: KeyState, n: number, dot: { actor: number; counter: number }): KeyState => {
    const write = { writeId: id(n), value: id(n), clock: undefined, restamped: false };
    const result = stampWrite(held, write, { dot, time: n, isSettled: () => false });
    if (result.kind !== "stamped") throw new Error(result.kind);
    return result.state;
  };
  const first = stamp(EMPTY_STATE, 1, { actor: 4097, counter: 1 });
  const second = stamp(EMPTY_STATE, 1, { actor: 8193, counter: 1 });

  it("[KV-8] two stamps of one write are one version with both dots", () => {
    const merged = mergeStates(first, second);
    expect(merged.versions.map((version) => version.dots.length)).toEqual([2]);
    expect(bytes(mergeStates(second, first))).toBe(bytes(merged));
  });

  it("[KV-10] [KV-8] [KV-25] wherever it was stamped twice, merging is commutative and idempotent, and the later time counts", () => {
    fc.assert(
      fc.property(reached, fc.nat(1000), fc.nat(1000), ({ states: [a, b] }, before, after) => {
        const again = (held: KeyState, actor: number, ms: number): KeyState => {
          const write = { writeId: id(255), value: id(255), clock: held.clock, restamped: false };
          const time = held.clock.time + 1 + ms;
          const result = stampWrite(held, write, { dot: { actor, counter: 1 }, time, isSettled: () => false });
          if (result.kind !== "stamped") throw new Error(result.kind);
          return result.state;
        };
        const [x, y] = [again(a!, 20481, before), again(b!, 24577, after)];
        const merged = mergeStates(x, y);
        expect(bytes(mergeStates(y, x))).toBe(bytes(merged));
        expect(bytes(mergeStates(merged, y))).toBe(bytes(merged));
        expect(bytes(mergeStates(merged, merged))).toBe(bytes(merged));
        const version = merged.versions.find((one) => one.writeId[0] === 255)!;
        expect(version.dots.length).toBe(2);
        expect(version.time).toBe(Math.max(x.clock.time, y.clock.time));
      }),
      RUNS,
    );
  });

  it("[KV-8] superseding one of its dots supersedes the write", () => {
    const both = mergeStates(first, second);
    const after = stamp(first, 2, { actor: 4097, counter: 2 });
    expect(mergeStates(both, after).versions.map((version) => version.writeId[0])).toEqual([2]);
  });

  it("[KV-9] an unsettled entry supersedes the write under a dot that its holder never saw", () => {
    const after = stamp(first, 2, { actor: 4097, counter: 2 });
    for (const merged of [mergeStates(after, second), mergeStates(second, after)]) {
      expect(merged.versions.map((version) => version.writeId[0])).toEqual([2]);
      expect(covers(merged.clock, { actor: 8193, counter: 1 })).toBe(true);
    }
  });

  it("[KV-7] a side that remembers a write as gone does not take it back, and covers its dots from then on", () => {
    const gone = { ...stamp(first, 2, { actor: 4097, counter: 2 }), unsettled: [] };
    const merged = mergeStates(gone, second, (version) => version.writeId[0] === 1);
    expect(merged.versions.map((version) => version.writeId[0])).toEqual([2]);
    expect(covers(merged.clock, { actor: 8193, counter: 1 })).toBe(true);
    expect(mergeStates(second, merged).versions.map((version) => version.writeId[0])).toEqual([2]);
  });
});

describe("unsettled entries", () => {
  const entry = fc.record({ n: fc.integer({ min: 0, max: 255 }), counter: fc.integer({ min: 1, max: 9 }) }).map(
    ({ n, counter }): Unsettled => ({
      writeId: id(n),
      dot: { actor: 1, counter: 1 },
      carrier: { actor: 1, counter },
    }),
  );
  const list = fc
    .array(entry, { maxLength: 90 })
    .map((entries) => entries.reduce<readonly Unsettled[]>((all, one) => mergeUnsettled(all, [one]), []));

  it("[KV-20] are at most 64, one for each write, the later carrier stays", () => {
    fc.assert(
      fc.property(list, list, (a, b) => {
        const merged = mergeUnsettled(a, b);
        expect(merged.length).toBeLessThanOrEqual(MAX_UNSETTLED);
        expect(new Set(merged.map((one) => one.writeId[0])).size).toBe(merged.length);
        for (const one of merged) {
          const same = [...a, ...b].filter((other) => sameBytes(other.writeId, one.writeId));
          expect(one.carrier.counter).toBe(Math.max(...same.map((other) => other.carrier.counter)));
        }
      }),
    );
  });

  it("[KV-20] of 65 the one with the lowest counter goes, as when many go at once", () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(
          Array.from({ length: 65 }, (_, n) => n),
          { minLength: 65 },
        ),
        (counters) => {
          const all = counters.map((counter, n): Unsettled => {
            const dot = { actor: 1, counter: counter + 1 };
            return { writeId: id(n), dot, carrier: dot };
          });
          for (const at of [1, 30, 64]) {
            const merged = mergeUnsettled(all.slice(0, at), all.slice(at));
            expect(merged).toEqual(all.filter(({ dot }) => dot.counter > 1));
          }
        },
      ),
    );
  });

  it("[KV-9] what one list has beyond another is told by whole write ids, equal beginnings or not", () => {
    const made = (first: number, last: number): Unsettled => {
      const writeId = new Uint8Array(16).fill(first);
      writeId[15] = last;
      return { writeId, dot: { actor: 1, counter: 1 }, carrier: { actor: 1, counter: 1 } };
    };
    const known = [made(1, 1), made(255, 2), made(3, 3)];
    const list = [made(1, 1), made(1, 2), made(255, 2), made(4, 3)];
    expect(entriesBeyond(known, list)).toEqual([list[1], list[3]]);
    expect(entriesBeyond([], list)).toEqual(list);
    expect(entriesBeyond(known, [])).toEqual([]);
  });

  it("[KV-24] are gone after a merge where one side covers their carrier and lacks them, and kept where it does not", () => {
    fc.assert(
      fc.property(reached, ({ states: [a, b] }) => {
        const { unsettled } = mergeStates(a!, b!);
        const has = (entries: readonly Unsettled[], writeId: Uint8Array): boolean =>
          entries.some((entry) => sameBytes(entry.writeId, writeId));
        for (const entry of a!.unsettled) {
          if (has(b!.unsettled, entry.writeId)) expect(has(unsettled, entry.writeId)).toBe(true);
          else expect(has(unsettled, entry.writeId)).toBe(!covers(b!.clock, entry.carrier));
        }
        for (const { writeId } of unsettled) expect(has([...a!.unsettled, ...b!.unsettled], writeId)).toBe(true);
      }),
      RUNS,
    );
  });

  it("[KV-24] do not come back with a newer version either, where they were dropped", () => {
    const carrier = { actor: 4097, counter: 1 };
    const local: KeyState = { ...EMPTY_STATE, clock: { vector: [carrier], dots: [], time: 1 } };
    const write = { writeId: id(1), value: id(1), clock: undefined, restamped: false };
    const made = stampWrite(local, write, { dot: { actor: 8193, counter: 1 }, time: 2, isSettled: () => false });
    if (made.kind !== "stamped") throw new Error(made.kind);
    const entry: Unsettled = { writeId: id(9), dot: { actor: 4097, counter: 1 }, carrier };
    const incoming = { ...made.state, unsettled: [entry] };
    expect(mergeStates(local, incoming).unsettled).toEqual([]);
    expect(replacesAll(local, made.state)).toBe(true);
    expect(replacesAll(local, incoming)).toBe(false);
  });

  it("[KV-20] merge commutatively, associatively and idempotently", () => {
    fc.assert(
      fc.property(list, list, list, (a, b, c) => {
        expect(mergeUnsettled(a, b)).toEqual(mergeUnsettled(b, a));
        expect(mergeUnsettled(mergeUnsettled(a, b), c)).toEqual(mergeUnsettled(a, mergeUnsettled(b, c)));
        expect(mergeUnsettled(a, a)).toEqual(a);
      }),
    );
  });
});

it("[KV-12] what merging gives can be written and read", () => {
  fc.assert(
    fc.property(reached, ({ states: [a, b] }) => {
      const merged = mergeStates(a!, b!);
      expect(bytes(decodeState(encodeState(merged)))).toBe(bytes(merged));
    }),
  );
});
