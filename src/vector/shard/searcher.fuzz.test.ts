// Searches of a shard against a comparison with every row, over random rows, filters, seals, merges and restarts.
// A failing run prints its seed: set JADE_VECTOR_SEED to run it alone.
import { describe, expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { type OpenStore, openStore } from "../../../test/unit/vector/open-store.ts";
import { referenceDistance as distance } from "../distances.reference.ts";
import { matches } from "../filter/match.ts";
import { parseFilter } from "../filter/parse.ts";
import { METRICS, type Metric } from "../metric.ts";
import { ReducedIndex } from "../reduce/reduced-index.ts";
import type { IndexSpec } from "./index-kinds.ts";
import { finished } from "./shard-indexes.ts";

const SEEDS = process.env["JADE_VECTOR_SEED"]
  ? [Number(process.env["JADE_VECTOR_SEED"])]
  : Array.from({ length: 12 }, (_, index) => index + 1);
const SPECS: readonly IndexSpec[] = [
  { name: "exact", kind: "FLAT", quantizer: "none", effort: {} },
  { name: "codes", kind: "FLAT", quantizer: "int8", effort: {} },
  { name: "bits", kind: "FLAT", quantizer: "rabitq", effort: {} },
  { name: "products", kind: "FLAT", quantizer: "pq", effort: {} },
];
const encoder = new TextEncoder();

interface Row {
  readonly values: Float32Array;
  readonly metadata: { readonly group: number; readonly tags: readonly string[] };
}

class World {
  readonly random: Random;
  readonly metric: Metric;
  readonly dimension: number;
  readonly opened: OpenStore;
  readonly rows = new Map<string, Row>();

  constructor(seed: number) {
    this.random = new Random(seed);
    this.metric = METRICS[seed % METRICS.length]!;
    this.dimension = this.random.pick([1, 3, 8, 33, 129]);
    this.opened = openStore({ metric: this.metric, dimension: this.dimension, specs: SPECS });
  }

  values(): Float32Array {
    return Float32Array.from({ length: this.dimension }, () => this.random.between(-1000, 1000) / 997 + 0.001);
  }

  write(count: number): void {
    for (let left = count; left > 0; left--) {
      const id = `r${this.random.between(0, 400)}`;
      if (this.random.chance(0.2)) {
        this.opened.store.apply([{ kind: "delete", id }]);
        this.rows.delete(id);
        continue;
      }
      const tags = ["a", "b", "c"].filter(() => this.random.chance(0.3));
      const row = { values: this.values(), metadata: { group: this.random.between(0, 20), tags } };
      const metadata = encoder.encode(JSON.stringify(row.metadata));
      this.opened.store.apply([{ kind: "put", row: { id, values: new Uint8Array(row.values.buffer), metadata } }]);
      this.rows.set(id, row);
    }
    this.opened.endTurn();
  }

  filter(): Record<string, unknown> | undefined {
    return this.random.pick([
      undefined,
      { group: this.random.between(0, 21) },
      { tags: ["a"] },
      { $or: [{ group: { $lt: 4 } }, { tags: { $containsAll: ["b", "c"] } }] },
      { $not: { tags: { $exists: true } } },
    ]);
  }

  check(): void {
    const { searcher } = this.opened;
    const asked = this.filter();
    const filter = asked && parseFilter(asked);
    const query = this.values();
    const k = this.random.pick([1, 5, 50, 1000]);
    const wanted = [...this.rows]
      .filter(([, row]) => !filter || matches(filter, row.metadata as never))
      .map(([id, row]) => ({ id, distance: distance(this.metric, query, row.values) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, k);
    for (const { name: index } of SPECS) {
      const { hits } = searcher.search({ values: query, k, filter, effort: { rerank: 1000 }, index });
      expect(hits.length, index).toBe(wanted.length);
      for (const [at, hit] of hits.entries()) {
        const { id } = hit.segment.idOf(hit.row);
        expect(Math.abs(hit.distance - wanted[at]!.distance), `${index} ${id} at ${at}`).toBeLessThan(
          1e-4 * this.dimension,
        );
        expect(this.rows.has(id)).toBe(true);
      }
    }
  }
}

describe("searches of a shard", () => {
  it.each(SEEDS)(
    "[VE-90][VE-91] give the nearest rows that live and match, whatever segments they are in, seed %i",
    (seed) => {
      const world = new World(seed);
      const { opened, random } = world;
      for (let step = 0; step < 40; step++) {
        world.write(random.between(1, 60));
        if (random.chance(0.2)) finished(opened.store.seal());
        if (random.chance(0.1) && opened.store.sealed.length > 1) finished(opened.store.merge(opened.store.sealed));
        if (random.chance(0.1)) opened.crash();
        world.check();
      }
      expect(opened.missing).toEqual([]);
    },
  );

  it("[VE-92] a segment whose index finds no memory is scanned and told; nothing is lost", () => {
    const opened = openStore({ specs: SPECS, budgetBytes: 1_500_000, dimension: 64 });
    const put = (id: string, at: number): void => {
      const values = Float32Array.from({ length: 64 }, (_, place) => (place === 0 ? at : 0));
      opened.store.apply([
        { kind: "put", row: { id, values: new Uint8Array(values.buffer), metadata: new Uint8Array(0) } },
      ]);
    };
    for (let at = 0; at < 3000; at++) put(`r${at}`, at);
    opened.endTurn();
    finished(opened.store.seal());
    expect(opened.missing.length).toBeGreaterThan(0);
    const query = new Float32Array(64);
    query[0] = 1234;
    for (const { name: index } of SPECS) {
      const { hits } = opened.searcher.search({ values: query, k: 3, effort: {}, index });
      expect(hits.map((hit) => hit.segment.idOf(hit.row).id)[0]).toBe("r1234");
    }
  });

  it.each<readonly [Pick<IndexSpec, "kind" | "quantizer" | "effort" | "reduction">, string]>([
    [{ kind: "HNSW", quantizer: "int8", effort: {} }, "walk"],
    [{ kind: "HNSW", quantizer: "int8", effort: {}, reduction: { kind: "pca", dimensions: 14 } }, "walk"],
    [{ kind: "IVF", quantizer: "rabitq", effort: { probes: 120 } }, "lists"],
    [{ kind: "IVF", quantizer: "pq", effort: { probes: 120 } }, "lists"],
    [{ kind: "IVF", quantizer: "none", effort: { probes: 120 } }, "lists"],
    [{ kind: "IVF", quantizer: "int8", effort: { probes: 120 } }, "lists"],
    [{ kind: "LSH", quantizer: "none", effort: { probes: 1600 } }, "buckets"],
    [{ kind: "LSH", quantizer: "rabitq", effort: { probes: 1600 } }, "buckets"],
  ])("[VE-90][VE-93] %o over a large segment: recall, restart, merge", (of, plan) => {
    const spec: IndexSpec = { name: "default", ...of };
    const opened = openStore({ specs: [spec], dimension: 16, metric: "cosine" });
    const random = new Random(9);
    const rows = Array.from({ length: 17_000 }, () =>
      Float32Array.from({ length: 16 }, () => random.between(-500, 500) + 0.5),
    );
    const put = (row: Float32Array, at: number) =>
      ({
        kind: "put",
        row: { id: `r${at}`, values: new Uint8Array(row.buffer), metadata: new Uint8Array(0) },
      }) as const;
    opened.store.apply(rows.map(put));
    opened.endTurn();
    finished(opened.store.seal());
    const queries = Array.from({ length: 20 }, () =>
      Float32Array.from({ length: 16 }, () => random.between(-500, 500)),
    );
    const ask = (values: Float32Array) =>
      opened.searcher.search({ values, k: 10, effort: of.effort, index: "default" });
    const recall = (): number => {
      let found = 0;
      for (const query of queries) {
        const exact = rows.map((row, at) => [distance("cosine", query, row), at] as const).sort((a, b) => a[0] - b[0]);
        const wanted = new Set(exact.slice(0, 10).map(([, at]) => `r${at}`));
        const { hits, plans } = ask(query);
        expect(plans.map(({ plan }) => plan)).toEqual([plan]);
        for (const hit of hits) if (wanted.has(hit.segment.idOf(hit.row).id)) found++;
      }
      return found / (10 * queries.length);
    };
    expect(recall()).toBeGreaterThan(0.95);
    const before = ask(queries[0]!).hits.map(({ row }) => row);
    opened.endTurn();
    opened.crash();
    expect(ask(queries[0]!).hits.map(({ row }) => row)).toEqual(before);
    const { index } = opened.indexes.built(opened.store.sealed[0]!, spec)!;
    expect(index instanceof ReducedIndex).toBe(of.reduction !== undefined);
    opened.store.apply(rows.slice(0, 100).map(put));
    opened.endTurn();
    finished(opened.store.seal());
    finished(opened.store.merge(opened.store.sealed));
    expect(recall()).toBeGreaterThan(0.95);
    expect(opened.store.liveCount).toBe(17_000);
    expect(opened.missing).toEqual([]);
  });
});
