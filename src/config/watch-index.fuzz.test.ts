import { describe, expect, it } from "vitest";
import { Random } from "../../test/unit/config/random.ts";
import type { KeyRange } from "../wire/config.ts";
import { isInRange, NO_END, prefixRange } from "../wire/config-keys.ts";
import { WatchIndex } from "./watch-index.ts";

interface Item extends KeyRange {
  readonly id: number;
}

function randomRange(random: Random): KeyRange {
  const key = random.key();
  switch (random.below(6)) {
    case 0:
    case 1:
      return { key, rangeEnd: "" };
    case 2:
    case 3:
      return prefixRange(random.chance(0.1) ? "" : key);
    case 4:
      return { key, rangeEnd: NO_END };
    default: {
      const other = random.key();
      return key < other ? { key, rangeEnd: other } : { key: other, rangeEnd: `${key}\0` };
    }
  }
}

describe("watch index", () => {
  for (let seed = 1; seed <= 20; seed++) {
    it(`[CF-40] finds what a walk over all ranges finds (seed ${seed})`, () => {
      const random = new Random(seed);
      const index = new WatchIndex<Item>();
      const items: Item[] = [];
      for (let round = 0; round < 1500; round++) {
        if (random.chance(0.6) || items.length === 0) {
          const item = { id: round, ...randomRange(random) };
          items.push(item);
          index.add(item);
        } else {
          index.delete(items.splice(random.below(items.length), 1)[0]!);
        }
        if (round % 5 > 0) continue;
        const key = random.key();
        const found: number[] = [];
        index.match(key, ({ id }) => found.push(id));
        const byWalk = items.filter((item) => isInRange(key, item)).map(({ id }) => id);
        expect(found.sort((a, b) => a - b)).toEqual(byWalk.sort((a, b) => a - b));
      }
      expect(index.size).toBe(items.length);
      expect([...index.items()].length).toBe(items.length);
    });
  }
});
