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
} from "../../../test/unit/vector/fixture.ts";
import { asData } from "../../../test/unit/vector/found.ts";
import { METRICS } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { referenceNearest } from "./flat.reference.ts";
import { FlatBuilder } from "./flat-builder.ts";
import { type FlatCodes, FlatScan } from "./flat-index.ts";
import { openFlatLoader } from "./flat-loader.ts";
import type { SegmentIndex } from "./segment-index.ts";
import { MalformedIndex, type RowExtent, rowStride, residentRows as rowsOf } from "./segment-index.ts";

/** Small whole numbers: distances are exact on both sides, and ties are many. */
const wholeRows = (dimension: number, most: number) =>
  fc.array(fc.array(fc.integer({ min: -2, max: 3 }), { minLength: dimension, maxLength: dimension }), {
    maxLength: most,
  });

describe("FLAT", () => {
  it("[VE-9] finds exactly what the twin finds: any metric, k, dimension, filter and deletes, ties by lower row", () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 40 }).chain((dimension) =>
        fc.record({
          rows: wholeRows(dimension, 200),
          query: fc.array(fc.integer({ min: -2, max: 3 }), { minLength: dimension, maxLength: dimension }),
          metric: fc.constantFrom("euclidean" as const, "dot" as const),
          k: fc.integer({ min: 0, max: 250 }),
          allowedShare: fc.constantFrom(undefined, 0, 0.02, 0.3, 1),
          deletedShare: fc.constantFrom(undefined, 0, 0.1, 0.9, 1),
          seed: fc.integer(),
        }),
      ),
      ({ rows: vectors, query, metric, k, allowedShare, deletedShare, seed }) => {
        const random = seededRandom(seed);
        const core = newCore();
        const rows = residentRows(core, vectors, query.length);
        const pick = (share: number | undefined) =>
          share === undefined ? undefined : new Set(vectors.map((_, row) => row).filter(() => random() < share));
        const [allowed, deleted] = [pick(allowedShare), pick(deletedShare)];
        const filter = {
          ...(allowed === undefined ? {} : { allowed: bitmapOf(core, vectors.length, allowed) }),
          ...(deleted === undefined ? {} : { deleted: bitmapOf(core, vectors.length, deleted) }),
        };
        const expected = referenceNearest(
          metric,
          vectors,
          query,
          (row) => (allowed?.has(row) ?? true) && !(deleted?.has(row) ?? false),
        ).slice(0, k);
        const index = finish<FlatScan>(new FlatBuilder(core, { rows, metric, quantizer: "none" }));
        const found = index.search(new QuerySlot(core, metric, query.length).prepare(query), {
          k,
          effort: {},
          ...filter,
        });
        expect([...found.rows]).toEqual(expected.map(({ row }) => row));
        expect([...found.distances]).toEqual(expected.map(({ distance }) => distance));
        expect(found.isExact).toBe(true);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  it("[VE-9] under cosine too, where the twin's distances differ by rounding only", () => {
    for (const dimension of [1, 2, 25, 65, 700, 4096]) {
      const vectors = clusters({ count: 150, dimension, centres: 5, spread: 0.7, seed: dimension }).map(
        (c) => c.values,
      );
      const core = newCore();
      const rows = residentRows(core, vectors, dimension);
      const index = finish<FlatScan>(new FlatBuilder(core, { rows, metric: "cosine", quantizer: "none" }));
      const found = index.search(new QuerySlot(core, "cosine", dimension).prepare(vectors[9]!), { k: 150, effort: {} });
      const expected = new Map(referenceNearest("cosine", vectors, vectors[9]!).map((r) => [r.row, r.distance]));
      expect(new Set(found.rows).size).toBe(150);
      for (const [i, row] of found.rows.entries()) {
        expect(found.distances[i]).toBeCloseTo(expected.get(row)!, 5);
        if (i > 0) expect(found.distances[i]).toBeGreaterThanOrEqual(found.distances[i - 1]!);
      }
    }
  });

  it("[VE-9] nothing is found among no rows, none allowed, all deleted, or for k = 0", () => {
    const core = newCore();
    const slot = new QuerySlot(core, "dot", 3);
    for (const quantizer of ["none", "int8"] as const) {
      const none = finish(new FlatBuilder(core, { rows: residentRows(core, [], 3), metric: "dot", quantizer }));
      expect(none.search(slot.prepare([1, 2, 3]), { k: 5, effort: {} }).rows).toHaveLength(0);
      const rows = residentRows(
        core,
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
        3,
      );
      const index = finish(new FlatBuilder(core, { rows, metric: "dot", quantizer }));
      const ask = (more: object) => index.search(slot.prepare([1, 2, 3]), { k: 5, effort: {}, ...more }).rows;
      expect([...ask({})]).toEqual([1, 0]);
      expect(ask({ k: 0, effort: { rerank: 0 } })).toHaveLength(0);
      expect(ask({ allowed: bitmapOf(core, 2, []) })).toHaveLength(0);
      expect(ask({ deleted: bitmapOf(core, 2, [0, 1]) })).toHaveLength(0);
    }
  });

  it("[VE-10] rows in many extents, and rows elsewhere, are scanned like rows in one", () => {
    const vectors = clusters({ count: 333, dimension: 21, centres: 9, spread: 0.5, seed: 4 }).map((c) => c.values);
    const core = newCore();
    const whole = residentRows(core, vectors, 21).resident![0]!;
    const stride = rowStride(21);
    const cuts = [0, 1, 33, 64, 64, 200, 333];
    const extents: RowExtent[] = cuts
      .slice(1)
      .map((to, i) => ({ at: whole.at + cuts[i]! * stride, count: to - cuts[i]! }));
    const deleted = bitmapOf(core, 333, [5, 33, 64, 199, 200, 332]);
    const slot = new QuerySlot(core, "euclidean", 21);
    const one = new FlatScan(core, rowsOf(21, [whole]));
    const many = new FlatScan(core, rowsOf(21, extents));
    const copied = finish<FlatScan>(
      new FlatBuilder(core, { rows: distantRows(core, vectors, 21), metric: "euclidean", quantizer: "none" }),
      1,
    );
    expect(copied.memoryBytes).toBe(333 * stride);
    for (const k of [1, 10, 400]) {
      const expected = one.search(slot.prepare(vectors[64]!), { k, effort: {}, deleted });
      expect(many.search(slot.prepare(vectors[64]!), { k, effort: {}, deleted })).toEqual(expected);
      expect(copied.search(slot.prepare(vectors[64]!), { k, effort: {}, deleted })).toEqual(expected);
    }
  });

  it("[VE-11] every row within a distance comes once, in row order, over pages of any size", () => {
    const vectors = clusters({ count: 500, dimension: 10, centres: 6, spread: 0.6, seed: 5 }).map((c) => c.values);
    const core = newCore();
    const rows = residentRows(core, vectors, 10);
    const deleted = bitmapOf(core, 500, [0, 1, 2, 250, 499]);
    const gone = new Set([0, 1, 2, 250, 499]);
    for (const metric of METRICS) {
      const index = finish<FlatScan>(new FlatBuilder(core, { rows, metric, quantizer: "none" }));
      const slot = new QuerySlot(core, metric, 10);
      const all = referenceNearest(metric, vectors, vectors[100]!, (row) => !gone.has(row));
      // Between two rows, so that rounding decides nothing.
      const most = (all[99]!.distance + all[100]!.distance) / 2;
      const expected = all
        .slice(0, 100)
        .map(({ row }) => row)
        .sort((a, b) => a - b);
      for (const capacity of [1, 7, 100, 101, 1000]) {
        const got: number[] = [];
        for (let from: number | undefined = 0; from !== undefined; ) {
          const page = index.within(slot.prepare(vectors[100]!), { most, from, capacity, deleted });
          got.push(...page.rows);
          from = page.next;
        }
        expect(got).toEqual(expected);
      }
    }
  });

  it("[VE-12] codes with a re-rank find the true nearest of real rows, exact ones without", () => {
    const { rows: vectors, queries, truth } = sift();
    const core = newCore();
    const floats = vectors.map((values) => values.map((value, i) => value * 0.013 + Math.sin(value + i) * 0.004));
    const expected = truth.map((nearest) => nearest.slice(0, 10));
    const exact = residentRows(core, vectors, 128);
    const bytes = finish<FlatCodes>(new FlatBuilder(core, { rows: exact, metric: "euclidean", quantizer: "int8" }));
    const searcher = new Searcher(core, exact, "euclidean");
    for (const [i, query] of queries.entries())
      expect([...searcher.candidates(bytes, query, { k: 10 }).rows]).toEqual(expected[i]);
    for (const metric of METRICS) {
      const rows = residentRows(core, floats, 128);
      const index = finish<FlatCodes>(new FlatBuilder(core, { rows, metric, quantizer: "int8" }));
      const scan = finish<FlatScan>(new FlatBuilder(core, { rows, metric, quantizer: "none" }));
      const ask = new Searcher(core, rows, metric);
      const asked = floats.filter((_, row) => row % 97 === 0);
      const found = asked.map((query) => ask.search(index, query, { k: 10 }));
      const right = asked.map((query) => ask.search(scan, query, { k: 10 }));
      expect(recallOf(found, right), metric).toBeGreaterThan(0.995);
    }
  });

  it("[VE-13] a saved index over codes comes back, with its quarantined rows; bytes that are none are refused", () => {
    const vectors = clusters({ count: 90, dimension: 13, centres: 4, spread: 0.5, seed: 6 }).map((c) => c.values);
    vectors[7]!.fill(Number.NaN);
    const core = newCore();
    const rows = residentRows(core, vectors, 13);
    const index = finish<FlatCodes>(new FlatBuilder(core, { rows, metric: "dot", quantizer: "int8" }));
    const saved = index.save().map((section) => ({ name: section.name, bytes: section.read(0, section.byteLength) }));
    const lengths = new Map(saved.map(({ name, bytes }) => [name, bytes.length]));
    const slot = new QuerySlot(core, "dot", 13);
    // After a search, so that the workspace has what it needs.
    index.search(slot.prepare(vectors[3]!), { k: 90, effort: {} });
    const before = core.arena.usedBytes;
    const load = (header: Uint8Array, change?: (name: string, bytes: Uint8Array) => void) => {
      const loader = openFlatLoader(core, { header, lengths }, { rows, metric: "dot" });
      for (const { name, at } of loader.targets) {
        const bytes = saved.find((section) => section.name === name)!.bytes.slice();
        change?.(name, bytes);
        core.arena.u8.set(bytes, at);
      }
      return loader.finish();
    };
    const again = load(saved[0]!.bytes);
    const ask = { k: 90, effort: {} };
    const search = (one: SegmentIndex) => asData(one.search(slot.prepare(vectors[3]!), ask));
    expect(search(again)).toEqual(search(index));
    expect([...again.search(slot.prepare(vectors[3]!), ask).rows]).not.toContain(7);
    again.release();
    const outside = (name: string, bytes: Uint8Array): void => {
      if (name === "flat-quarantined") bytes[0] = 90;
    };
    expect(() => load(saved[0]!.bytes, outside)).toThrow(MalformedIndex);
    for (let at = 0; at < saved[0]!.bytes.length; at++) {
      const header = saved[0]!.bytes.slice();
      header[at]! ^= 0x80;
      try {
        load(header).release();
      } catch (error) {
        expect(error, `byte ${at}`).toBeInstanceOf(MalformedIndex);
      }
    }
    expect(core.arena.usedBytes).toBe(before);
  });
});
