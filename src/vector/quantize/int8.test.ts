import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import { distantRows, finish, newCore, residentRows } from "../../../test/unit/vector/fixture.ts";
import { referenceDistance } from "../distances.reference.ts";
import { FlatBuilder } from "../index/flat-builder.ts";
import type { FlatCodes } from "../index/flat-index.ts";
import { RowSurvey } from "../index/row-survey.ts";
import { METRICS, type Metric } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { referenceCodes, referenceExtras } from "./int8.reference.ts";
import { codeStride, encodeQuery } from "./int8.ts";

function randomRows(shape: { count: number; dimension: number; seed: number; scale?: number }): Float32Array[] {
  const random = seededRandom(shape.seed);
  const { count, dimension, scale = 1 } = shape;
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: dimension }, () => (random() + random() + random() - 1.5) * scale),
  );
}

function codesOf(vectors: readonly ArrayLike<number>[], metric: Metric) {
  const core = newCore();
  const rows = residentRows(core, vectors, vectors[0]!.length);
  const index = finish<FlatCodes>(new FlatBuilder(core, { rows, metric, quantizer: "int8" }));
  const stride = codeStride(index.map);
  const codes = vectors.map((_, row) => core.arena.bytes(index.codes + row * stride, stride).slice());
  return { core, index, codes, map: index.map };
}

