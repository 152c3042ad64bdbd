import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  buildHnsw,
  clusters,
  distantRows,
  newCore,
  recallOf,
  residentRows,
  Searcher,
  sift,
} from "../../../test/unit/vector/fixture.ts";
import { ArenaFull } from "../arena.ts";
import type { VectorCore } from "../kernels.ts";
import { METRICS } from "../metric.ts";
import { referenceNearest } from "./flat.reference.ts";
import { ReferenceHnsw } from "./hnsw.reference.ts";
import { HnswBuilder } from "./hnsw-builder.ts";
import { levelOf } from "./hnsw-graph.ts";
import type { HnswIndex } from "./hnsw-index.ts";

const NONE = 0xffff_ffff;

/** The links of a graph by level, then row. */
function linksOf({ arena }: VectorCore, { graph }: HnswIndex): Map<number, number[]>[] {
  const { rows, m } = graph.shape;
  const { links, upperAt, upper } = graph.parts;
  const levels: Map<number, number[]>[] = [];
  for (let row = 0; row < rows; row++) {
    for (let level = 0; level <= graph.levelOf(row); level++) {
      const at =
        level === 0 ? links / 4 + row * 2 * m : upper / 4 + arena.u32[upperAt / 4 + row]! + 1 + (level - 1) * m;
      const list = [...arena.u32.subarray(at, at + (level === 0 ? 2 * m : m))];
      levels[level] ??= new Map();
      levels[level]!.set(
        row,
        list.filter((link) => link !== NONE),
      );
    }
  }
  return levels;
}

/** Rows of the pool of a walk, without the shortcuts that a search takes for small segments. */
function walk(core: VectorCore, index: HnswIndex, query: readonly number[], ef: number): number[] {
  const { kernels, arena, workspace } = core;
  const { shape, at } = index.graph;
  const scratch = workspace.forWalk({ rows: shape.rows, keys: ef, codeBytes: shape.stride });
  const isCodes = index.form.quantizer === "int8";
  const form = arena.allocate(shape.stride * 2, { zeroed: true });
  const low = index.form.quantizer === "int8" ? index.form.map.low : 0;
  if (isCodes) new Int16Array(arena.u8.buffer, form, query.length).set(query.map((value) => value - low));
  else arena.f32.set(query, form / 4);
  const size = kernels.hnswSearch(at, scratch, isCodes ? 0 : 1, form, ef);
  const pool = arena.words(scratch, 4)[3]!;
  const rows = Array.from({ length: size }, (_, i) => arena.u32[pool / 4 + 2 * i]! >>> 1);
  arena.free(form);
  return rows;
}

const smallCase = fc.integer({ min: 1, max: 20 }).chain((dimension) =>
  fc.record({
    vectors: fc.array(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: dimension, maxLength: dimension }), {
      minLength: 1,
      maxLength: 150,
    }),
    queries: fc.array(fc.array(fc.integer({ min: -3, max: 9 }), { minLength: dimension, maxLength: dimension }), {
      minLength: 3,
      maxLength: 3,
    }),
    m: fc.integer({ min: 2, max: 9 }),
    efConstruction: fc.integer({ min: 1, max: 40 }),
    ef: fc.integer({ min: 1, max: 60 }),
    quantizer: fc.constantFrom("int8" as const, "none" as const),
  }),
);

