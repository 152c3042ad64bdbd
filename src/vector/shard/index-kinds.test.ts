// Every kind of index with every quantizer, built and loaded as shards do.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom, seededWords } from "../../../scripts/lib/seeded.mjs";
import {
  bitmapOf,
  clusters,
  finish,
  newCore,
  recallOf,
  residentRows,
  Searcher,
} from "../../../test/unit/vector/fixture.ts";
import { asData } from "../../../test/unit/vector/found.ts";
import { referenceNearest } from "../index/flat.reference.ts";
import { MalformedIndex, type Rows, type SegmentIndex } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { METRICS, type Metric } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { HEADER_SECTIONS, type IndexSpec, kindBuilder, loaderFor } from "./index-kinds.ts";

const COUNT = 8200;
const DIMENSION = 12;
const vectors = clusters({ count: COUNT + 20, dimension: DIMENSION, centres: 60, spread: 0.5, seed: 2 }).map(
  (c) => c.values,
);
const queries = vectors.splice(COUNT);
const SPECS: readonly IndexSpec[] = [
  { name: "a", kind: "IVF", quantizer: "none", cells: 90, effort: { probes: 25 } },
  { name: "b", kind: "IVF", quantizer: "int8", effort: {} },
  { name: "c", kind: "IVF", quantizer: "rabitq", effort: {} },
  { name: "d", kind: "LSH", quantizer: "none", tables: 9, bits: 12, effort: {} },
  { name: "e", kind: "LSH", quantizer: "int8", effort: {} },
  { name: "f", kind: "LSH", quantizer: "rabitq", effort: {} },
  { name: "g", kind: "LSH", quantizer: "pq", effort: {} },
];

type Sections = readonly { readonly name: string; readonly bytes: Uint8Array }[];

function sectionsOf(index: SegmentIndex): Sections {
  return index.save().map(({ name, byteLength, read }) => ({ name, bytes: read(0, byteLength) }));
}

function load(core: VectorCore, rows: Rows, metric: Metric, sections: Sections): SegmentIndex {
  const lengths = new Map(sections.map(({ name, bytes }) => [name, bytes.length]));
  const kind = HEADER_SECTIONS.find(([name]) => lengths.has(name))![1];
  const loader = loaderFor(core, { kind, header: sections[0]!.bytes, lengths }, { rows, metric, quantizer: "int8" });
  for (const { name, at } of loader.targets) core.arena.u8.set(sections.find((s) => s.name === name)!.bytes, at);
  return loader.finish();
}

