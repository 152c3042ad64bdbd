// Indexes over reduced rows, built, asked, saved and loaded as shards do.
import { describe, expect, it } from "vitest";
import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { clusters, distantRows, finish, newCore, recallOf, Searcher } from "../../../test/unit/vector/fixture.ts";
import { ArenaFull } from "../arena.ts";
import { referenceNearest } from "../index/flat.reference.ts";
import { MalformedIndex, type SegmentIndex } from "../index/segment-index.ts";
import type { VectorCore } from "../kernels.ts";
import { METRICS } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { HEADER_SECTIONS, type IndexSpec, loaderFor, reducedBuilder } from "../shard/index-kinds.ts";
import { REDUCTION_SECTION, type ReducedIndex } from "./reduced-index.ts";

const COUNT = 2600;
const DIMENSION = 48;
const vectors = clusters({ count: COUNT + 20, dimension: DIMENSION, centres: 40, spread: 0.4, seed: 5 }).map(
  (c) => c.values,
);
const queries = vectors.splice(COUNT);
const pca = { kind: "pca", dimensions: 24 } as const;
const SPECS = [
  { name: "a", kind: "HNSW", quantizer: "int8", effort: {}, reduction: pca },
  { name: "b", kind: "HNSW", quantizer: "none", effort: {}, reduction: pca },
  { name: "c", kind: "FLAT", quantizer: "int8", effort: {}, reduction: pca },
  { name: "d", kind: "FLAT", quantizer: "rabitq", effort: {}, reduction: pca },
  { name: "e", kind: "IVF", quantizer: "none", cells: 30, effort: { probes: 12 }, reduction: pca },
  { name: "f", kind: "IVF", quantizer: "pq", cells: 30, effort: { probes: 12 }, reduction: pca },
  { name: "g", kind: "LSH", quantizer: "int8", effort: { probes: 800 }, reduction: pca },
  { name: "h", kind: "HNSW", quantizer: "int8", effort: {}, reduction: { kind: "random", dimensions: 32 } },
] as const satisfies readonly IndexSpec[];

type Sections = readonly { readonly name: string; readonly bytes: Uint8Array }[];

const sectionsOf = (index: SegmentIndex): Sections =>
  index.save().map(({ name, byteLength, read }) => ({ name, bytes: read(0, byteLength) }));

function load(core: VectorCore, spec: IndexSpec, metric: (typeof METRICS)[number], sections: Sections): SegmentIndex {
  const lengths = new Map(sections.map(({ name, bytes }) => [name, bytes.length]));
  const kind = HEADER_SECTIONS.find(([name]) => lengths.has(name))![1];
  const bytesOf = (name: string) => sections.find((section) => section.name === name)!.bytes;
  const saved = { kind, header: sections[0]!.bytes, lengths, reduction: bytesOf(REDUCTION_SECTION) };
  const rows = distantRows(core, vectors, DIMENSION);
  const loader = loaderFor(core, saved, { rows, metric, quantizer: spec.quantizer });
  for (const { name, at } of loader.targets) core.arena.u8.set(bytesOf(name), at);
  return loader.finish();
}

