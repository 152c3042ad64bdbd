import { describe, expect, it } from "vitest";
import { seededWords } from "../../scripts/lib/seeded.mjs";
import { expiredRuns, pickRecordMerge, pickRowMerge, type RunShape } from "./compaction-policy.ts";

const shape = (sizeBytes: number, minMs = 0, maxMs = minMs): RunShape => ({
  sizeBytes,
  minMs,
  maxMs,
  quarantined: false,
});
const policy = { fanIn: 4, maxRuns: 10 };

describe("compaction policy", () => {
  it("[ST-90] four runs of similar size are merged, three are not", () => {
    expect(pickRowMerge([shape(10), shape(10), shape(10)], policy)).toBeUndefined();
    expect(pickRowMerge([shape(10), shape(11), shape(9), shape(12)], policy)).toEqual({ from: 0, to: 4 });
    expect(pickRowMerge([shape(1), shape(100), shape(110), shape(90), shape(120)], policy)).toEqual({ from: 1, to: 5 });
  });

  it("[ST-91] a much larger older run is left alone", () => {
    expect(pickRowMerge([shape(10), shape(10), shape(10), shape(10), shape(1000)], policy)).toEqual({ from: 0, to: 4 });
  });

  it("[ST-92] flushing for ever keeps the number of runs and the bytes written per byte flushed bounded", () => {
    const random = seededWords(3);
    let runs: RunShape[] = [];
    let written = 0;
    let flushed = 0;
    for (let flush = 0; flush < 3000; flush++) {
      const size = 50 + (random() % 100);
      runs = [shape(size), ...runs];
      flushed += size;
      for (let range = pickRowMerge(runs, policy); range !== undefined; range = pickRowMerge(runs, policy)) {
        const bytes = runs.slice(range.from, range.to).reduce((sum, run) => sum + run.sizeBytes, 0);
        written += bytes;
        runs = [...runs.slice(0, range.from), shape(bytes), ...runs.slice(range.to)];
      }
      expect(runs.length).toBeLessThanOrEqual(policy.maxRuns);
    }
    expect(written / flushed).toBeLessThan(10);
  });

  it("[ST-93] a quarantined run is never merged, and its neighbours still are", () => {
    const bad = { ...shape(10), quarantined: true };
    const runs = [shape(10), shape(10), bad, shape(10), shape(10), shape(10), shape(10)];
    expect(pickRowMerge(runs, policy)).toEqual({ from: 3, to: 7 });
    expect(
      pickRowMerge(
        Array.from({ length: 30 }, () => bad),
        policy,
      ),
    ).toBeUndefined();
  });

  it("[ST-94] record runs merge only within an eighth of the retention; whole runs expire", () => {
    const options = { fanIn: 4, retentionMs: 8000 };
    expect(
      pickRecordMerge(
        [0, 300, 600, 900].map((at) => shape(10, 1000 - at)),
        options,
      ),
    ).toEqual({ from: 0, to: 4 });
    expect(
      pickRecordMerge(
        [0, 900, 1800, 2700].map((at) => shape(10, 5000 - at)),
        options,
      ),
    ).toBeUndefined();
    const runs = [shape(1, 100, 200), shape(1, 0, 99)];
    expect(expiredRuns(runs, { retentionMs: 1000, nowMs: 1100 })).toEqual([runs[1]]);
  });
});
