import { describe, expect, it } from "vitest";
import { clusters, distantRows, newCore, residentRows } from "../../test/unit/vector/fixture.ts";
import { referenceNearest } from "./index/flat.reference.ts";
import { type Found, type Rows, rowStride } from "./index/segment-index.ts";
import { METRICS } from "./metric.ts";
import { QuerySlot } from "./query.ts";
import { rerank } from "./rerank.ts";

describe("the re-rank", () => {
  it("[VE-24] gives the nearest k of the candidates by exact distance, for rows in one extent, in several, or elsewhere", () => {
    const vectors = clusters({ count: 120, dimension: 11, centres: 6, spread: 0.5, seed: 5 }).map((c) => c.values);
    const core = newCore();
    const whole = residentRows(core, vectors, 11);
    const { at } = whole.resident![0]!;
    const cut = [at, at + 50 * rowStride(11)].map((start, i) => ({ at: start, count: i === 0 ? 50 : 70 }));
    const places: Rows[] = [whole, { ...whole, resident: cut }, distantRows(core, vectors, 11)];
    const candidates = Uint32Array.of(119, 3, 50, 49, 77, 8, 0);
    const found: Found = { rows: candidates, distances: new Float32Array(7), isExact: false, scanned: 7, plan: "walk" };
    for (const metric of METRICS) {
      const expected = referenceNearest(metric, vectors, vectors[60]!, (row) => candidates.includes(row));
      for (const rows of places) {
        for (const k of [0, 1, 5, 7, 20]) {
          const query = new QuerySlot(core, metric, 11).prepare(vectors[60]!);
          const ranked = rerank(core, { query, rows, found, k });
          expect([...ranked.rows]).toEqual(expected.slice(0, k).map(({ row }) => row));
          for (const [i, distance] of ranked.distances.entries())
            expect(distance).toBeCloseTo(expected[i]!.distance, 4);
        }
      }
    }
  });

  it("[VE-24] refuses a query of another dimension", () => {
    expect(() => new QuerySlot(newCore(), "dot", 3).prepare([1, 2])).toThrow("a query of 2 values for rows of 3");
  });
});
