// Counting by parts against counting each key, over random changes, at all revisions that can be read; on the real store, with bounds so
// small that everything is split and forgotten. A failing run prints its seed: set JADE_COUNT_SEED to run it alone.
import { expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import type { KeyRange } from "../wire/config.ts";
import { NO_END } from "../wire/config-keys.ts";
import { type CountedStore, KeyCounts } from "./key-counts.ts";

const BOUNDS = { together: 3, births: 40, birthBytes: 1_000_000 };
const LEAST = "\0";

interface Counted {
  readonly random: Random;
  readonly opened: ReturnType<typeof openDesk>;
  readonly counts: KeyCounts;
  /** Of keys that one call looked at. */
  readonly looked: { most: number };
  readonly remembered: () => number;
}

function start(seed: number): Counted {
  const looked = { most: 0 };
  let counts: KeyCounts | undefined;
  const changed: number[] = [];
  const opened = openDesk({
    onChange: (revision, changes) => {
      for (const { record } of changes) {
        if (record.type === "put" && record.endedSeq > 0) continue;
        counts?.changed(record.key, record.type === "put" ? 1 : -1, revision);
        changed.push(revision);
      }
    },
  });
  const store: CountedStore = {
    count(range, revision) {
      const count = opened.desk.store.count(range, revision);
      if (revision === 0) looked.most = Math.max(looked.most, count);
      return count;
    },
    keyBehind: (key, offset) => opened.desk.store.keyBehind(key, offset),
  };
  counts = new KeyCounts(store, opened.desk.keyspace.revision, BOUNDS);
  // At least the newer half of what may be remembered is.
  return { random: new Random(seed), opened, counts, looked, remembered: () => changed.at(-BOUNDS.births / 2) ?? 1 };
}

function change({ random, opened: { desk } }: Counted): void {
  const key = `k${random.between(0, 99)}`;
  const value = new Uint8Array(1);
  if (random.chance(0.6)) desk.keyspace.put({ kind: "put", key, value });
  else if (random.chance(0.8)) desk.keyspace.deleteRange({ kind: "deleteRange", key, rangeEnd: "" });
  else desk.keyspace.deleteRange({ kind: "deleteRange", key, rangeEnd: `${key}\xff` });
}

function rangeOf(random: Random): KeyRange {
  const key = random.chance(0.3) ? LEAST : `k${random.between(0, 99)}`;
  return { key, rangeEnd: random.pick([NO_END, `k${random.between(0, 99)}`, "k", "l", ""]) };
}

const seeds = process.env["JADE_COUNT_SEED"] ? [Number(process.env["JADE_COUNT_SEED"])] : [1, 2, 3, 4, 5, 6, 7, 8];

it.each(seeds)("[CF-235] a count is that of each key, at every revision, now and past (seed %i)", (seed) => {
  const run = start(seed);
  const { random, opened, counts, looked, remembered } = run;
  const { store, keyspace } = opened.desk;
  for (let step = 0; step < 400; step++) {
    change(run);
    if (random.chance(0.02)) counts.reset(keyspace.revision);
    if (!random.chance(0.4)) continue;
    const range = rangeOf(random);
    const revision = random.chance(0.5) ? 0 : random.between(2, keyspace.revision);
    const place = `seed ${seed}, step ${step}, ${JSON.stringify(range)} at ${revision}`;
    const wanted = store.count(range, revision === keyspace.revision ? 0 : revision);
    expect(counts.count(range, revision), place).toBe(wanted);
    const whole = { key: LEAST, rangeEnd: NO_END };
    expect(counts.count(whole, 0), place).toBe(store.count(whole, 0));
  }
  expect(looked.most).toBeLessThanOrEqual(2 * BOUNDS.together + 1);
  expect(remembered()).toBeGreaterThan(1);
});

it("[CF-235] a page of a list that others change meanwhile is counted without a look at each key", () => {
  const run = start(9);
  const { opened, counts, remembered } = run;
  for (let i = 0; i < 200; i++) change(run);
  const asked: number[] = [];
  const { store, keyspace } = opened.desk;
  const exact = store.count({ key: LEAST, rangeEnd: NO_END }, remembered());
  const count = store.count.bind(store);
  store.count = (range, revision): number => {
    asked.push(revision);
    return count(range, revision);
  };
  expect(counts.count({ key: LEAST, rangeEnd: NO_END }, remembered())).toBe(exact);
  expect(asked.every((revision) => revision === 0)).toBe(true);
  expect(keyspace.revision).toBeGreaterThan(remembered());
});

it("[CF-235] pages of a list of thousands tell what is left at their revision while keys come and go, over a restart too", () => {
  const opened = openDesk();
  const random = new Random(11);
  const value = new Uint8Array(1);
  const keyOf = (i: number): string => `k${String(i).padStart(5, "0")}`;
  for (let i = 0; i < 4000; i++) opened.desk.keyspace.put({ kind: "put", key: keyOf((i * 7919) % 4000), value });
  const revision = opened.desk.keyspace.revision;
  let key = "k";
  let listed = 0;
  for (;;) {
    const { keyspace } = opened.desk;
    const page = { kind: "range", key, rangeEnd: "l", limit: 500, revision, withCount: true } as const;
    const { kvs, count, more } = keyspace.range(page);
    expect(count + listed).toBe(4000);
    listed += kvs.length;
    if (!more) break;
    key = `${kvs.at(-1)!.key}\0`;
    for (let i = 0; i < 300; i++) {
      const changed = keyOf(random.between(0, 6000));
      if (random.chance(0.5)) keyspace.put({ kind: "put", key: changed, value });
      else keyspace.deleteRange({ kind: "deleteRange", key: changed, rangeEnd: "" });
    }
    expect(keyspace.keyCount).toBe(opened.desk.store.count({ key: LEAST, rangeEnd: NO_END }, 0));
    if (listed === 2000) opened.restart();
  }
  expect(listed).toBe(4000);
});