describe("HNSW graphs", () => {
  it("[VE-14] the kernels build the graph of the twin, link by link, and walk it alike", () => {
    const property = fc.property(smallCase, ({ vectors, queries, m, efConstruction, ef, quantizer }) => {
      const core = newCore();
      const rows = residentRows(core, vectors, vectors[0]!.length);
      const index = buildHnsw(core, { rows, metric: "euclidean", parameters: { m, efConstruction, quantizer } });
      const twin = new ReferenceHnsw(vectors, m);
      for (const row of vectors.keys()) twin.insert(row, levelOf(row, m), efConstruction);
      expect(index.graph.entry).toEqual({ row: twin.graph.entry, level: twin.graph.top });
      expect(linksOf(core, index)).toEqual(twin.graph.links);
      for (const query of queries) expect(walk(core, index, query, ef)).toEqual(twin.search(query, ef));
    });
    fc.assert(property, { numRuns: 250 });
  });

  it("[VE-15] lists name other rows of their level, each once, and no more than their width", () => {
    const { rows: vectors } = sift();
    for (const m of [2, 16, 64]) {
      const core = newCore();
      const rows = residentRows(core, vectors.slice(0, 1500), 128);
      const index = buildHnsw(core, { rows, metric: "euclidean", parameters: { m, efConstruction: 40 } });
      for (const [level, lists] of linksOf(core, index).entries()) {
        for (const [row, links] of lists) {
          expect(links.length).toBeLessThanOrEqual(level === 0 ? 2 * m : m);
          expect(new Set(links).size).toBe(links.length);
          expect(links).not.toContain(row);
          for (const link of links) expect(index.graph.levelOf(link)).toBeGreaterThanOrEqual(level);
        }
      }
    }
  });

  it("[VE-15] the same rows give the same graph, however the steps are cut and wherever the rows are", () => {
    const vectors = clusters({ count: 700, dimension: 24, centres: 10, spread: 0.5, seed: 3 }).map((c) => c.values);
    for (const metric of METRICS) {
      for (const quantizer of ["int8", "none"] as const) {
        const graphs = [1, 33, 100_000].flatMap((slice) =>
          [residentRows, distantRows].map((place) => {
            const core = newCore();
            const rows = place(core, vectors, 24);
            return linksOf(core, buildHnsw(core, { rows, metric, parameters: { quantizer } }, slice));
          }),
        );
        for (const graph of graphs.slice(1)) expect(graph).toEqual(graphs[0]);
      }
    }
  });

  it("[VE-16] progress grows to 1, and a step does no more than it was allowed", () => {
    const vectors = clusters({ count: 900, dimension: 8, centres: 10, spread: 0.5, seed: 3 }).map((c) => c.values);
    const core = newCore();
    const reads: number[] = [];
    const distant = distantRows(core, vectors, 8);
    const rows = {
      ...distant,
      read: (from: number, count: number, into: number) => {
        reads.push(from, from + count);
        distant.read(from, count, into);
      },
    };
    const builder = new HnswBuilder(core, { rows, metric: "cosine" });
    let before = 0;
    let steps = 0;
    for (let isDone = false; !isDone; steps++) {
      const needed = builder.needs({ rows: 4 });
      reads.length = 0;
      isDone = builder.step({ rows: 4 });
      expect(Math.min(...reads, needed.to)).toBeGreaterThanOrEqual(needed.from);
      expect(Math.max(...reads, needed.from)).toBeLessThanOrEqual(needed.to);
      expect(builder.progress).toBeGreaterThanOrEqual(before);
      before = builder.progress;
    }
    expect(before).toBe(1);
    expect(steps).toBeGreaterThan(900 / 4);
    expect(() => new HnswBuilder(core, { rows, metric: "cosine" }).finish()).toThrow(/not complete/);
  });

  it("[VE-16] an abandoned build and one that finds the arena full give all memory back", () => {
    const vectors = clusters({ count: 600, dimension: 16, centres: 10, spread: 0.5, seed: 3 }).map((c) => c.values);
    const outcomes = new Set<string>();
    for (let budgetBytes = 60_000; budgetBytes < 460_000; budgetBytes += 10_000) {
      const core = newCore(budgetBytes);
      const rows = residentRows(core, vectors, 16);
      const builder = new HnswBuilder(core, { rows, metric: "dot" });
      const stopAfter = budgetBytes / 10_000;
      try {
        let isDone = false;
        for (let step = 0; !isDone && step < stopAfter; step++) isDone = builder.step({ rows: 20 });
        outcomes.add(isDone ? "built" : "abandoned");
        if (isDone) builder.finish().release();
        else builder.abandon();
      } catch (error) {
        expect(error).toBeInstanceOf(ArenaFull);
        outcomes.add("full");
        builder.abandon();
      }
      core.workspace.release();
      core.arena.free(rows.resident![0]!.at);
      expect(core.arena.usedBytes, `${budgetBytes}`).toBe(0);
    }
    expect(outcomes).toEqual(new Set(["full", "abandoned", "built"]));
  });

  it("[VE-16] parameters out of bounds are refused, with value and bounds", () => {
    const core = newCore();
    const rows = residentRows(core, [[1]], 1);
    const build = (parameters: object) => () => new HnswBuilder(core, { rows, metric: "dot", parameters });
    expect(build({ m: 1 })).toThrow("m must be 2 to 64, got 1");
    expect(build({ m: 65 })).toThrow("m must be 2 to 64, got 65");
    expect(build({ m: 2.5 })).toThrow(RangeError);
    expect(build({ efConstruction: 0 })).toThrow("efConstruction must be 1 to 1000, got 0");
  });
});

