// The cache of values against a plain map.
import { describe, expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { ValueCache } from "./value-cache.ts";
import type { Version } from "./version.ts";

const versionOf = (key: string, seq: number, lease: string): Version => ({
  ...{ key, seq, lease, modRevision: seq + 1, createRevision: seq + 2, version: seq + 3 },
});

/** By its ends: the rest is copied with them. */
const isAll = (value: Uint8Array, byte: number): boolean =>
  value.length === 0 || (value[0] === byte && value.at(-1) === byte);

describe("the cache of values", () => {
  it("[CF-248] holds what was set last or nothing, within its bytes, and never changes what it gave", () => {
    for (const [limit, longest] of [
      [0, 50],
      [2000, 300],
      [30_000, 2000],
      [5_000_000, 400_000],
    ] as const) {
      const random = new Random(limit + 1);
      const cache = new ValueCache(limit);
      const model = new Map<string, number>();
      const given: { readonly value: Uint8Array; readonly byte: number }[] = [];
      let hits = 0;
      for (let seq = 1; seq < 3000; seq++) {
        const key = `k${random.between(0, 40)}`;
        const held = cache.get(key);
        if (held) {
          hits++;
          const last = model.get(key)!;
          expect(held.version).toEqual(versionOf(key, last, last % 3 === 0 ? "" : String(last * 1e9)));
          expect(isAll(held.value, last % 251)).toBe(true);
          given.push({ value: held.value, byte: last % 251 });
        }
        if (random.chance(0.2)) {
          cache.delete(key);
          model.delete(key);
          expect(cache.has(key)).toBe(false);
        } else if (random.chance(0.5)) {
          const value = new Uint8Array(random.between(0, longest)).fill(seq % 251);
          cache.set({ version: versionOf(key, seq, seq % 3 === 0 ? "" : String(seq * 1e9)), value });
          model.set(key, seq);
        }
        expect(cache.bytes).toBeLessThanOrEqual(limit);
      }
      expect(given.every(({ value, byte }) => isAll(value, byte))).toBe(true);
      expect(hits > 100).toBe(limit > 0);
    }
  });

  it("[CF-248] holds all of what fits into half of it, however often that is overwritten, and of more what is asked for", () => {
    const cache = new ValueCache(1_000_000);
    const value = new Uint8Array(500);
    let seq = 0;
    const set = (key: string) => cache.set({ version: versionOf(key, ++seq, ""), value });
    const random = new Random(1);
    for (let i = 0; i < 700; i++) set(`k${i}`);
    for (let i = 0; i < 20_000; i++) set(`k${random.between(0, 699)}`);
    expect(Array.from({ length: 700 }, (_, i) => cache.has(`k${i}`)).every(Boolean)).toBe(true);
    let [kept, asked] = [0, 0];
    for (let i = 0; i < 20_000; i++) {
      const favourite = `k${i % 100}`;
      asked++;
      if (cache.get(favourite)) kept++;
      else set(favourite);
      set(`other${i}`);
    }
    expect(kept / asked).toBeGreaterThan(0.9);
  });
});
