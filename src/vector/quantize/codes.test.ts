// The 1-bit and product codes against their twins.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import { finish, newCore, recallOf, residentRows, Searcher, sift } from "../../../test/unit/vector/fixture.ts";
import { CellBuilder } from "../index/cell-builder.ts";
import { codeShape, encodeBlocks, tableOf } from "../index/cell-codes.ts";
import type { VectorCore } from "../kernels.ts";
import { referenceProductDistance, referenceProducts } from "./pq.reference.ts";
import { type ReferenceCode, referenceCode, referenceEstimate, referenceRotation } from "./rabitq.reference.ts";
import { paddedLength, rotationSigns, rotationWindow } from "./rotation.ts";
import { seededNormals } from "./seeded.ts";

function floatsAt({ arena }: VectorCore, values: ArrayLike<number>): number {
  const at = arena.allocate(values.length * 4);
  arena.f32.set(values, at / 4);
  return at;
}

function rotated(core: VectorCore, values: ArrayLike<number>, padded: number, seed: number): Float32Array {
  const at = floatsAt(
    core,
    Float32Array.from({ length: padded }, (_, i) => values[i] ?? 0),
  );
  const signs = floatsAt(core, rotationSigns(padded, seed));
  core.kernels.rotateRows(at, 1, padded, rotationWindow(padded), signs, 0);
  return core.arena.floats(at, padded).slice();
}

function nibble(bytes: Uint8Array, group: number, row: number): number {
  const part = row >> 3;
  return (bytes[group * 16 + ((row & 7) << 1) + (part & 1)]! >> ((part >> 1) * 4)) & 15;
}

function normals(count: number, length: number, seed: number): Float32Array[] {
  const next = seededNormals(seed);
  return Array.from({ length: count }, () => Float32Array.from({ length }, next));
}

/** Rows of one cell in blocks, and the estimates that a scan gives of them. */
function coded(quantizer: "rabitq" | "pq", rows: readonly Float32Array[], extra: ArrayLike<number>) {
  const core = newCore();
  const length = rows[0]!.length;
  const shape = codeShape(quantizer, length);
  const blocks = core.arena.allocate(Math.ceil(rows.length / 32) * shape.blockBytes, { zeroed: true });
  const at = core.arena.allocate(rows.length * length * 4);
  for (const [i, row] of rows.entries()) core.arena.f32.set(row, at / 4 + i * length);
  const slots = core.arena.allocate(rows.length * 4);
  core.arena.words(slots, rows.length).set(rows.map((_, row) => row));
  const place = floatsAt(core, extra);
  const places = { centroids: place, centres: place, blocks };
  encodeBlocks(core, shape, places, { at, count: rows.length, slots, cellOf: 0 });
  const codeOf = (row: number): number[] => {
    const bytes = core.arena.bytes(blocks + (row >> 5) * shape.blockBytes, shape.groups * 16);
    return Array.from({ length: shape.groups }, (_, group) => nibble(bytes, group, row & 31));
  };
  const estimates = (query: Float32Array, squared: number) => {
    const table = tableOf(core, shape, place, floatsAt(core, query));
    const heap = core.arena.allocate(16 + rows.length * 8, { zeroed: true });
    const kept = core.arena.allocate(16 + rows.length * 12, { zeroed: true });
    const [step, bias] = [table.step, table.bias];
    const hasFactors = quantizer === "rabitq" ? 1 : 0;
    const reach = Math.sqrt(squared);
    core.kernels.scanBlocks(
      ...([blocks, shape.groups, hasFactors, table.at, 0, rows.length, step, bias] as const),
      ...([hasFactors * squared, reach, 0, 0, heap, rows.length, kept] as const),
    );
    const found = new Map<number, { squared: number; error: number }>();
    for (let i = 0; i < core.arena.u32[kept / 4]!; i++) {
      const [estimate, lowest] = core.arena.floats(kept + 16 + i * 12, 2) as unknown as [number, number];
      found.set(core.arena.u32[(kept + 16 + i * 12) / 4 + 2]!, { squared: estimate, error: estimate - lowest });
    }
    return { found, step };
  };
  return { codeOf, estimates, shape };
}

