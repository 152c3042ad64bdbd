import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import {
  bitmapOf,
  buildHnsw,
  clusters,
  newCore,
  recallOf,
  residentRows,
  Searcher,
} from "../../../test/unit/vector/fixture.ts";
import { referenceNearest } from "./flat.reference.ts";
import type { Found } from "./segment-index.ts";

const COUNT = 12_000;
const DIMENSION = 16;
const SELECTIVITIES = [0.7, 0.5, 0.2, 0.1, 0.05, 0.01, 0.003, 0.001];

function world() {
  const made = clusters({ count: COUNT + 40, dimension: DIMENSION, centres: 60, spread: 0.5, seed: 31 });
  const core = newCore();
  const vectors = made.slice(0, COUNT).map(({ values }) => values);
  const rows = residentRows(core, vectors, DIMENSION);
  const index = buildHnsw(core, { rows, metric: "euclidean", parameters: { m: 16, efConstruction: 80 } });
  return { made, core, vectors, index, queries: made.slice(COUNT), searcher: new Searcher(core, rows, "euclidean") };
}

const shared = world();

/** Recall, and what was done, of all queries among the rows that `isAllowed` lets through for each. */
function ask(isAllowed: (row: number, query: number) => boolean, ef: number, isShared: boolean) {
  const { core, vectors, index, queries, searcher } = shared;
  const found: (readonly number[])[] = [];
  const truth: number[][] = [];
  const plans: Found["plan"][] = [];
  let allowed = 0;
  for (const [i, { values }] of queries.entries()) {
    if (!isShared || i === 0) {
      if (allowed !== 0) core.arena.free(allowed);
      const rows = vectors.map((_, row) => row).filter((row) => isAllowed(row, i));
      allowed = bitmapOf(core, COUNT, rows);
    }
    plans.push(searcher.candidates(index, values, { k: 10, ef, allowed }).plan);
    found.push(searcher.search(index, values, { k: 10, ef, allowed }));
    truth.push(
      referenceNearest("euclidean", vectors, values, (row) => isAllowed(row, i))
        .slice(0, 10)
        .map(({ row }) => row),
    );
  }
  core.arena.free(allowed);
  return { recall: recallOf(found, truth), plans, found };
}

