import { describe, expect, it } from "vitest";
import { type Hold, lockProblems } from "./locks.ts";

const hold = (fencingToken: number, fromMs: number, untilMs: number, calledMs = fromMs - 1): Hold => ({
  ...{ client: fencingToken, fencingToken, calledMs, fromMs, untilMs },
});

describe("the judge of a lock", () => {
  it("[CL-112] takes holds one after the other, in whatever order they were noted", () => {
    expect(lockProblems([hold(7, 30, 40), hold(5, 10, 20), hold(9, 40, 50)])).toEqual([]);
  });

  it.each<[string, readonly Hold[], string]>([
    ["a token given twice", [hold(5, 10, 20), hold(5, 30, 40)], "given twice"],
    ["two holders at once", [hold(5, 10, 20), hold(7, 15, 30)], "held by two at once"],
    ["a token below that of the holder before", [hold(7, 10, 20), hold(5, 30, 40)], "before the lower was asked for"],
  ])("[CL-112] does not take %s", (_, holds, problem) => {
    expect(lockProblems(holds)).toEqual([expect.stringContaining(problem)]);
  });

  it("[CL-112] takes two at once where a clock was stepped, but no token twice", () => {
    const unsure = [{ fromMs: 12, untilMs: 18 }];
    expect(lockProblems([hold(5, 10, 20), hold(7, 15, 30)], unsure)).toEqual([]);
    expect(lockProblems([hold(5, 10, 20), hold(5, 15, 30)], unsure)).toHaveLength(1);
    expect(lockProblems([hold(5, 10, 20), hold(7, 19, 30)], unsure)).toHaveLength(1);
  });
});