describe("indexes over reduced rows", () => {
  it.each(SPECS)(
    "[VE-256] $kind $quantizer $reduction.kind finds the nearest, and comes back as it was",
    (spec) => {
      const [first] = SPECS;
      for (const metric of spec === first ? METRICS : [METRICS[spec.name.charCodeAt(0) % 3]!]) {
        const core = newCore();
        const rows = distantRows(core, vectors, DIMENSION);
        const index = finish<ReducedIndex>(reducedBuilder(core, spec, { rows, metric }), 64);
        const truth = queries.map((query) =>
          referenceNearest(metric, vectors, query)
            .slice(0, 10)
            .map(({ row }) => row),
        );
        const searcher = new Searcher(core, rows, metric);
        const found = queries.map((query) => searcher.search(index, query, { k: 10, ...spec.effort }));
        const recall = recallOf(found, truth);
        expect(recall, metric).toBeGreaterThan(spec.kind === "LSH" ? 0.8 : 0.9);
        // What was measured is of the rows themselves, and near what queries beside them meet.
        expect(Math.abs(index.reduction.recall! - recall), metric).toBeLessThan(0.15);
        const slot = new QuerySlot(core, metric, DIMENSION);
        const ask = (of: SegmentIndex) => of.search(slot.prepare(queries[1]!), { k: 10, effort: { probes: 9 } });
        const [expected, sections] = [ask(index), sectionsOf(index)];
        expect(expected.isExact).toBe(false);
        index.release();
        const loaded = load(core, spec, metric, sections);
        expect(ask(loaded)).toEqual(expected);
        expect((loaded as ReducedIndex).reduction.recall).toBe(index.reduction.recall);
      }
    },
    60_000,
  );

  it("[VE-257] takes the memory of reduced rows: half of the values, half of the codes", () => {
    const core = newCore();
    const rows = distantRows(core, vectors, DIMENSION);
    const [codes] = SPECS.filter(({ name }) => name === "c");
    const index = finish<ReducedIndex>(reducedBuilder(core, codes!, { rows, metric: "euclidean" }), 64);
    expect(index.inner.memoryBytes).toBeLessThan(COUNT * (24 + 16));
    const matrixBytes = 25 * DIMENSION * 4;
    expect(index.memoryBytes - index.inner.memoryBytes).toBe(matrixBytes);
  });

  it("[VE-258] the same rows give the same bytes, however the build is cut; given up anywhere it gives all memory back", () => {
    const core = newCore();
    const rows = distantRows(core, vectors, DIMENSION);
    const build = () => reducedBuilder(core, SPECS[0], { rows, metric: "cosine" });
    const [first, second] = [finish<ReducedIndex>(build(), 7), finish<ReducedIndex>(build(), 500)];
    expect(sectionsOf(second)).toEqual(sectionsOf(first));
    first.release();
    second.release();
    core.workspace.release();
    const before = core.arena.usedBytes;
    for (let steps = 0; steps < 400; steps = Math.ceil(steps * 1.7) + 1) {
      const builder = build();
      for (let step = 0; step < steps; step++) if (builder.step({ rows: 64 })) break;
      builder.abandon();
      core.workspace.release();
      expect(core.arena.usedBytes).toBe(before);
    }
  });

  it("[VE-258] one that does not fit gives all memory back", () => {
    let refused = 0;
    for (const budgetBytes of [60_000, 200_000, 450_000, 600_000]) {
      const core = newCore(budgetBytes);
      const builder = reducedBuilder(core, SPECS[1], { rows: distantRows(core, vectors, DIMENSION), metric: "dot" });
      try {
        while (!builder.step({ rows: 64 }));
      } catch (error) {
        expect(error).toBeInstanceOf(ArenaFull);
        refused++;
      }
      builder.abandon();
      core.workspace.release();
      expect(core.arena.usedBytes).toBe(0);
    }
    expect(refused).toBe(4);
  });

  it("[VE-258] changed bytes are refused or harmless, and no memory is lost", () => {
    const core = newCore();
    const rows = distantRows(core, vectors, DIMENSION);
    const index = finish<ReducedIndex>(reducedBuilder(core, SPECS[0], { rows, metric: "euclidean" }), 64);
    const sections = sectionsOf(index);
    index.release();
    const slot = new QuerySlot(core, "euclidean", DIMENSION);
    core.workspace.release();
    const before = core.arena.usedBytes;
    const words = seededWords(9);
    let refused = 0;
    for (let run = 0; run < 60; run++) {
      const changed = sections.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
      const { bytes } = changed.find(({ name }) => name === REDUCTION_SECTION)!;
      bytes[words() % (run % 2 === 0 ? 32 : bytes.length)]! ^= 1 << (words() % 8);
      try {
        const loaded = load(core, SPECS[0], "euclidean", changed);
        const { rows: found } = loaded.search(slot.prepare(queries[0]!), { k: 20, effort: {} });
        for (const row of found) expect(row).toBeLessThan(COUNT);
        loaded.release();
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedIndex);
        refused++;
      }
      core.workspace.release();
      expect(core.arena.usedBytes).toBe(before);
    }
    expect(refused).toBeGreaterThan(10);
  });

  it("[VE-259] rows that are no numbers are named and never found; the build and its measurement go on", () => {
    const core = newCore();
    const some = vectors.slice();
    for (const row of [0, 81, 700]) some[row] = new Float32Array(DIMENSION).fill(Number.NaN);
    const rows = distantRows(core, some, DIMENSION);
    const builder = reducedBuilder(core, SPECS[0], { rows, metric: "euclidean" });
    while (!builder.step({ rows: 64 }));
    expect(builder.quarantined).toEqual([0, 81, 700]);
    const index = builder.finish();
    expect(index.reduction.recall).toBeGreaterThan(0.9);
    const slot = new QuerySlot(core, "euclidean", DIMENSION);
    const { rows: found } = index.search(slot.prepare(queries[0]!), { k: COUNT, effort: {} });
    for (const row of [0, 81, 700]) expect(found.includes(row)).toBe(false);
  });
});