describe("the int8 quantizer", () => {
  it("[VE-6] bytes are their own codes, and whole numbers within a range of 256 lose nothing", () => {
    const random = seededRandom(5);
    for (const [low, high] of [
      [0, 255],
      [-128, 127],
      [1000, 1255],
      [3, 90],
      [-7, -7],
    ] as const) {
      const vectors = Array.from({ length: 40 }, () =>
        Float32Array.from({ length: 19 }, () => low + Math.floor(random() * (high - low + 1))),
      );
      const { core, index, codes, map } = codesOf(vectors, "euclidean");
      expect(map.isExact).toBe(true);
      for (const [row, values] of vectors.entries())
        expect([...codes[row]!.subarray(0, 19)].map((code) => code + map.low)).toEqual([...values]);
      const slot = new QuerySlot(core, "euclidean", 19);
      const found = index.search(slot.prepare(vectors[0]!), { k: 40, effort: {} });
      expect(found.isExact).toBe(true);
      for (const [i, row] of found.rows.entries())
        expect(found.distances[i]).toBe(referenceDistance("euclidean", vectors[0]!, vectors[row]!));
    }
  });

  it("[VE-6] one fraction among whole numbers, or a query that is none, makes results estimates", () => {
    const vectors = Array.from({ length: 10 }, (_, row) =>
      Float32Array.from({ length: 5 }, (_value, i) => row * 3 + i),
    );
    const exact = codesOf(vectors, "euclidean");
    const slot = new QuerySlot(exact.core, "euclidean", 5);
    const isExact = (query: number[]): boolean => exact.index.search(slot.prepare(query), { k: 1, effort: {} }).isExact;
    expect(isExact([1, 2, 3, 4, 5])).toBe(true);
    expect(isExact([1, 2, 3, 4, 5.5])).toBe(false);
    expect(isExact([1, 2, 3.25, 4, 5])).toBe(false);
    vectors[7]![4]! += 0.5;
    expect(codesOf(vectors, "euclidean").map.isExact).toBe(false);
  });

  it("[VE-7] codes are those of the twin, for every metric and odd dimensions, padded with zeros", () => {
    for (const dimension of [1, 3, 4, 7, 16, 17, 31, 100, 129]) {
      const vectors = randomRows({ count: 30, dimension, seed: dimension });
      for (const metric of METRICS) {
        const { codes, map } = codesOf(vectors, metric);
        for (const [row, values] of vectors.entries()) {
          const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
          const expected = referenceCodes(map, values, metric === "cosine" ? 1 / norm : 1);
          const got = [...codes[row]!.subarray(0, dimension)];
          // The norm is summed in another order: a value on the edge between two codes may fall on either.
          expect(Math.max(...got.map((code, i) => Math.abs(code - expected[i]!)))).toBeLessThanOrEqual(
            metric === "cosine" ? 1 : 0,
          );
          expect(got.filter((code, i) => code !== expected[i]).length).toBeLessThanOrEqual(2);
          expect(codes[row]!.subarray(dimension + map.extras).every((code) => code === 0)).toBe(true);
        }
      }
    }
  });

  it("[VE-7] estimates are near the distances, for every metric, rows of uneven norms and queries of any length", () => {
    const random = seededRandom(8);
    const vectors = randomRows({ count: 300, dimension: 64, seed: 9 });
    for (const values of vectors) {
      const factor = 0.3 + 2 * random();
      for (let i = 0; i < values.length; i++) values[i]! *= factor;
    }
    for (const metric of METRICS) {
      const { core, index } = codesOf(vectors, metric);
      const slot = new QuerySlot(core, metric, 64);
      for (const length of [0.01, 1, 300]) {
        const query = vectors[3]!.map((value, i) => (value + (i % 3) * 0.1) * (metric === "euclidean" ? 1 : length));
        const found = index.search(slot.prepare(query), { k: 300, effort: {} });
        const all = vectors.map((values) => referenceDistance(metric, query, values));
        const spread = Math.max(...all) - Math.min(...all);
        expect(found.rows.length).toBe(300);
        for (const [i, row] of found.rows.entries())
          expect(Math.abs(found.distances[i]! - all[row]!), `${metric} ${length}`).toBeLessThan(0.03 * spread);
      }
    }
  });

  it("[VE-7] the extra codes of dot hold what a norm lacks, to within half a value's step", () => {
    const vectors = randomRows({ count: 200, dimension: 48, seed: 10 });
    for (const [row, values] of vectors.entries()) for (let i = 0; i < 48; i++) values[i]! *= 0.1 + row / 100;
    const { codes, map } = codesOf(vectors, "dot");
    expect(map.radius).toBeCloseTo(Math.max(...vectors.map((v) => v.reduce((sum, x) => sum + x * x, 0))), 3);
    for (const [row, values] of vectors.entries()) {
      const missing = (map.radius - values.reduce((sum, x) => sum + x * x, 0)) / map.step ** 2;
      const held = referenceExtras(map, codes[row]!);
      expect(Math.abs(held - missing)).toBeLessThanOrEqual(2 * Math.sqrt(missing / map.extras) + 2);
    }
  });

  it("[VE-7] a query far outside of the rows' range still orders them", () => {
    const vectors = randomRows({ count: 100, dimension: 32, seed: 11 });
    const { core, index } = codesOf(vectors, "euclidean");
    const slot = new QuerySlot(core, "euclidean", 32);
    const query = Float32Array.from({ length: 32 }, (_, i) => (i === 5 ? 40 : 0));
    const found = index.search(slot.prepare(query), { k: 20, effort: { rerank: 20 } });
    const nearest = vectors
      .map((values, row) => ({ row, distance: referenceDistance("euclidean", query, values) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, 10);
    const rows = new Set(found.rows);
    expect(nearest.filter(({ row }) => rows.has(row)).length).toBeGreaterThanOrEqual(9);
    const encoded = encodeQuery(core, index.map, slot.prepare(query));
    const code = new Int16Array(core.arena.u8.buffer, encoded.at, 32)[5]!;
    expect(code).toBeGreaterThan(255);
  });

  it("[VE-8] rows that cannot be compared are named and never found; the others are", () => {
    const vectors = randomRows({ count: 50, dimension: 9, seed: 12 });
    vectors[4]![8] = Number.NaN;
    vectors[17]![0] = Number.POSITIVE_INFINITY;
    vectors[30]!.fill(1e30);
    vectors[41]!.fill(0);
    for (const metric of METRICS) {
      const core = newCore();
      const rows = distantRows(core, vectors, 9);
      const survey = new RowSurvey(core, rows, metric);
      survey.look(0, 20);
      survey.look(20, 50);
      const bad = metric === "cosine" ? [4, 17, 30, 41] : [4, 17, 30];
      expect(survey.quarantined).toEqual(bad);
      expect(survey.found.high).toBeLessThan(2);
      const builder = new FlatBuilder(core, { rows, metric, quantizer: "int8" });
      const index = finish<FlatCodes>(builder);
      expect(builder.quarantined).toEqual(bad);
      const found = index.search(new QuerySlot(core, metric, 9).prepare(vectors[0]!), { k: 50, effort: {} });
      expect([...found.rows].sort((a, b) => a - b)).toEqual(
        vectors.map((_, row) => row).filter((r) => !bad.includes(r)),
      );
    }
  });
});