describe("indexes by kind and quantizer", () => {
  it.each(SPECS)(
    "[VE-44] $kind $quantizer finds the nearest under every metric, and comes back as it was",
    (spec) => {
      for (const metric of METRICS) {
        const core = newCore();
        const rows = residentRows(core, vectors, DIMENSION);
        const index = finish(kindBuilder(core, spec, { rows, metric }), 64);
        expect(index.kind).toBe(spec.kind);
        const searcher = new Searcher(core, rows, metric);
        const found = queries.map((query) => searcher.search(index, query, { k: 10, ...spec.effort }));
        const truth = queries.map((query) =>
          referenceNearest(metric, vectors, query)
            .slice(0, 10)
            .map(({ row }) => row),
        );
        expect(recallOf(found, truth), metric).toBeGreaterThan(spec.kind === "LSH" ? 0.85 : 0.95);
        const share = searcher.candidates(index, queries[0]!, { k: 10 }).scanned / COUNT;
        expect(share, metric).toBeLessThan(spec.kind === "LSH" ? 0.7 : 0.1);
        const slot = new QuerySlot(core, metric, DIMENSION);
        const ask = (of: SegmentIndex) =>
          asData(of.search(slot.prepare(queries[1]!), { k: 10, effort: { probes: 9 } }));
        const [expected, sections] = [ask(index), sectionsOf(index)];
        index.release();
        const loaded = load(core, rows, metric, sections);
        expect(ask(loaded)).toEqual(expected);
        const again = sectionsOf(loaded);
        expect(again.map(({ name }) => name)).toEqual(sections.map(({ name }) => name));
        for (const [i, { bytes }] of again.entries()) expect(Buffer.compare(bytes, sections[i]!.bytes)).toBe(0);
      }
    },
    60_000,
  );

  it.each(SPECS)("[VE-45] $kind $quantizer gives live rows only, and min(k, live rows) of them", (spec) => {
    const core = newCore();
    const rows = residentRows(core, vectors, DIMENSION);
    const index = finish(kindBuilder(core, spec, { rows, metric: "euclidean" }), 64);
    const slot = new QuerySlot(core, "euclidean", DIMENSION);
    const property = fc.property(
      fc.record({
        share: fc.constantFrom(0, 0.001, 0.1, 0.4, 1),
        gone: fc.constantFrom(0, 0.2, 0.95),
        k: fc.constantFrom(1, 10, 300),
        probes: fc.constantFrom(undefined, 1, 30),
        seed: fc.nat(),
      }),
      ({ share, gone, k, probes, seed }) => {
        const random = seededRandom(seed);
        const allowed = new Set(vectors.map((_, row) => row).filter(() => random() < share));
        const deleted = new Set(vectors.map((_, row) => row).filter(() => random() < gone));
        const bitmaps = { allowed: bitmapOf(core, COUNT, allowed), deleted: bitmapOf(core, COUNT, deleted) };
        const query = slot.prepare(queries[seed % queries.length]!);
        const found = index.search(query, { k, effort: { rerank: k, ...(probes && { probes }) }, ...bitmaps });
        for (const at of Object.values(bitmaps)) core.arena.free(at);
        const live = [...allowed].filter((row) => !deleted.has(row)).length;
        expect(found.rows.length).toBe(Math.min(k, live));
        expect(new Set(found.rows).size).toBe(found.rows.length);
        for (const row of found.rows) expect(allowed.has(row) && !deleted.has(row)).toBe(true);
      },
    );
    fc.assert(property, { numRuns: 40 });
  });

  it.each(SPECS.filter(({ name }) => "bef".includes(name)))(
    "[VE-46] $kind $quantizer: changed bytes are refused or harmless, and no memory is lost",
    (spec) => {
      const core = newCore();
      const rows = residentRows(core, vectors, DIMENSION);
      const index = finish(kindBuilder(core, spec, { rows, metric: "dot" }), 64);
      const sections = sectionsOf(index);
      index.release();
      const slot = new QuerySlot(core, "dot", DIMENSION);
      core.workspace.release();
      const before = core.arena.usedBytes;
      const words = seededWords(5);
      let refused = 0;
      for (let run = 0; run < 36; run++) {
        const part = run % 3 === 0 ? 0 : words() % sections.length;
        if (sections[part]!.bytes.length === 0) continue;
        const changed = sections.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
        changed[part]!.bytes[words() % changed[part]!.bytes.length]! ^= 1 << (words() % 8);
        try {
          const loaded = load(core, rows, "dot", changed);
          const found = loaded.search(slot.prepare(queries[0]!), { k: 20, effort: {} });
          for (const row of found.rows) expect(row).toBeLessThan(COUNT);
          loaded.release();
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedIndex);
          refused++;
        }
        core.workspace.release();
        expect(core.arena.usedBytes).toBe(before);
      }
      expect(refused).toBeGreaterThan(5);
    },
  );

  it("[VE-45] HNSW over 1-bit or product codes is refused", () => {
    const core = newCore();
    const rows = { count: COUNT, dimension: 4, read: () => undefined };
    for (const quantizer of ["rabitq", "pq"] as const)
      expect(() =>
        kindBuilder(core, { name: "h", kind: "HNSW", quantizer, effort: {} }, { rows, metric: "dot" }),
      ).toThrow(/quantizer/);
  });
});