describe("HNSW with filters", () => {
  it("[VE-18] recall stays above 0.95 from 70 to 0.1 percent of the rows, chosen at random", () => {
    for (const share of SELECTIVITIES) {
      const random = seededRandom(Math.round(share * 1000));
      const allowed = new Set(shared.vectors.map((_, row) => row).filter(() => random() < share));
      // 10 candidates only, so that the walk is taken where a larger ef would scan.
      for (const ef of [10, 64]) {
        const { recall, plans, found } = ask((row) => allowed.has(row), ef, true);
        if (ef === 64) expect(recall, `${share}`).toBeGreaterThan(0.95);
        for (const rows of found) expect(rows.every((row) => allowed.has(row))).toBe(true);
        if (share === 0.001) expect(new Set(plans)).toEqual(new Set(["scan"]));
        if (share >= 0.5 || (ef === 10 && share >= 0.2)) expect(plans).toContain("filtered-walk");
      }
    }
  });

  it("[VE-18] recall stays when filter and query disagree: only rows of other clusters, or of one far away", () => {
    const { made, queries } = shared;
    for (const ef of [64, 100]) {
      const others = ask((row, i) => made[row]!.centre !== queries[i]!.centre, ef, false);
      expect(others.recall).toBeGreaterThan(0.95);
      const far = ask((row, i) => Math.abs(made[row]!.centre - queries[i]!.centre) % 60 > 45, ef, false);
      expect(far.recall).toBeGreaterThan(0.95);
    }
  });

  it("[VE-19] never gives a deleted row, and gives k rows while so many live", () => {
    const { core, index, queries, searcher, made } = shared;
    const random = seededRandom(77);
    for (const share of [0.01, 0.3, 0.7, 0.99, 1]) {
      const gone = new Set(
        made
          .slice(0, COUNT)
          .map((_, row) => row)
          .filter(() => random() < share),
      );
      // What is nearest to the query is gone in any case.
      for (const [row, { centre }] of made.slice(0, COUNT).entries()) if (centre === queries[0]!.centre) gone.add(row);
      const deleted = bitmapOf(core, COUNT, gone);
      for (const k of [1, 10, 500]) {
        const found = searcher.search(index, queries[0]!.values, { k, deleted });
        expect(found).toHaveLength(Math.min(k, COUNT - gone.size));
        expect(found.some((row) => gone.has(row))).toBe(false);
      }
      core.arena.free(deleted);
    }
  });

  it("[VE-19] both kinds of filtered walk give live rows only, nearest first, each once, and count their work", () => {
    const { core, index, queries } = shared;
    const { kernels, workspace, arena } = core;
    const random = seededRandom(78);
    const allowed = bitmapOf(
      core,
      COUNT,
      shared.vectors.map((_, row) => row).filter(() => random() < 0.15),
    );
    const isAllowed = (row: number): boolean => ((arena.u32[allowed / 4 + (row >> 5)]! >>> (row & 31)) & 1) === 1;
    const { shape, at } = index.graph;
    for (const walk of [kernels.hnswSearchAmong, kernels.hnswSearchSparse]) {
      for (const [budget, isEnough] of [
        [1_000_000, true],
        [40, false],
      ] as const) {
        const scratch = workspace.forWalk({ rows: shape.rows, keys: 1024, codeBytes: shape.stride });
        const out = workspace.reserve("out", 16);
        const query = arena.allocate(shape.stride * 2, { zeroed: true });
        const map = index.form.quantizer === "int8" ? index.form.map : undefined;
        new Int16Array(arena.u8.buffer, query, DIMENSION).set(
          queries[5]!.values.map((value) => Math.round((value - map!.low) / map!.step)),
        );
        const size = walk(at, scratch, 0, query, 80, allowed, 0, budget, out);
        const work = arena.u32[out / 4]!;
        expect(work > budget).toBe(!isEnough);
        if (isEnough) expect(size).toBe(80);
        const pool = arena.words(scratch, 4)[3]!;
        const keys = Array.from(
          { length: size },
          (_, i) => [arena.u32[pool / 4 + 2 * i + 1]!, arena.u32[pool / 4 + 2 * i]! >>> 1] as const,
        );
        expect(new Set(keys.map(([, row]) => row)).size).toBe(size);
        for (const [i, [distance, row]] of keys.entries()) {
          expect(isAllowed(row)).toBe(true);
          if (i > 0) expect(distance).toBeGreaterThanOrEqual(keys[i - 1]![0]);
        }
        arena.free(query);
      }
    }
  });

  it("[VE-19] a walk that would cost more than a scan is given up for it", () => {
    const { made, queries } = shared;
    const centre = queries[3]!.centre;
    // Half of the rows, none of them near: walking over the others first is no use. Thousands are about as far away, so that codes
    // alone could not tell the nearest: the re-rank is asked for more of them.
    const far = new Set(
      referenceNearest("euclidean", shared.vectors, queries[3]!.values)
        .slice(COUNT / 2)
        .map(({ row }) => row),
    );
    expect(made[[...far][0]!]!.centre).not.toBe(centre);
    const allowed = bitmapOf(shared.core, COUNT, far);
    const found = shared.searcher.candidates(shared.index, queries[3]!.values, { k: 10, ef: 200, allowed });
    expect(found.plan).toBe("walk-then-scan");
    const truth = referenceNearest("euclidean", shared.vectors, queries[3]!.values, (row) => far.has(row));
    const rows = shared.searcher.search(shared.index, queries[3]!.values, { k: 10, ef: 200, rerank: 1500, allowed });
    expect(recallOf([rows], [truth.slice(0, 10).map(({ row }) => row)])).toBeGreaterThan(0.9);
  });
});