describe("1-bit codes", () => {
  it("[VE-30] the rotation is that of the twin at every length, and keeps distances", () => {
    const core = newCore();
    for (const dimension of [1, 63, 64, 65, 192, 300, 768, 1536, 4096]) {
      const padded = paddedLength(dimension);
      const [row] = normals(1, dimension, dimension) as [Float32Array];
      const found = rotated(core, row, padded, 7);
      const expected = referenceRotation(row, padded, 7);
      for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 3);
      expect(Math.hypot(...found)).toBeCloseTo(Math.hypot(...row), 2);
      expect(rotated(core, row, padded, 8)).not.toEqual(found);
    }
  });

  it("[VE-31] codes are those of the twin, and estimates differ from its by the rounding of the table only", () => {
    const property = fc.property(
      fc.record({
        blocks: fc.constantFrom(1, 2, 3, 5, 12, 33),
        count: fc.integer({ min: 1, max: 100 }),
        seed: fc.nat(),
        away: fc.constantFrom(0, 3),
      }),
      ({ blocks, count, seed, away }) => {
        const length = blocks * 64;
        const [centroid, query, ...rows] = normals(count + 2, length, seed);
        const moved = centroid!.map((value) => value * away);
        // One row is its centroid.
        rows[0] = moved;
        const { codeOf, estimates } = coded("rabitq", rows, moved);
        const squared = query!.reduce((sum, value, i) => sum + (value - moved[i]!) ** 2, 0);
        const { found, step } = estimates(query!, squared);
        for (const [row, values] of rows.entries()) {
          const code: ReferenceCode = referenceCode(values, moved);
          const bits = codeOf(row).flatMap((group) => [0, 1, 2, 3].map((bit) => ((group >> bit) & 1) === 1));
          expect(bits).toEqual(code.bits);
          const expected = referenceEstimate(code, moved, query!, 1);
          const scale = code.length === 0 ? 0 : (4 * code.length) / code.likeness / Math.sqrt(length);
          const off = (scale * step * (length / 4)) / 2 + 1e-4 * (squared + code.length ** 2);
          expect(Math.abs(found.get(row)!.squared - expected.squared)).toBeLessThanOrEqual(off);
          expect(found.get(row)!.error).toBeCloseTo(expected.error, 1);
        }
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  it("[VE-32] codes are like their rows: 0.79 to 0.81 in the mean, whatever the rows; a bound holds for nearly all", () => {
    for (const dimension of [25, 128, 768]) {
      const random = seededRandom(dimension);
      const rows = Array.from({ length: 400 }, () =>
        referenceRotation(
          Array.from({ length: dimension }, () => Math.floor(random() ** 4 * 256)),
          paddedLength(dimension),
          5,
        ),
      );
      const length = paddedLength(dimension);
      const mean = Array.from({ length }, (_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length);
      const codes = rows.map((row) => referenceCode(row, mean));
      const likeness = codes.reduce((sum, code) => sum + code.likeness, 0) / codes.length;
      expect(likeness).toBeGreaterThan(0.79);
      expect(likeness).toBeLessThan(0.81);
      const [query, ...others] = rows;
      const { estimates } = coded(
        "rabitq",
        others.map((row) => Float32Array.from(row)),
        mean,
      );
      const { found } = estimates(
        Float32Array.from(query!),
        query!.reduce((sum, q, i) => sum + (q - mean[i]!) ** 2, 0),
      );
      const held = others.filter((row, i) => {
        const squared = row.reduce((sum, value, j) => sum + (value - query![j]!) ** 2, 0);
        return Math.abs(found.get(i)!.squared - squared) <= 2.2 * found.get(i)!.error;
      });
      expect(held.length / others.length).toBeGreaterThan(0.93);
    }
  });

  it("[VE-33] as many of the true nearest are among the best estimates as by the twin", () => {
    const { rows: vectors, queries, truth } = sift();
    const core = newCore();
    const rows = residentRows(core, vectors, 128);
    const searcher = new Searcher(core, rows, "euclidean");
    const index = finish(new CellBuilder(core, { rows, metric: "euclidean", kind: "FLAT", quantizer: "rabitq" }));
    const mean = Array.from({ length: 128 }, (_, i) => vectors.reduce((sum, row) => sum + row[i]!, 0) / vectors.length);
    const centred = (row: readonly number[]) =>
      referenceRotation(
        row.map((value, i) => value - mean[i]!),
        128,
        1,
      );
    const zero = new Float64Array(128);
    const codes = vectors.map((row) => referenceCode(centred(row), zero));
    const asked = queries.slice(0, 100);
    const nearest = truth.slice(0, 100).map((row) => row.slice(0, 10));
    const twin = asked.map((query) => {
      const at = centred(query);
      const estimates = codes.map((code, row) => [referenceEstimate(code, zero, at, 0).squared, row] as const);
      return estimates.sort((a, b) => a[0] - b[0]).map(([, row]) => row);
    });
    for (const candidates of [20, 50, 100]) {
      const found = asked.map((query) => [...searcher.candidates(index, query, { k: 10, rerank: candidates }).rows]);
      const expected = recallOf(
        twin.map((rows) => rows.slice(0, candidates)),
        nearest,
      );
      expect(Math.abs(recallOf(found, nearest) - expected)).toBeLessThan(0.02);
    }
  }, 60_000);
});

describe("product codes", () => {
  it("[VE-34] are those of the twin, and estimates differ from its by the rounding of the table only", () => {
    const property = fc.property(
      fc.record({ blocks: fc.constantFrom(1, 2, 3, 40), count: fc.integer({ min: 1, max: 70 }), seed: fc.nat() }),
      ({ blocks, count, seed }) => {
        const length = blocks * 64;
        const [query, ...rows] = normals(count + 1, length, seed);
        const centres = normals(16, length, seed + 1).flatMap((values) => [...values]);
        const { codeOf, estimates, shape } = coded("pq", rows, centres);
        expect(shape.width).toBe(length > 2048 ? 4 : 2);
        const { found, step } = estimates(query!, 0);
        for (const [row, values] of rows.entries()) {
          const code = referenceProducts(values, centres, shape.width);
          expect(codeOf(row)).toEqual(code);
          const expected = referenceProductDistance(query!, code, centres, shape.width);
          expect(Math.abs(found.get(row)!.squared - expected)).toBeLessThanOrEqual((step * shape.groups) / 2 + 1e-2);
        }
      },
    );
    fc.assert(property, { numRuns: 40 });
  });
});
