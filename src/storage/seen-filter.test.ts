import { describe, expect, it } from "vitest";
import { seededWords } from "../../scripts/lib/seeded.mjs";
import { bytesOf, Fixture, rowKey, TINY_LIMITS, textOf, writeId } from "../../test/unit/storage/fixture.ts";
import { SeenFilter } from "./seen-filter.ts";

const tokens = (seed: number, count: number): [number, number][] => {
  const words = seededWords(seed);
  return Array.from({ length: count }, () => [words() >>> 0, words() >>> 0]);
};

describe("the filter of what was written lately", () => {
  it("[ST-112] never says of what was added in its two generations that it was not; errs once in 100 at most", () => {
    const filter = new SeenFilter(4096);
    const perGeneration = 4096 / 2;
    const added = tokens(1, perGeneration + 500);
    for (const [hi, lo] of added) filter.add(hi, lo);
    expect(filter.generation).toBe(2);
    for (const [hi, lo] of added) expect(filter.before(hi, lo)).toBe(Number.POSITIVE_INFINITY);
    const errors = tokens(2, 10_000).filter(([hi, lo]) => filter.before(hi, lo) !== 1).length;
    expect(errors).toBeLessThan(100);
  });

  it("[ST-113] what was added two generations ago may be anywhere before the older of the two that are left", () => {
    const filter = new SeenFilter(64);
    const [[hi, lo]] = tokens(3, 1) as [[number, number]];
    filter.add(hi, lo);
    for (let i = 0; i < 2000 && filter.before(hi, lo) === Number.POSITIVE_INFINITY; i++)
      filter.add(...tokens(i + 4, 1)[0]!);
    expect(filter.generation).toBeGreaterThan(2);
    expect(filter.before(hi, lo)).toBe(filter.generation - 1);
  });

  it("[ST-112] rows and records of earlier starts and of generations given up are found, in memory and in tables", async () => {
    const store = new Fixture({ limits: { ...TINY_LIMITS, seenFilterBytes: 64 } });
    const put = (from: number, to: number): void => {
      for (let i = from; i < to; i++) {
        store.engine.put(rowKey(1, `k${i}`), bytesOf(`v${i}`));
        store.engine.addRecord(1, writeId(i), bytesOf(`r${i}`));
      }
      store.engine.commit();
      store.sql.endTurn();
    };
    const look = (to: number): void => {
      for (let i = 0; i < to; i++) {
        expect(textOf(store.engine.get(rowKey(1, `k${i}`)))).toBe(`v${i}`);
        expect(textOf(store.engine.findRecord(1, writeId(i)))).toBe(`r${i}`);
      }
      for (let i = 0; i < 200; i++) {
        expect(store.engine.get(rowKey(1, `absent${i}`))).toBeUndefined();
        expect(store.engine.findRecord(2, writeId(i))).toBeUndefined();
      }
    };
    put(0, 20);
    look(20);
    put(20, 600);
    look(600);
    await store.settle();
    look(600);
    put(600, 610);
    store.restart();
    look(610);
    for (let at = 610; at < 1200; at += 30) {
      put(at, at + 30);
      await store.settle();
    }
    look(1200);
  });
});