describe("recall of HNSW", () => {
  it("[VE-17] on real rows: 0.95 of the ten nearest at ef 32, 0.99 at ef 80, by codes and by float32", () => {
    const { rows: vectors, queries, truth } = sift();
    const core = newCore();
    const rows = residentRows(core, vectors, 128);
    const expected = truth.map((nearest) => nearest.slice(0, 10));
    const searcher = new Searcher(core, rows, "euclidean");
    for (const quantizer of ["int8", "none"] as const) {
      const index = buildHnsw(core, { rows, metric: "euclidean", parameters: { quantizer } });
      const recall = (ef: number) =>
        recallOf(
          queries.map((query) => searcher.search(index, query, { k: 10, ef })),
          expected,
        );
      expect(recall(32)).toBeGreaterThan(0.95);
      expect(recall(80)).toBeGreaterThan(0.99);
      const found = searcher.candidates(index, queries[0]!, { k: 10, ef: 24 });
      expect(found).toMatchObject({ plan: "walk", isExact: true });
      expect(found.scanned).toBeLessThan(2000);
      index.release();
    }
  });

  it("[VE-17] on clusters under every metric, for dot with norms that differ by the tenfold", () => {
    const made = clusters({ count: 8000, dimension: 32, centres: 150, spread: 0.6, seed: 21 });
    const core = newCore();
    for (const metric of METRICS) {
      const vectors = made.map(({ values }, row) =>
        metric === "dot" ? values.map((value) => value * Math.exp(((row * 7919) % 1000) / 434 - 1.15)) : values,
      );
      const rows = residentRows(core, vectors, 32);
      const queries = vectors
        .filter((_, row) => row % 80 === 0)
        .map((values, i) => values.map((value) => value + (i % 7) * 0.03));
      const truth = queries.map((query) =>
        referenceNearest(metric, vectors, query)
          .slice(0, 10)
          .map(({ row }) => row),
      );
      const searcher = new Searcher(core, rows, metric);
      for (const quantizer of ["int8", "none"] as const) {
        const index = buildHnsw(core, { rows, metric, parameters: { quantizer } });
        // Queries under dot lie off the rows' sphere: they need a wider walk for the same recall.
        const ef = metric === "dot" ? 200 : 100;
        const found = queries.map((query) => searcher.search(index, query, { k: 10, ef }));
        expect(recallOf(found, truth), `${metric} ${quantizer}`).toBeGreaterThan(0.95);
        expect(searcher.candidates(index, queries[0]!, { k: 10, ef }).plan).toBe("walk");
        index.release();
      }
      core.arena.free(rows.resident![0]!.at);
    }
  });

  it("[VE-17] of two thousand equal rows and a few others, the others are found, and k of the equal ones by lower row", () => {
    const core = newCore();
    const vectors = Array.from({ length: 2100 }, (_, row) => (row % 100 === 7 ? [row, 1, 0] : [5, 5, 5]));
    const rows = residentRows(core, vectors, 3);
    for (const quantizer of ["int8", "none"] as const) {
      const index = buildHnsw(core, { rows, metric: "euclidean", parameters: { quantizer, m: 8 } });
      const searcher = new Searcher(core, rows, "euclidean");
      for (const row of [7, 107, 1007, 2007])
        expect(searcher.search(index, vectors[row]!, { k: 1, ef: 64 }), `${quantizer} ${row}`).toEqual([row]);
      const equal = searcher.search(index, [5, 5, 5], { k: 20, ef: 64 });
      expect(equal).toHaveLength(20);
      expect(equal.every((row) => row % 100 !== 7)).toBe(true);
      expect(equal).toEqual([...equal].sort((a, b) => a - b));
    }
  });
});
