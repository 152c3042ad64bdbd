import { describe, expect, it } from "vitest";
import { MAX_SEGMENT_ROWS } from "../segment/limits.ts";
import { MERGE_FAN_IN } from "./limits.ts";
import { mergeDue } from "./merge-policy.ts";

const segment = (liveCount: number, rowCount = liveCount) => ({ rowCount, liveCount });

describe("merges", () => {
  it("[VE-107] a stream of seals leaves few segments, and rewrites a row once for each size", () => {
    let segments: { rowCount: number; liveCount: number }[] = [];
    let written = 0;
    let most = 0;
    const seals = 1000;
    for (let seal = 0; seal < seals; seal++) {
      segments.push(segment(8192));
      for (let due = mergeDue(segments); due; due = mergeDue(segments)) {
        const inputs = due;
        const rows = inputs.reduce((sum, { liveCount }) => sum + liveCount, 0);
        expect(rows).toBeLessThanOrEqual(MAX_SEGMENT_ROWS);
        written += rows;
        segments = [...segments.filter((one) => !inputs.includes(one)), segment(rows)];
      }
      most = Math.max(most, segments.length);
    }
    const full = (seals * 8192) / MAX_SEGMENT_ROWS;
    expect(most).toBeLessThan(full * 2 + MERGE_FAN_IN * 5);
    expect(written / (seals * 8192)).toBeLessThan(5);
  });

  it("[VE-107] a segment that is mostly deleted is rewritten alone; nothing is due otherwise", () => {
    expect(mergeDue([])).toBeUndefined();
    expect(mergeDue([segment(9000), segment(100_000)])).toBeUndefined();
    const wasteful = segment(400, 1000);
    expect(mergeDue([segment(9000), wasteful])).toEqual([wasteful]);
    expect(mergeDue([segment(600, 1000)])).toBeUndefined();
  });
});
