import { describe, expect, it } from "vitest";
import { leaving, nextLeavingMs, returning, type SegmentHeat, spansOf } from "./heat.ts";
import { RETURN_FETCHES } from "./limits.ts";

const HOUR = 3_600_000;
const NOW = 100 * HOUR;

const segment = (number: number, more: Partial<SegmentHeat> = {}): SegmentHeat => ({
  ...{ number, hotBytes: 100, coldBytes: 0, readAtMs: NOW, fetches: 0, mayLeave: true },
  ...more,
});
const cold = (number: number, fetches: number): SegmentHeat =>
  segment(number, { hotBytes: 0, coldBytes: 100, fetches });

describe("values that leave", () => {
  it("[VE-319] those that nobody read for the time leave, and no sooner", () => {
    const bounds = { coldAfterMs: 2 * HOUR, hotBytes: 0 };
    const segments = [
      segment(1, { readAtMs: NOW - 2 * HOUR }),
      segment(2, { readAtMs: NOW - 2 * HOUR + 1 }),
      segment(3),
    ];
    expect(leaving(segments, bounds, NOW)).toEqual([1]);
    expect(nextLeavingMs(segments, bounds, NOW)).toBe(NOW);
    expect(nextLeavingMs(segments.slice(1), bounds, NOW)).toBe(NOW + 1);
    expect(nextLeavingMs([cold(1, 0)], bounds, NOW)).toBeUndefined();
  });

  it("[VE-319] beyond the bytes those leave that were read longest ago, as many as it takes", () => {
    const bounds = { coldAfterMs: 0, hotBytes: 250 };
    const segments = [1, 2, 3, 4, 5].map((number) => segment(number, { readAtMs: NOW - number }));
    expect(leaving(segments, bounds, NOW)).toEqual([5, 4, 3]);
    expect(leaving(segments.slice(3), bounds, NOW)).toEqual([]);
    expect(nextLeavingMs(segments.slice(3), bounds, NOW)).toBeUndefined();
  });

  it("[VE-319] without bounds none leave; nor do those whose values their indexes, or something under way, need", () => {
    const old = { readAtMs: 0, mayLeave: false };
    expect(leaving([segment(1, { readAtMs: 0 })], { coldAfterMs: 0, hotBytes: 0 }, NOW)).toEqual([]);
    expect(leaving([segment(1, old), segment(2, old)], { coldAfterMs: 1, hotBytes: 1 }, NOW)).toEqual([]);
    // What has to stay counts: others leave for it.
    expect(leaving([segment(1, old), segment(2)], { coldAfterMs: 0, hotBytes: 150 }, NOW)).toEqual([2]);
  });
});

describe("values that come back", () => {
  it("[VE-321] those that were fetched often come back, the most wanted first, where there is room", () => {
    const segments = [cold(1, RETURN_FETCHES), cold(2, RETURN_FETCHES + 1), cold(3, RETURN_FETCHES - 1), segment(4)];
    expect(returning(segments, { coldAfterMs: HOUR, hotBytes: 0 })).toEqual([2, 1]);
    expect(returning(segments, { coldAfterMs: HOUR, hotBytes: 250 })).toEqual([2]);
    // What came back is not the next to leave.
    const back = segments.map((each) => (each.number === 2 ? segment(2) : each));
    expect(leaving(back, { coldAfterMs: HOUR, hotBytes: 250 }, NOW)).toEqual([]);
  });
});

it("[VE-321] near ranges of a blob are fetched as one, far ones apart", () => {
  const at = (offset: number, blob = "a") => ({ blob, offset, bytes: 10 });
  expect(spansOf([at(100), at(0), at(15), at(5), at(0, "b")], 5)).toEqual([
    { blob: "a", from: 0, to: 25 },
    { blob: "a", from: 100, to: 110 },
    { blob: "b", from: 0, to: 10 },
  ]);
});
