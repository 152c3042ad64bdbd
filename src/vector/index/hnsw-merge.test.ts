import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import {
  buildHnsw,
  clusters,
  newCore,
  recallOf,
  residentRows,
  Searcher,
  sift,
} from "../../../test/unit/vector/fixture.ts";
import { asData } from "../../../test/unit/vector/found.ts";
import type { VectorCore } from "../kernels.ts";
import type { Metric } from "../metric.ts";
import { QuerySlot } from "../query.ts";
import { referenceNearest } from "./flat.reference.ts";
import { GONE, HnswBuilder, type HnswParameters, type HnswSeed } from "./hnsw-builder.ts";
import type { HnswIndex } from "./hnsw-index.ts";
import { openHnswLoader } from "./hnsw-loader.ts";
import { MalformedIndex, type Rows } from "./segment-index.ts";

type Row = ArrayLike<number>;

/** A segment with its graph, as a shard has it. */
interface Segment {
  readonly vectors: readonly Row[];
  readonly rows: Rows;
  readonly index: HnswIndex;
}

function seal(
  core: VectorCore,
  vectors: readonly Row[],
  metric: Metric,
  parameters: HnswParameters,
  from?: { segment: Segment; map: Uint32Array },
): Segment {
  const rows = residentRows(core, vectors, vectors[0]!.length);
  const seed = from === undefined ? undefined : { index: from.segment.index, map: from.map };
  return { vectors, rows, index: buildHnsw(core, { rows, metric, parameters, seed }) };
}

/** Merges a segment without its deleted rows with new ones behind them: the map of a merge. */
function merge(
  core: VectorCore,
  old: Segment,
  change: { gone: ReadonlySet<number>; added: readonly Row[] },
  metric: Metric,
  parameters: HnswParameters,
): Segment {
  const map = new Uint32Array(old.vectors.length).fill(GONE);
  const vectors: Row[] = [];
  for (const [row, values] of old.vectors.entries()) if (!change.gone.has(row)) map[row] = vectors.push(values) - 1;
  return seal(core, [...vectors, ...change.added], metric, parameters, { segment: old, map });
}

function recall(
  core: VectorCore,
  { vectors, rows, index }: Segment,
  queries: readonly Row[],
  metric: Metric,
  ef: number,
): number {
  const searcher = new Searcher(core, rows, metric);
  const truth = queries.map((query) =>
    referenceNearest(metric, vectors, query)
      .slice(0, 10)
      .map(({ row }) => row),
  );
  return recallOf(
    queries.map((query) => searcher.search(index, query, { k: 10, ef })),
    truth,
  );
}

describe("merges of HNSW graphs", () => {
  it("[VE-20] after half of all rows were replaced, at once or bit by bit, recall is within 0.01 of a fresh build", () => {
    const { rows: all, queries } = sift();
    const parameters = { m: 16, efConstruction: 100 };
    for (const rounds of [1, 5]) {
      const random = seededRandom(rounds);
      const core = newCore();
      const base = all.slice(0, 3200);
      let segment = seal(core, base, "euclidean", parameters);
      const each = 1600 / rounds;
      for (let round = 0; round < rounds; round++) {
        const gone = new Set<number>();
        while (gone.size < each) gone.add(Math.floor(random() * segment.vectors.length));
        const added = all.slice(3200 + round * each, 3200 + (round + 1) * each);
        segment = merge(core, segment, { gone, added }, "euclidean", parameters);
      }
      expect(segment.vectors).toHaveLength(3200);
      const fresh = seal(core, segment.vectors, "euclidean", parameters);
      for (const ef of [32, 64]) {
        const [merged, built] = [segment, fresh].map((one) => recall(core, one, queries, "euclidean", ef));
        expect(merged!, `${rounds} rounds, ef ${ef}: ${merged} against ${built}`).toBeGreaterThan(built! - 0.01);
      }
    }
  });

  it("[VE-20] whole clusters may be deleted, or come new; every metric", () => {
    const made = clusters({ count: 6000, dimension: 24, centres: 40, spread: 0.5, seed: 41 });
    for (const metric of ["cosine", "dot"] as const) {
      const core = newCore();
      const parameters = { m: 16, efConstruction: 80 };
      const base = made.slice(0, 4000);
      const old = seal(
        core,
        base.map(({ values }) => values),
        metric,
        parameters,
      );
      const gone = new Set(base.map((_, row) => row).filter((row) => base[row]!.centre < 12));
      const segment = merge(
        core,
        old,
        { gone, added: made.slice(4000).map(({ values }) => values) },
        metric,
        parameters,
      );
      const fresh = seal(core, segment.vectors, metric, parameters);
      const queries = made.slice(0, 120).map(({ values }) => values.map((value, i) => value + (i % 5) * 0.02));
      const ef = metric === "dot" ? 160 : 64;
      const [merged, built] = [segment, fresh].map((one) => recall(core, one, queries, metric, ef));
      expect(merged!, `${metric}: ${merged} against ${built}`).toBeGreaterThan(built! - 0.01);
    }
  });

  it("[VE-20] a merge that only adds does less work than a fresh build, and one that lost most rows starts anew", () => {
    const { rows: all } = sift();
    const core = newCore();
    const old = seal(core, all.slice(0, 3000), "euclidean", {});
    const added = merge(core, old, { gone: new Set(), added: all.slice(3000, 3300) }, "euclidean", {});
    expect(added.index.count).toBe(3300);
    const stepsOf = (seed?: HnswSeed): number => {
      const rows = residentRows(core, all.slice(0, 3300), 128);
      const builder = new HnswBuilder(core, { rows, metric: "euclidean", seed });
      let steps = 1;
      while (!builder.step({ rows: 10 })) steps++;
      builder.abandon();
      return steps;
    };
    const same = Uint32Array.from({ length: 3000 }, (_, row) => row);
    expect(stepsOf({ index: old.index, map: same })).toBeLessThan(stepsOf() / 4);
    // Old rows kept their levels: the entry of the old graph is still on top, or a new row is above it.
    expect(added.index.graph.entry.level).toBeGreaterThanOrEqual(old.index.graph.entry.level);
    const most = new Set(Array.from({ length: 2900 }, (_, row) => row));
    const few = merge(core, old, { gone: most, added: all.slice(3000, 3500) }, "euclidean", {});
    const fresh = seal(core, few.vectors, "euclidean", {});
    const bytesOf = ({ index }: Segment) => index.save().map((section) => section.read(0, section.byteLength));
    expect(bytesOf(few)).toEqual(bytesOf(fresh));
  });
});

