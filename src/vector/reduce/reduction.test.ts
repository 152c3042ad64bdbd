import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { newCore, residentRows, sift } from "../../../test/unit/vector/fixture.ts";
import { referenceNearest } from "../index/flat.reference.ts";
import { type RowExtent, rowStride } from "../index/segment-index.ts";
import { seededNormals } from "../quantize/seeded.ts";
import { referenceVariances } from "./pca.reference.ts";
import { type PcaOptions, trainPca } from "./pca.ts";
import { Projection } from "./reduced-index.ts";
import { MalformedReduction, randomReduction, readReduction, reduce, writeReduction } from "./reduction.ts";

function pca(sample: readonly ArrayLike<number>[], options: PcaOptions) {
  const core = newCore();
  const dimension = sample[0]!.length;
  const [{ at, count }] = residentRows(core, sample, dimension).resident as [RowExtent];
  const used = core.arena.usedBytes;
  const training = trainPca(core, { at, count, dimension }, options);
  let pauses = 0;
  for (;;) {
    const step = training.next();
    if (step.done) expect(core.arena.usedBytes).toBe(used);
    if (step.done) return { reduction: step.value, pauses };
    pauses++;
  }
}

/** Rows with much variance along few directions, off the origin. */
function flatRows(count: number, dimension: number): number[][] {
  const next = seededNormals(6);
  const directions = Array.from({ length: dimension }, () => Array.from({ length: dimension }, next));
  return Array.from({ length: count }, () => {
    const row = Array.from({ length: dimension }, () => 5);
    for (const [k, direction] of directions.entries()) {
      const along = next() * 0.6 ** k;
      for (let i = 0; i < dimension; i++) row[i]! += along * direction[i]!;
    }
    return row;
  });
}

