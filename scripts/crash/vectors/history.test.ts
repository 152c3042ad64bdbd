import { describe, expect, it } from "vitest";
import { type Durability, VectorHistory } from "./history.ts";

const KILLED_MS = 20_000;

/** Two writes of one vector, the second a deletion or not, acknowledged so long before the kill. */
function twice({
  durability = "sync" as Durability,
  ageMs = 0 as number | null,
  isDelete = false,
} = {}): VectorHistory {
  const history = new VectorHistory(durability);
  history.begin(["a"], 1, false);
  history.acknowledged(["a"], 1, 0);
  history.begin(["a"], 2, isDelete);
  if (ageMs !== null) history.acknowledged(["a"], 2, KILLED_MS - ageMs);
  return history;
}

describe("what may be there after a kill", () => {
  it("the last acknowledged write, or one that was not answered, and nothing else", () => {
    expect(twice().judge(new Map([["a", 2]]), KILLED_MS)).toEqual([]);
    expect(twice().judge(new Map([["a", 1]]), KILLED_MS)).toHaveLength(1);
    expect(twice().judge(new Map(), KILLED_MS)).toHaveLength(2);
    expect(twice({ ageMs: null }).judge(new Map([["a", 1]]), KILLED_MS)).toEqual([]);
    expect(twice({ ageMs: null }).judge(new Map([["a", 2]]), KILLED_MS)).toEqual([]);
    expect(twice().judge(new Map([["a", 7]]), KILLED_MS)).toHaveLength(1);
    expect(
      twice().judge(
        new Map([
          ["a", 2],
          ["b", 1],
        ]),
        KILLED_MS,
      ),
    ).toEqual(["b is there, which nobody wrote"]);
  });

  it("a deletion that was acknowledged, not what it deleted", () => {
    expect(twice({ isDelete: true }).judge(new Map(), KILLED_MS)).toEqual([]);
    expect(twice({ isDelete: true }).judge(new Map([["a", 1]]), KILLED_MS)).toHaveLength(1);
    expect(twice({ isDelete: true }).judge(new Map([["a", 2]]), KILLED_MS)).toHaveLength(1);
  });

  it("a write younger than the window of its durability may be lost, an older one not", () => {
    for (const [durability, windowMs] of [
      ["periodic", 1000],
      ["eventual", 10_000],
    ] as const) {
      const young = twice({ durability, ageMs: windowMs - 1 });
      expect(young.judge(new Map([["a", 1]]), KILLED_MS)).toEqual([]);
      expect(young.oldestLossMs).toBe(windowMs - 1);
      expect(twice({ durability, ageMs: windowMs + 1 }).judge(new Map([["a", 1]]), KILLED_MS)).toHaveLength(1);
    }
  });

  it("what was found is what the next round starts from", () => {
    const history = twice({ ageMs: null });
    history.judge(new Map([["a", 1]]), KILLED_MS);
    expect(history.judge(new Map([["a", 2]]), KILLED_MS)).toHaveLength(1);
  });
});
