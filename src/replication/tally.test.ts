// Counting towards one quorum, or towards two at once.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { majorities, majority, readQuorum, Tally } from "./tally.ts";

const OLD = ["n1", "n2", "n3"];
const NEW = ["n1", "n2", "n3", "n4", "n5"];

describe("tally", () => {
  it("[RP-10] counts a member once, and nobody else", () => {
    const tally = new Tally(majorities(OLD));
    for (const id of ["n1", "n1", "n4", "n5"]) tally.count(id);
    expect([tally.countedCount, tally.isReached]).toEqual([1, false]);
    tally.count("n3");
    expect(tally.isReached).toBe(true);
  });

  it("[RP-42] is reached when each of two groups has its majority", () => {
    const tally = new Tally(majorities(OLD, NEW));
    for (const id of ["n1", "n2"]) tally.count(id);
    expect(tally.isReached).toBe(false);
    tally.count("n5");
    expect(tally.isReached).toBe(true);
    const other = new Tally(majorities(OLD, NEW));
    for (const id of ["n3", "n4", "n5"]) other.count(id);
    expect(other.isReached).toBe(false);
  });

  it("is lost when some group cannot reach its number any more, and only then", () => {
    const tally = new Tally(majorities(OLD, NEW));
    tally.lose("n4");
    tally.lose("n5");
    expect(tally.isLost).toBe(false);
    tally.lose("n1");
    expect(tally.isLost).toBe(true);
  });

  it("any so many for a read meet any majority, and one less do not", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), (count) => {
        expect(readQuorum(count) + majority(count)).toBe(count + 1);
      }),
    );
  });
});