describe("saved HNSW indexes", () => {
  function saved(metric: Metric, parameters: HnswParameters) {
    const core = newCore();
    const vectors = clusters({ count: 1500, dimension: 12, centres: 20, spread: 0.5, seed: 51 }).map((c) => c.values);
    vectors[9] = vectors[9]!.map(() => Number.NaN);
    const rows = residentRows(core, vectors, 12);
    const index = buildHnsw(core, { rows, metric, parameters });
    const sections = index
      .save()
      .map((section) => ({ name: section.name, bytes: section.read(0, section.byteLength) }));
    const slot = new QuerySlot(core, metric, 12);
    const search = (one: HnswIndex, row: number) =>
      one.search(slot.prepare(vectors[row]!), { k: 10, effort: { ef: 50 } });
    const load = (change: (name: string, bytes: Uint8Array) => void = () => undefined): HnswIndex => {
      const changed = sections.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
      for (const { name, bytes } of changed) change(name, bytes);
      const lengths = new Map(changed.map(({ name, bytes }) => [name, bytes.length]));
      const loader = openHnswLoader(core, { header: changed[0]!.bytes, lengths }, { rows, metric });
      for (const { name, at } of loader.targets)
        core.arena.u8.set(changed.find((section) => section.name === name)!.bytes, at);
      return loader.finish() as HnswIndex;
    };
    search(index, 1);
    return { core, index, sections, search, load, rows };
  }

  it("[VE-21] what is saved comes back as the same index: same answers, same bytes", () => {
    for (const metric of ["euclidean", "cosine", "dot"] as const) {
      for (const quantizer of ["int8", "none"] as const) {
        const { index, load, search, sections } = saved(metric, { quantizer });
        const again = load();
        for (const row of [0, 100, 700]) expect(asData(search(again, row))).toEqual(asData(search(index, row)));
        expect(again.quarantined).toEqual([9]);
        expect(again.save().map((section) => section.read(0, section.byteLength))).toEqual(
          sections.map(({ bytes }) => bytes),
        );
        expect(again.memoryBytes).toBe(index.memoryBytes);
      }
    }
  });

  it("[VE-22] any changed byte is refused or harmless: no trap, no row outside of the segment, no memory lost", () => {
    const random = seededRandom(61);
    for (const quantizer of ["int8", "none"] as const) {
      const { core, load, search, sections } = saved("cosine", { quantizer, m: 4 });
      const before = core.arena.usedBytes;
      let refused = 0;
      for (let run = 0; run < 600; run++) {
        const section = sections[Math.floor(random() * sections.length)]!;
        const at = run < 72 ? run : Math.floor(random() * section.bytes.length);
        const name = run < 72 ? "hnsw" : section.name;
        const bit = 1 << Math.floor(random() * 8);
        let index: HnswIndex | undefined;
        try {
          index = load((which, bytes) => {
            if (which === name && at < bytes.length) bytes[at]! ^= bit;
          });
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedIndex);
          refused++;
        }
        if (index !== undefined) {
          for (const row of search(index, run).rows) expect(row).toBeLessThan(1500);
          index.release();
        }
      }
      expect(refused).toBeGreaterThan(100);
      expect(core.arena.usedBytes).toBe(before);
    }
  });

  it("[VE-22] wrong lengths, other rows, another metric are refused", () => {
    const { core, sections, rows } = saved("cosine", {});
    const header = sections[0]!.bytes;
    const lengths = new Map(sections.map(({ name, bytes }) => [name, bytes.length]));
    const open = (change: object) => () =>
      openHnswLoader(core, { header, lengths, ...change }, { rows, metric: "cosine", ...change });
    expect(open({ metric: "dot" })).toThrow(/the metric cosine in a database of dot/);
    expect(open({ rows: { ...rows, count: 1499 } })).toThrow(/1500 rows in a segment of 1499/);
    expect(open({ rows: { ...rows, dimension: 13 } })).toThrow(MalformedIndex);
    expect(open({ lengths: new Map([...lengths, ["hnsw-links", 12]]) })).toThrow(/12 bytes of hnsw-links instead of/);
    expect(open({ header: header.subarray(0, 20) })).toThrow(MalformedIndex);
    const loader = open({})();
    const before = core.arena.usedBytes;
    loader.abandon();
    expect(core.arena.usedBytes).toBeLessThan(before);
  });
});
