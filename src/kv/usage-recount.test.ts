// Counting anew while the store changes: against the sums of what it holds in the end.
import { expect, it } from "vitest";
import { seededWords } from "../../scripts/lib/seeded.mjs";
import type { RowKey } from "../storage/types.ts";
import { EMPTY_STATE, encodeState, type KeyState } from "./key-state.ts";
import { type Usage, UsageMeter, usageOf } from "./usage.ts";
import { UsageRecount } from "./usage-recount.ts";

const compare = (a: RowKey, b: RowKey): number => a.token.lo - b.token.lo;
const rowOf = (number: number): RowKey => ({ tenant: number % 3, key: `k${number}`, token: { hi: 0, lo: number } });

function stateOf(bytes: number): KeyState {
  if (bytes === 0) return EMPTY_STATE;
  const version = { writeId: new Uint8Array(16), dots: [{ actor: 4097, counter: 1 }], time: 1, restamped: false };
  return { ...EMPTY_STATE, versions: [{ ...version, value: new Uint8Array(bytes) }] };
}

/** A store of numbered rows, and a meter whose stored sums were not believed. */
function newRun(seed: number) {
  const words = seededWords(seed);
  const store = new Map<number, number>();
  const meter = new UsageMeter([{ tenant: 1, storedBytes: 1e9, keys: 1e6 }]);
  const recount = new UsageRecount(compare);
  const write = (): void => {
    const number = words() % 40;
    const [before, after] = [store.get(number) ?? 0, words() % 4 === 0 ? 0 : 1 + (words() % 50)];
    meter.changed(rowOf(number), stateOf(before), stateOf(after));
    store.set(number, after);
  };
  /** As an engine that answers later: every row is as it was at some moment since the page was asked for. */
  const page = (limit: number) => {
    const { after } = recount;
    const asked = new Map(store);
    for (let left = words() % 6; left > 0; left--) write();
    const from = after?.token.lo ?? -1;
    const numbers = [...(words() % 2 ? asked : store).keys()].filter((number) => number > from).sort((a, b) => a - b);
    const rows = numbers.slice(0, limit).map((number) => {
      const bytes = (words() % 2 ? asked.get(number) : store.get(number)) ?? store.get(number)!;
      return { row: rowOf(number), value: encodeState(stateOf(bytes)).slice() };
    });
    return { rows, done: numbers.length <= limit };
  };
  const truth = (tenant: number): Usage => {
    const sums = { storedBytes: 0, keys: 0 };
    for (const [number, bytes] of store) {
      if (number % 3 !== tenant) continue;
      const usage = usageOf(`k${number}`, stateOf(bytes));
      sums.storedBytes += usage.storedBytes;
      sums.keys += usage.keys;
    }
    return sums;
  };
  return { words, meter, recount, write, page, truth };
}

it("[ST-121] sums counted anew are what the store holds, whatever changes meanwhile; until then there are none", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { words, meter, recount, write, page, truth } = newRun(seed);
    for (let left = words() % 60; left > 0; left--) write();
    meter.startRecount(recount);
    while (!recount.isDone) {
      for (let left = words() % 5; left > 0; left--) write();
      recount.add(page(1 + (words() % 9)));
      for (let left = words() % 5; left > 0; left--) write();
      expect(() => meter.of(1)).toThrow("counted anew");
      expect(meter.hasChanged).toBe(false);
    }
    meter.endRecount();
    write();
    for (const tenant of [0, 1, 2]) expect(meter.of(tenant), `tenant ${tenant} of seed ${seed}`).toEqual(truth(tenant));
  }
});

it("[ST-121] an erased tenant is not counted, and an unfinished count is not taken", () => {
  const recount = new UsageRecount(compare);
  const meter = new UsageMeter();
  meter.startRecount(recount);
  meter.changed(rowOf(1), EMPTY_STATE, stateOf(5));
  expect(() => meter.endRecount()).toThrow("to its end");
  meter.forget(1);
  recount.add({ rows: [{ row: rowOf(2), value: encodeState(stateOf(7)).slice() }], done: true });
  meter.endRecount();
  expect(meter.takeChanged()).toEqual([{ tenant: 2, storedBytes: 9, keys: 1 }]);
  expect(meter.of(1)).toEqual({ storedBytes: 0, keys: 0 });
});
