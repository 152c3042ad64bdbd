// What a replica remembers of settled stamps.
import { describe, expect, it } from "vitest";
import { MAX_SETTLED_REMEMBERED } from "../kv/limits.ts";
import { SettledStamps } from "./settled.ts";

describe("settled stamps", () => {
  it("of each actor at least half of the bound is known, never more than the bound", () => {
    const settled = new SettledStamps();
    const half = MAX_SETTLED_REMEMBERED / 2;
    settled.add(2, [7]);
    // Not a whole number of generations: the last ones are in both.
    const last = 3 * MAX_SETTLED_REMEMBERED + 900;
    for (let counter = 1; counter <= last; counter += 3) settled.add(1, [counter, counter + 1, counter + 2]);
    let known = 0;
    for (let counter = 1; counter <= last; counter++) if (settled.has({ actor: 1, counter })) known++;
    expect(known).toBeGreaterThanOrEqual(half);
    expect(known).toBeLessThanOrEqual(MAX_SETTLED_REMEMBERED);
    for (let counter = last; counter > last - half; counter--)
      if (!settled.has({ actor: 1, counter })) throw new Error(`${counter} of ${last} is forgotten`);
    expect(settled.has({ actor: 2, counter: 7 })).toBe(true);
    expect(settled.has({ actor: 3, counter: 7 })).toBe(false);
  });

  it("one that is told again and again takes one place", () => {
    const settled = new SettledStamps();
    settled.add(1, [1]);
    for (let i = 0; i < 3 * MAX_SETTLED_REMEMBERED; i++) settled.add(1, [2]);
    expect(settled.has({ actor: 1, counter: 1 })).toBe(true);
  });
});
