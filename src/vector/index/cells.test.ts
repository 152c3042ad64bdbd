import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import {
  bitmapOf,
  clusters,
  distantRows,
  finish,
  newCore,
  recallOf,
  residentRows,
  Searcher,
  sift,
  type Vector,
} from "../../../test/unit/vector/fixture.ts";
import { ArenaFull } from "../arena.ts";
import { METRICS, type Metric } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { CellBuilder, type CellOptions } from "./cell-builder.ts";
import type { CellIndex } from "./cell-index.ts";
import { referenceNearest } from "./flat.reference.ts";
import type { Rows } from "./segment-index.ts";

const KINDS = ["FLAT", "IVF"] as const;
const QUANTIZERS = ["rabitq", "pq"] as const;
const FORMS = KINDS.flatMap((kind) => QUANTIZERS.map((quantizer) => ({ kind, quantizer })));

function build(core: ReturnType<typeof newCore>, options: CellOptions, sliceRows?: number): CellIndex {
  return finish<CellIndex>(new CellBuilder(core, options), sliceRows);
}

function bytesOf(index: CellIndex): string {
  return index
    .save()
    .map(({ name, byteLength, read }) => `${name} ${Buffer.from(read(0, byteLength)).toString("base64")}`)
    .join("\n");
}

function around(metric: Metric, count: number, dimension: number, seed = 3): Vector[] {
  const offset = metric === "euclidean" ? 1000 : 0;
  return clusters({ count, dimension, centres: 40, spread: 0.5, seed }).map(({ values }) =>
    values.map((value) => value + offset),
  );
}

function recallWith(options: {
  readonly vectors: readonly Vector[];
  readonly queries: readonly Vector[];
  readonly metric: Metric;
  readonly form: { readonly kind: "FLAT" | "IVF"; readonly quantizer: "rabitq" | "pq" };
}) {
  const { vectors, queries, metric, form } = options;
  const core = newCore();
  const rows = residentRows(core, vectors, vectors[0]!.length);
  const searcher = new Searcher(core, rows, metric);
  const index = build(core, { rows, metric, ...form });
  let scanned = 0;
  const found = queries.map((query) => {
    scanned += searcher.candidates(index, query, { k: 10 }).scanned;
    return searcher.search(index, query, { k: 10 });
  });
  const truth = queries.map((query) =>
    referenceNearest(metric, vectors, query)
      .slice(0, 10)
      .map(({ row }) => row),
  );
  return { recall: recallOf(found, truth), share: scanned / queries.length / vectors.length };
}