describe("fewer values a vector", () => {
  it.each([true, false])(
    "[VE-47] PCA keeps as much variance as the twin finds, on axes at right angles (centred: %s)",
    (isCentred) => {
      const rows = flatRows(300, 16);
      const variances = referenceVariances(rows, isCentred);
      const all = variances.reduce((sum, variance) => sum + variance, 0);
      for (const to of [1, 3, 8, 16]) {
        const { reduction, pauses } = pca(rows, { to, seed: 3, isCentred });
        const best = variances.slice(0, to).reduce((sum, variance) => sum + variance, 0) / all;
        expect(reduction.keptShare).toBeGreaterThan(best - 1e-3);
        expect(reduction.keptShare).toBeLessThan(best + 1e-6);
        expect(pauses).toBeGreaterThanOrEqual(12);
        const axis = (i: number) => reduction.axes.subarray(i * 16, (i + 1) * 16);
        for (let i = 0; i < to; i++)
          for (let j = 0; j <= i; j++)
            expect(axis(i).reduce((sum, value, at) => sum + value * axis(j)[at]!, 0)).toBeCloseTo(i === j ? 1 : 0, 5);
      }
    },
  );

  it("[VE-47] rows with fewer directions than axes lose nothing; the same sample and seed give the same axes", () => {
    const rows = Array.from({ length: 40 }, (_, i) => [i, 2 * i, 0, 1]);
    const { reduction } = pca(rows, { to: 3, seed: 1, isCentred: true });
    expect(reduction.keptShare).toBeCloseTo(1, 6);
    expect(reduction.axes.every(Number.isFinite)).toBe(true);
    expect(pca(rows, { to: 3, seed: 1, isCentred: true }).reduction).toEqual(reduction);
  });

  it("[VE-48] a random projection keeps squared distances on average, and follows from its seed", () => {
    const next = seededNormals(2);
    const rows = Array.from({ length: 200 }, () => Array.from({ length: 200 }, next));
    const reduction = randomReduction({ from: 200, to: 50, seed: 9 });
    const ratios = rows.slice(1).map((row, i) => {
      const [a, b] = [reduce(reduction, row), reduce(reduction, rows[i]!)];
      const before = row.reduce((sum, value, at) => sum + (value - rows[i]![at]!) ** 2, 0);
      return a.reduce((sum, value, at) => sum + (value - b[at]!) ** 2, 0) / before;
    });
    const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
    expect(mean).toBeGreaterThan(0.95);
    expect(mean).toBeLessThan(1.05);
    for (const ratio of ratios) expect(Math.abs(ratio - 1)).toBeLessThan(1);
    expect(randomReduction({ from: 200, to: 50, seed: 9 })).toEqual(reduction);
    expect(randomReduction({ from: 200, to: 50, seed: 10 }).axes).not.toEqual(reduction.axes);
  });

  it("[VE-49] of real rows PCA to a half keeps the nearest among a few candidates, and more of them than a random projection", () => {
    const { rows, queries, truth } = sift();
    const sample = rows.filter((_, row) => row % 8 === 0);
    const recall = (reduction: Parameters<typeof reduce>[0]): number => {
      const reduced = rows.map((row) => reduce(reduction, row));
      let found = 0;
      for (const [i, query] of queries.slice(0, 30).entries()) {
        const best = referenceNearest("euclidean", reduced, reduce(reduction, query)).slice(0, 40);
        const near = new Set(best.map(({ row }) => row));
        found += truth[i]!.slice(0, 10).filter((row) => near.has(row)).length;
      }
      return found / 300;
    };
    const learned = recall(pca(sample, { to: 64, seed: 1, isCentred: true }).reduction);
    expect(learned).toBeGreaterThan(0.99);
    expect(learned).toBeGreaterThan(recall(randomReduction({ from: 128, to: 64, seed: 1 })));
  }, 60_000);

  it("[VE-255] the kernel gives the products of the twin, at every length, whatever rows stand beside", () => {
    const property = fc.property(
      fc.record({
        from: fc.integer({ min: 1, max: 90 }),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
        seed: fc.nat(),
      }),
      ({ from, share, seed }) => {
        const core = newCore();
        const to = Math.max(1, Math.round(share * from));
        const next = seededNormals(seed);
        const reduction = { ...randomReduction({ from, to, seed }), mean: Float32Array.from({ length: from }, next) };
        const rows = Array.from({ length: 1 + (seed % 7) }, () => Float32Array.from({ length: from }, next));
        const [{ at }] = residentRows(core, rows, from).resident as [RowExtent];
        const projection = new Projection(core, reduction);
        const stride = rowStride(to);
        const out = core.arena.allocate(rows.length * stride + 16);
        core.arena.bytes(out, rows.length * stride + 16).fill(0xee);
        projection.reduce(at, rows.length, out);
        for (const [row, values] of rows.entries()) {
          const found = core.arena.floats(out + row * stride, stride / 4).slice();
          for (const [axis, product] of reduce(reduction, values).entries())
            expect(Math.abs(found[axis]! - product)).toBeLessThan(1e-4);
          expect(found.subarray(to).every((value) => value === 0)).toBe(true);
          projection.reduce(at + row * rowStride(from), 1, out + rows.length * stride - stride);
          expect(core.arena.floats(out + rows.length * stride - stride, stride / 4)).toEqual(found);
          projection.reduce(at, rows.length, out);
        }
        expect([...core.arena.bytes(out + rows.length * stride, 16)]).toEqual(Array(16).fill(0xee));
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  it("[VE-255] a row at right angles to all axes keeps a direction: it can be found", () => {
    const core = newCore();
    const axes = Float32Array.of(1, 0, 0);
    const projection = new Projection(core, {
      kind: "pca",
      from: 3,
      to: 1,
      mean: new Float32Array(3),
      axes,
      keptShare: 1,
    });
    const [{ at }] = residentRows(core, [[0, 7, 9]], 3).resident as [RowExtent];
    const out = core.arena.allocate(16);
    projection.reduce(at, 1, out);
    expect(core.arena.floats(out, 1)[0]).toBeGreaterThan(0);
  });

  it("[VE-50] comes back as it was stored; bytes that are none are refused; so are wrong shapes", () => {
    const reduction = randomReduction({ from: 9, to: 4, seed: 5 });
    const bytes = writeReduction(reduction);
    expect(readReduction(bytes)).toEqual(reduction);
    const words = seededWords(3);
    let refused = 0;
    for (let run = 0; run < 300; run++) {
      const changed = bytes.slice();
      changed[words() % (run % 2 === 0 ? 32 : bytes.length)]! ^= 1 << (words() % 8);
      try {
        const { from, to, axes, mean } = readReduction(changed);
        expect([from, to, axes.length, mean.length]).toEqual([9, 4, 36, 9]);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedReduction);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
    for (const cut of [0, 31, bytes.length - 1])
      expect(() => readReduction(bytes.slice(0, cut))).toThrow(MalformedReduction);
    for (const [from, to] of [
      [4, 5],
      [0, 0],
      [4097, 2],
      [4, 1.5],
    ] as const)
      expect(() => randomReduction({ from, to, seed: 1 })).toThrow(RangeError);
    expect(() => reduce(reduction, [1, 2])).toThrow(/9/);
  });
});
