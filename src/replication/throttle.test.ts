import { describe, expect, it } from "vitest";
import { restMs } from "./throttle.ts";

describe("the rest after a step of a comparison", () => {
  it("[RP-132] is so long that no bound is passed; without one there is none", () => {
    const none = Number.POSITIVE_INFINITY;
    expect(restMs([{ count: 4096, perSecond: 50_000 }])).toBeCloseTo(81.92);
    expect(restMs([{ count: 4096, perSecond: none }])).toBe(0);
    expect(
      restMs([
        { count: 0, perSecond: 1 },
        { count: 500, perSecond: 1000 },
        { count: 9, perSecond: none },
      ]),
    ).toBe(500);
    expect(restMs([])).toBe(0);
  });
});
