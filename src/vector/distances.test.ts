import { describe, expect, it } from "vitest";
import { seededRandom } from "../../scripts/lib/seeded.mjs";
import { newCore } from "../../test/unit/vector/fixture.ts";
import { referenceCodeDistance, referenceDistance } from "./distances.reference.ts";
import { rowStride } from "./index/segment-index.ts";
import { METRIC_CODES } from "./kernels.ts";
import { METRICS } from "./metric.ts";

const DIMENSIONS = [
  1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 25, 31, 33, 63, 100, 127, 128, 129, 300, 513, 768, 1023, 1536, 4095, 4096,
];

function randomRow(dimension: number, random: () => number): Float32Array {
  return Float32Array.from({ length: dimension }, () => random() * 4 - 1.5);
}

describe("distance kernels", () => {
  it("[VE-4] float32 distances are those of the twin, for every metric and dimension, one row or four at a time", () => {
    const random = seededRandom(2);
    const { kernels, arena } = newCore();
    for (const dimension of DIMENSIONS) {
      const stride = rowStride(dimension);
      const at = arena.allocate(8 * stride, { zeroed: true });
      const vectors = Array.from({ length: 8 }, () => randomRow(dimension, random));
      for (const [i, values] of vectors.entries()) arena.f32.set(values, (at + i * stride) / 4);
      const lists = arena.allocate(64);
      const [query, ...rows] = vectors as [Float32Array, ...Float32Array[]];
      const inverse = 1 / Math.sqrt(kernels.squaredNorm(at, stride));
      for (const metric of METRICS) {
        const code = METRIC_CODES[metric];
        arena.words(lists, 7).set(rows.map((_, i) => at + (i + 1) * stride));
        kernels.distancesFloat(code, at, inverse, lists, 7, stride, lists + 32);
        const together = [...arena.floats(lists + 32, 7)];
        for (const [i, row] of rows.entries()) {
          const expected = referenceDistance(metric, query, row);
          const scale = metric === "cosine" ? 1 : Math.max(1, dimension);
          expect(Math.abs(together[i]! - expected), `${metric} ${dimension}`).toBeLessThan(2e-6 * scale);
          expect(kernels.distanceFloat(code, at, inverse, at + (i + 1) * stride, stride)).toBe(together[i]);
        }
      }
      arena.free(at);
      arena.free(lists);
    }
  });

  it("[VE-4] a row of zeros is at cosine distance 1, a row is at distance 0 of itself, and no distance is negative zero", () => {
    const { kernels, arena } = newCore();
    const stride = rowStride(6);
    const at = arena.allocate(2 * stride, { zeroed: true });
    arena.f32.set([0.1, -0.7, 3, 0.2, 0.3, 1.1], at / 4);
    const inverse = 1 / Math.sqrt(kernels.squaredNorm(at, stride));
    expect(kernels.distanceFloat(METRIC_CODES.cosine, at, inverse, at + stride, stride)).toBe(1);
    expect(kernels.distanceFloat(METRIC_CODES.cosine, at, inverse, at, stride)).toBeCloseTo(0, 6);
    expect(kernels.distanceFloat(METRIC_CODES.cosine, at, inverse, at, stride)).toBeGreaterThanOrEqual(0);
    expect(kernels.distanceFloat(METRIC_CODES.euclidean, at, inverse, at, stride)).toBe(0);
    expect(Object.is(kernels.distanceFloat(METRIC_CODES.dot, at, inverse, at + stride, stride), 0)).toBe(true);
  });

  it("[VE-5] distances of codes are exact integers, up to the greatest that a dimension can give", () => {
    const random = seededRandom(3);
    const { kernels, arena } = newCore();
    for (const dimension of DIMENSIONS) {
      const bytes = Math.ceil(dimension / 16) * 16;
      const at = arena.allocate(4 * bytes, { zeroed: true });
      const query = arena.allocate(2 * bytes, { zeroed: true });
      const out = arena.allocate(16);
      const extreme = dimension % 2 === 0;
      const value = (): number => (extreme ? (random() < 0.5 ? 0 : 255) : Math.floor(random() * 256));
      const rows = Array.from({ length: 4 }, () => Uint8Array.from({ length: dimension }, value));
      for (const [i, row] of rows.entries()) arena.u8.set(row, at + i * bytes);
      kernels.codesAsQuery(at, bytes, query);
      kernels.distancesCodes(query, at, bytes, bytes, out);
      for (const [i, row] of rows.entries()) {
        expect(arena.words(out, 4)[i]).toBe(referenceCodeDistance(rows[0]!, row));
        expect(kernels.distanceCodes(query, at + i * bytes, bytes) >>> 0).toBe(arena.words(out, 4)[i]);
      }
      for (const extent of [at, query, out]) arena.free(extent);
    }
  });
});
