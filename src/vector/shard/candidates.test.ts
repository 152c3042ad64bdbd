import { describe, expect, it } from "vitest";
import type { Found } from "../index/segment-index.ts";
import { nearestCandidates } from "./candidates.ts";

const found = (distances: readonly number[], more: Partial<Found> = {}): Found => ({
  rows: Uint32Array.from(distances.keys()),
  distances: Float32Array.from(distances),
  ...{ isExact: false, scanned: distances.length, plan: "walk", ...more },
});
/** Of which three are left. */
const slack = (distance: number): number => distance / 12;
const kept = (all: readonly Found[], k: number) =>
  nearestCandidates(all, k).map(({ rows, distances }) => {
    expect(rows).toHaveLength(distances.length);
    return [...distances];
  });

describe("[VE-333] candidates of several segments", () => {
  it("that the k-th of all rules out are not measured; those within its error are", () => {
    const exact = found([1, 2, 9], { isExact: true });
    const one = found([3, 4.5, 5.5, 8], { slack });
    const other = found([4, 5, 6], { slack });
    expect(kept([exact, one, other], 4)).toEqual([
      [1, 2, 9],
      [3, 4.5],
      [4, 5],
    ]);
    // Each by its own error.
    const coarse = found([4, 5, 6], { slack: (distance) => distance / 6 });
    expect(kept([exact, one, coarse], 4)).toEqual([
      [1, 2, 9],
      [3, 4.5],
      [4, 5, 6],
    ]);
  });

  it("stay where a number of them was asked for, where they cannot be compared, and where they are no more than k", () => {
    const asked = found([3, 70]);
    const one = found([1, 2, 50], { slack });
    expect(kept([asked, one], 1)).toEqual([
      [3, 70],
      [1, 2, 50],
    ]);
    const two = found([1.5, 60], { slack });
    expect(kept([asked, one, two], 2)).toEqual([[3, 70], [1], [1.5]]);
    expect(kept([asked, one, two], 5)).toEqual([
      [3, 70],
      [1, 2, 50],
      [1.5, 60],
    ]);
  });
});
