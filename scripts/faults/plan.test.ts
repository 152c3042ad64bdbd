import { describe, expect, it } from "vitest";
import { drawn, faultOf, KINDS } from "./plan.ts";

const take = (seed: number, count: number) => {
  const faults = drawn(seed, ["z1", "z2", "z3"]);
  return Array.from({ length: count }, () => faults.next().value!);
};

describe("drawn faults", () => {
  it("are the same for the same seed, and every kind comes before any comes twice", () => {
    expect(take(7, 40)).toEqual(take(7, 40));
    expect(take(7, 40)).not.toEqual(take(8, 40));
    for (const seed of [1, 2, 3]) {
      const kinds = take(seed, 2 * KINDS.length).map(({ kind }) => kind);
      expect(new Set(kinds.slice(0, KINDS.length)).size).toBe(KINDS.length);
      expect(new Set(kinds.slice(KINDS.length)).size).toBe(KINDS.length);
    }
  });

  it("hurt one zone, or all where they say so", () => {
    expect(faultOf("kill all instances", "z2", ["z1", "z2", "z3"])).toMatchObject({ zones: ["z1", "z2", "z3"] });
    expect(faultOf("kill an instance", "z2", ["z1", "z2", "z3"])).toMatchObject({ part: "instance", zones: ["z2"] });
  });
});
