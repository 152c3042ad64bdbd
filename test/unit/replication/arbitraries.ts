// Random dots, clocks, states and frames for property tests; and a small world of three replicas that reach states the honest way.
import fc from "fast-check";
import { addDots } from "../../../src/kv/clock.ts";
import { EMPTY_STATE, type KeyState, type Version } from "../../../src/kv/key-state.ts";
import { mergeStates } from "../../../src/kv/merge.ts";
import { stampWrite } from "../../../src/kv/stamp.ts";
import { type Clock, type Dot, EMPTY_CLOCK } from "../../../src/wire/clock.ts";

export const counter = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 2 ** 48 }));
export const actor = fc.oneof(
  fc.constantFrom(4097, 8193, 12289),
  fc
    .record({ node: fc.integer({ min: 1, max: 2 ** 20 }), incarnation: fc.integer({ min: 1, max: 4095 }) })
    .map(({ node, incarnation }) => node * 4096 + incarnation),
);
export const dot: fc.Arbitrary<Dot> = fc.record({ actor, counter });
export const smallDot: fc.Arbitrary<Dot> = fc.record({
  actor: fc.constantFrom(4097, 8193, 12289),
  counter: fc.integer({ min: 1, max: 6 }),
});
export function uniqueDots(of: fc.Arbitrary<Dot>, maxLength: number): fc.Arbitrary<Dot[]> {
  return fc.uniqueArray(of, { maxLength, selector: ({ actor: a, counter: c }) => `${a}:${c}` });
}
export const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

/** Canonical: made by adding dots, so that it is sorted and folded. */
export const clock: fc.Arbitrary<Clock> = fc
  .record({ dots: uniqueDots(fc.oneof(smallDot, dot), 12), time })
  .map(({ dots, time: at }) => addDots({ ...EMPTY_CLOCK, time: at }, dots));

export const writeId = fc.uint8Array({ minLength: 16, maxLength: 16 });
export const value = fc.uint8Array({ maxLength: 80 });
export const key = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
export const row = fc.record({
  tenant: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  token: fc.record({ hi: fc.integer({ min: 0, max: 2 ** 32 - 1 }), lo: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
  key,
});

const version: fc.Arbitrary<Version> = fc.record({
  writeId,
  dots: fc.array(dot, { minLength: 1, maxLength: 4 }),
  time,
  restamped: fc.boolean(),
  value: fc.option(value, { nil: undefined }),
});

/** Any state that can be written down, reachable or not. */
export const anyState: fc.Arbitrary<KeyState> = fc.record({
  clock,
  unsettled: fc.array(fc.record({ writeId, dot, carrier: dot }), { maxLength: 4 }),
  versions: fc.array(version, { maxLength: 5 }),
});

type Step =
  | {
      readonly kind: "stamp";
      readonly at: number;
      readonly knows: "nothing" | "held" | "old";
      readonly isDelete: boolean;
      readonly isSettled: boolean;
    }
  | { readonly kind: "ship"; readonly from: number; readonly to: number };

const replica = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("stamp" as const),
    at: replica,
    knows: fc.constantFrom("nothing" as const, "held" as const, "old" as const),
    isDelete: fc.boolean(),
    isSettled: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("ship" as const), from: replica, to: replica }),
);

/** One write that was stamped, and what its client knew. */
export interface Stamped {
  readonly writeId: Uint8Array;
  readonly dot: Dot;
  readonly knew: Clock | undefined;
}

export interface Reached {
  readonly states: readonly KeyState[];
  readonly stamped: readonly Stamped[];
}

/** Three replicas that stamp and ship whole states, as the protocol does when no write is stamped twice. */
export function reach(steps: readonly Step[]): Reached {
  const states: KeyState[] = [EMPTY_STATE, EMPTY_STATE, EMPTY_STATE];
  const counters = [0, 0, 0];
  const stamped: Stamped[] = [];
  let old: Clock = EMPTY_CLOCK;
  for (const [i, now] of steps.entries()) {
    if (now.kind === "ship") {
      states[now.to] = mergeStates(states[now.to]!, states[now.from]!);
      continue;
    }
    const held = states[now.at]!;
    const knew = now.knows === "nothing" ? undefined : now.knows === "held" ? held.clock : old;
    const made = { actor: 4096 * (now.at + 1) + 1, counter: ++counters[now.at]! };
    const id = new Uint8Array(16).fill(i + 1);
    const result = stampWrite(
      held,
      { writeId: id, value: now.isDelete ? undefined : id, clock: knew, restamped: false },
      { dot: made, time: held.clock.time + 1 + now.at, isSettled: () => now.isSettled },
    );
    if (result.kind !== "stamped") continue;
    states[now.at] = result.state;
    stamped.push({ writeId: id, dot: made, knew });
    if (i % 3 === 0) old = held.clock;
  }
  return { states, stamped };
}

export const reached: fc.Arbitrary<Reached> = fc.array(step, { maxLength: 30 }).map(reach);

/** `bytes` with some of them changed, cut or added. */
export function mutated(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const change = fc.record({
    at: fc.nat(),
    to: fc.integer({ min: 0, max: 255 }),
    how: fc.constantFrom("set", "cut", "add"),
  });
  return fc.tuple(bytes, fc.array(change, { minLength: 1, maxLength: 4 })).map(([original, changes]) => {
    let result = original.slice();
    for (const { at, to, how } of changes) {
      const where = result.length === 0 ? 0 : at % result.length;
      if (how === "set" && result.length > 0) result[where] = to;
      else if (how === "cut") result = result.slice(0, where);
      else result = Uint8Array.from([...result.slice(0, where), to, ...result.slice(where)]);
    }
    return result;
  });
}