describe("indexes over coded blocks", () => {
  it("[VE-35] FLAT over 1-bit codes finds the true nearest, and re-ranks a small part of the rows for it", () => {
    const { rows: vectors, queries, truth } = sift();
    const core = newCore();
    const rows = distantRows(core, vectors, 128);
    const searcher = new Searcher(core, rows, "euclidean");
    const index = build(core, { rows, metric: "euclidean", kind: "FLAT", quantizer: "rabitq" });
    let candidates = 0;
    const found = queries.map((query) => {
      candidates += searcher.candidates(index, query, { k: 10 }).rows.length;
      return searcher.search(index, query, { k: 10 });
    });
    expect(
      recallOf(
        found,
        truth.map((nearest) => nearest.slice(0, 10)),
      ),
    ).toBeGreaterThan(0.99);
    expect(candidates / queries.length).toBeLessThan(480);
    expect(index.memoryBytes / vectors.length).toBeLessThan(30);
  });

  it.each(METRICS)(
    "[VE-36] %s: recall at least 0.95 while reading a tenth of the rows",
    (metric) => {
      const all = around(metric, 10_200, 48);
      const shape = { vectors: all.slice(200), queries: all.slice(0, 60), metric };
      for (const quantizer of QUANTIZERS) {
        const { recall, share } = recallWith({ ...shape, form: { kind: "IVF", quantizer } });
        expect(recall, quantizer).toBeGreaterThan(0.95);
        expect(share, quantizer).toBeLessThan(0.1);
      }
      expect(recallWith({ ...shape, form: { kind: "FLAT", quantizer: "rabitq" } }).recall).toBeGreaterThan(0.99);
    },
    60_000,
  );

  it("[VE-37] gives live rows only, min(k, live rows) of them", () => {
    const property = fc.property(
      fc.record({
        dimension: fc.constantFrom(1, 3, 64, 65, 130),
        count: fc.integer({ min: 0, max: 700 }),
        form: fc.constantFrom(...FORMS),
        metric: fc.constantFrom(...METRICS),
        k: fc.integer({ min: 0, max: 40 }),
        allowedShare: fc.constantFrom(undefined, 0, 0.02, 0.3, 1),
        deletedShare: fc.constantFrom(undefined, 0.1, 0.9, 1),
        probes: fc.constantFrom(undefined, 1, 3, 1000),
        seed: fc.integer(),
      }),
      ({ dimension, count, form, metric, k, allowedShare, deletedShare, probes, seed }) => {
        const random = seededRandom(seed);
        const vectors = Array.from({ length: count }, () => Array.from({ length: dimension }, () => random() * 4 - 1));
        const core = newCore();
        const rows = residentRows(core, vectors, dimension);
        const pick = (share: number | undefined) =>
          share === undefined ? undefined : new Set(vectors.map((_, row) => row).filter(() => random() < share));
        const [allowed, deleted] = [pick(allowedShare), pick(deletedShare)];
        const isLive = (row: number) => (allowed?.has(row) ?? true) && !(deleted?.has(row) ?? false);
        const index = build(core, { rows, metric, ...form });
        const found = index.search(new QuerySlot(core, metric, dimension).prepare(Array(dimension).fill(0.3)), {
          k,
          effort: { rerank: k, ...(probes !== undefined && { probes }) },
          ...(allowed && { allowed: bitmapOf(core, count, allowed) }),
          ...(deleted && { deleted: bitmapOf(core, count, deleted) }),
        });
        const live = vectors.filter((_, row) => isLive(row)).length;
        expect(found.rows.length).toBe(Math.min(k, live));
        expect(new Set(found.rows).size).toBe(found.rows.length);
        for (const row of found.rows) expect(isLive(row) && row < count).toBe(true);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  it("[VE-37] a filter that lets few rows through loses none of them", () => {
    const all = around("cosine", 6_000, 32);
    const core = newCore();
    const rows = residentRows(core, all, 32);
    const searcher = new Searcher(core, rows, "cosine");
    const index = build(core, { rows, metric: "cosine", kind: "IVF", quantizer: "rabitq" });
    const few = all.map((_, row) => row).filter((row) => row % 40 === 7);
    const allowed = bitmapOf(core, all.length, few);
    const found = all.slice(0, 50).map((query) => searcher.search(index, query, { k: 10, allowed }));
    const truth = all.slice(0, 50).map((query) =>
      referenceNearest("cosine", all, query, (row) => row % 40 === 7)
        .slice(0, 10)
        .map(({ row }) => row),
    );
    expect(recallOf(found, truth)).toBeGreaterThan(0.99);
  });

  it.each(FORMS)("[VE-38] $kind $quantizer: the same rows give the same bytes, however the build is cut", (form) => {
    const vectors = around("dot", 700, 40);
    const bytes = [1, 3, 1000].map((slice) => {
      const core = newCore();
      return bytesOf(build(core, { rows: distantRows(core, vectors, 40), metric: "dot", ...form }, slice));
    });
    expect(bytes[1]).toBe(bytes[0]);
    expect(bytes[2]).toBe(bytes[0]);
  });

  it.each(FORMS)("[VE-39] $kind $quantizer: rows that cannot be compared are named and never found", (form) => {
    const vectors = around("cosine", 300, 9).map((values, row) =>
      row % 50 === 7 ? Array(9).fill(row % 100 === 7 ? 0 : Number.NaN) : values,
    );
    const core = newCore();
    const builder = new CellBuilder(core, { rows: residentRows(core, vectors, 9), metric: "cosine", ...form });
    while (!builder.step({ rows: 10 })) expect(builder.progress).toBeLessThan(1);
    expect(builder.quarantined).toEqual([7, 57, 107, 157, 207, 257]);
    const index = builder.finish();
    const slot = new QuerySlot(core, "cosine", 9);
    const found = index.search(slot.prepare(vectors[0]!), { k: 300, effort: {} });
    expect(found.rows.length).toBe(294);
    expect([...found.rows].filter((row) => row % 50 === 7)).toEqual([]);
  });

  it("[VE-38] gives all memory back when it is abandoned at any step, released, or the arena is full", () => {
    const vectors = around("euclidean", 400, 16);
    const options = (rows: Rows): CellOptions => ({
      rows,
      metric: "euclidean",
      kind: "IVF",
      quantizer: "pq",
      cells: 7,
    });
    const core = newCore();
    const rows = residentRows(core, vectors, 16);
    const used = () => {
      core.workspace.release();
      return core.arena.usedBytes;
    };
    const before = used();
    for (let steps = 0; ; steps++) {
      const builder = new CellBuilder(core, options(rows));
      let done = false;
      for (let i = 0; i < steps && !done; i++) done = builder.step({ rows: 2 });
      if (done) {
        const index = builder.finish();
        expect(used()).toBeGreaterThan(before);
        index.release();
        expect(used()).toBe(before);
        break;
      }
      builder.abandon();
      expect(used()).toBe(before);
    }
    let refused = 0;
    for (let budget = 30_000; budget < 700_000; budget += 20_000) {
      const small = newCore(budget);
      let builder: CellBuilder | undefined;
      try {
        const own = residentRows(small, vectors, 16);
        const held = small.arena.usedBytes;
        builder = new CellBuilder(small, options(own));
        try {
          while (!builder.step({ rows: 20 }));
        } catch (error) {
          builder.abandon();
          small.workspace.release();
          expect(small.arena.usedBytes).toBe(held);
          throw error;
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ArenaFull);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(2);
  });

  it("[VE-38] parameters out of bounds are refused", () => {
    const core = newCore();
    const rows = residentRows(core, [], 4);
    for (const cells of [0, 1.5, -1, 65_537])
      expect(() => new CellBuilder(core, { rows, metric: "dot", kind: "IVF", quantizer: "pq", cells })).toThrow(
        /cells/,
      );
  });
});
