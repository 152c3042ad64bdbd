import { describe, expect, it } from "vitest";
import { drawn, faultOf, KINDS, type Kind } from "./plan.ts";

const take = (seed: number, count: number) => {
  const faults = drawn(seed, ["z1", "z2", "z3"]);
  return Array.from({ length: count }, () => faults.next().value!);
};

describe("drawn faults", () => {
  it("[CL-111] are the same for the same seed, and every kind comes before any comes twice", () => {
    expect(take(7, 40)).toEqual(take(7, 40));
    expect(take(7, 40)).not.toEqual(take(8, 40));
    for (const seed of [1, 2, 3]) {
      const kinds = take(seed, 2 * KINDS.length).map(({ kind }) => kind);
      expect(new Set(kinds.slice(0, KINDS.length)).size).toBe(KINDS.length);
      expect(new Set(kinds.slice(KINDS.length)).size).toBe(KINDS.length);
    }
  });

  it("[CL-111] hurt one zone, another one besides, or all where they say so", () => {
    const all = ["z1", "z2", "z3"];
    const of = (kind: Kind) => faultOf({ kind, zone: "z2", other: "z3", share: 0.5 }, all);
    expect(of("kill all instances")).toMatchObject({ zones: all });
    expect(of("kill an instance")).toMatchObject({ part: "instance", zones: ["z2"] });
    expect(of("kill two instances")).toEqual({ kind: "kill", part: "instance", zones: ["z2", "z3"] });
    expect(of("kill one during another's takeover")).toMatchObject({ zones: ["z2", "z3"], apartMs: 15_000 });
    for (const seed of [1, 2, 3]) for (const { zone, other } of take(seed, 40)) expect(other).not.toBe(zone);
  });
});
