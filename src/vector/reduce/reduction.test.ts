import { describe, expect, it } from "vitest";
import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { sift } from "../../../test/unit/vector/fixture.ts";
import { referenceNearest } from "../index/flat.reference.ts";
import { seededNormals } from "../quantize/seeded.ts";
import { referenceVariances } from "./pca.reference.ts";
import {
  MalformedReduction,
  type PcaOptions,
  randomReduction,
  readReduction,
  reduce,
  trainPca,
  writeReduction,
} from "./reduction.ts";

function pca(sample: readonly ArrayLike<number>[], options: PcaOptions) {
  const training = trainPca(sample, options);
  let pauses = 0;
  for (;;) {
    const step = training.next();
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
        expect(pauses).toBeGreaterThan(12);
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

  it("[VE-50] comes back as it was stored; bytes that are none are refused; so are wrong shapes", () => {
    const reduction = randomReduction({ from: 9, to: 4, seed: 5 });
    const bytes = writeReduction(reduction);
    expect(readReduction(bytes)).toEqual(reduction);
    const words = seededWords(3);
    let refused = 0;
    for (let run = 0; run < 300; run++) {
      const changed = bytes.slice();
      changed[words() % (run % 2 === 0 ? 24 : bytes.length)]! ^= 1 << (words() % 8);
      try {
        const { from, to, axes, mean } = readReduction(changed);
        expect([from, to, axes.length, mean.length]).toEqual([9, 4, 36, 9]);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedReduction);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
    for (const cut of [0, 23, bytes.length - 1])
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
