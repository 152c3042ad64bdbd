import { expect, it } from "vitest";
import { seededRandom, seededWords } from "./seeded.mjs";

it("a seed gives the same numbers as ever: seeds that are written down stay the cases that they were", () => {
  const words = seededWords(42);
  expect([words(), words(), words()]).toEqual([2581720956, 1925393290, 3661312704]);
  expect(seededRandom(42)()).toBe(2581720956 / 2 ** 32);
});
