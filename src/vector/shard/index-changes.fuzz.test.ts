// Indexes that come, change and go while rows are written, sealed, merged and searched, with crashes between any two slices.
// A failing run prints its seed: set JADE_VECTOR_SEED to run it alone.
import { describe, expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { type OpenStore, openStore } from "../../../test/unit/vector/open-store.ts";
import { referenceDistance as distance } from "../distances.reference.ts";
import type { Segment } from "../segment/segment.ts";
import type { IndexSpec, Quantizer } from "./index-kinds.ts";
import { finished } from "./shard-indexes.ts";
import { shardStatus } from "./shard-status.ts";

const SEEDS = process.env["JADE_VECTOR_SEED"]
  ? [Number(process.env["JADE_VECTOR_SEED"])]
  : Array.from({ length: 10 }, (_, index) => index + 1);
const DIMENSION = 6;
const QUANTIZERS: readonly Quantizer[] = ["int8", "none", "rabitq", "pq"];
const FIRST: IndexSpec = { name: "default", kind: "FLAT", quantizer: "int8", effort: {} };

const put = (id: string, values: Float32Array) =>
  ({ kind: "put", row: { id, values: new Uint8Array(values.buffer), metadata: new Uint8Array(0) } }) as const;

function statusOf({ store, indexes, core }: OpenStore) {
  return shardStatus({ store, indexes }, core).indexes;
}

/** All that is stored is named once by a segment or waits to be deleted. */
function expectNoOrphans({ sql, store }: OpenStore): void {
  const count = (query: string): number => Number([...sql.exec<{ n: number }>(query)][0]!.n);
  const named = store.sealed.flatMap(({ directory }) => [...directory.sections.values()].flatMap(({ parts }) => parts));
  expect(count("SELECT count(*) AS n FROM storage_blobs")).toBe(named.length);
  expect(count("SELECT count(*) AS n FROM storage_intents")).toBe(0);
}

function finishIndexing(opened: OpenStore, begun?: Generator<void, void>): void {
  if (begun) finished(begun);
  for (let work = opened.store.indexing(); work; work = opened.store.indexing()) finished(work);
  opened.endTurn();
  while (opened.store.sweep()) opened.endTurn();
}

class World {
  readonly random: Random;
  readonly opened = openStore({ dimension: DIMENSION, specs: [FIRST] });
  readonly rows = new Map<string, Float32Array>();
  specs: readonly IndexSpec[] = [FIRST];
  job: Generator<void, void> | undefined;
  builds = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  values(): Float32Array {
    return Float32Array.from({ length: DIMENSION }, () => this.random.between(-1000, 1000) / 97);
  }

  write(): void {
    for (let left = this.random.between(1, 40); left > 0; left--) {
      const id = `r${this.random.between(0, 300)}`;
      const values = this.values();
      const isPut = this.random.chance(0.7);
      this.opened.store.apply([isPut ? put(id, values) : { kind: "delete", id }]);
      if (isPut) this.rows.set(id, values);
      else this.rows.delete(id);
    }
    this.opened.endTurn();
  }

  changeIndexes(): void {
    const build = ++this.builds;
    const kind = this.random.pick(["FLAT", "HNSW", "IVF", "LSH"] as const);
    const quantizer = this.random.pick(kind === "HNSW" ? QUANTIZERS.slice(0, 2) : QUANTIZERS);
    const name = this.random.pick(["default", "b", "c"]);
    const others = this.specs.filter((spec) => spec.name !== name);
    const isGone = name !== "default" && this.random.chance(0.4);
    const changed = isGone ? others : [...others, { name, kind, quantizer, build, effort: {} }];
    this.specs = changed.toSorted((a, b) => Number(b.name === "default") - Number(a.name === "default"));
    this.opened.want(this.specs);
  }

  maintain(): void {
    const { store } = this.opened;
    const inputs = store.sealed.filter(() => this.random.chance(0.5));
    if (!this.job && this.random.chance(0.3)) this.job = inputs.length > 1 ? store.merge(inputs) : store.seal();
    this.job ??= store.indexing() ?? store.seal();
    for (let slices = this.random.between(1, 10); slices > 0 && this.job; slices--) {
      if (this.job.next().done) this.job = undefined;
    }
    this.opened.endTurn();
  }

  check(): void {
    const { searcher } = this.opened;
    const query = this.values();
    const wanted = [...this.rows].map(([id, values]) => [distance("euclidean", query, values), id] as const);
    const nearest = wanted.toSorted((a, b) => a[0] - b[0]);
    for (const { name: index } of this.specs) {
      // As many as there are: then codes decide nothing.
      const { hits } = searcher.search({ values: query, k: 400, effort: {}, index });
      expect(hits.map((hit) => hit.segment.idOf(hit.row).id).sort()).toEqual([...this.rows.keys()].sort());
      for (const [at, hit] of hits.entries()) expect(hit.distance).toBeCloseTo(nearest[at]![0], 2);
    }
  }

  crash(): void {
    this.job = undefined;
    this.opened.crash();
  }

  step(): void {
    const kind = this.random.between(0, 11);
    if (kind < 3) this.write();
    else if (kind < 5) this.changeIndexes();
    else if (kind < 10) this.maintain();
    else if (kind < 11) this.check();
    else this.crash();
  }
}

describe("indexes of a shard", () => {
  it.each(SEEDS)("[VE-210][VE-211][VE-212] come, change and go under writes, merges and crashes, seed %i", (seed) => {
    const world = new World(seed);
    for (let step = 0; step < 120; step++) world.step();
    if (world.job) finished(world.job);
    finishIndexing(world.opened);
    world.check();
    for (const { name, indexedRows, rows, progress, missing } of statusOf(world.opened))
      expect({ name, indexedRows, progress, missing }).toEqual({ name, indexedRows: rows, progress: 1, missing: [] });
    expectNoOrphans(world.opened);
    world.crash();
    world.check();
    // What was built is there after a restart: only rows without codes are looked at again.
    expect(world.opened.store.indexing()).toBeUndefined();
  });

  it("[VE-210][VE-211] each kind is built behind a segment that serves, writes are seen at once, and before and after the switch", () => {
    const opened = openStore({ dimension: DIMENSION, specs: [FIRST] });
    const random = new Random(5);
    const rows = Array.from({ length: 17_000 }, () =>
      Float32Array.from({ length: DIMENSION }, () => random.between(-1000, 1000) / 97),
    );
    opened.store.apply(rows.map((values, at) => put(`r${at}`, values)));
    opened.endTurn();
    finished(opened.store.seal());
    const added: readonly (readonly [IndexSpec, RegExp])[] = [
      [{ name: "graph", kind: "HNSW", quantizer: "int8", build: 1, effort: {} }, /walk/],
      [{ name: "lists", kind: "IVF", quantizer: "rabitq", build: 2, effort: {} }, /lists/],
      [{ name: "buckets", kind: "LSH", quantizer: "int8", build: 3, effort: {} }, /buckets/],
    ];
    const ask = (values: Float32Array, index: string) => {
      const { hits, plans } = opened.searcher.search({ values, k: 1, effort: {}, index });
      return { id: hits[0]?.segment.idOf(hits[0].row).id, plan: plans.at(-1) };
    };
    opened.want([FIRST, ...added.map(([spec]) => spec)]);
    for (const [{ name }, plan] of added) {
      expect(ask(rows[77]!, name)).toMatchObject({ id: "r77", plan: { plan: "scan", index: "default" } });
      const work = opened.store.indexing()!;
      let slices = 0;
      while (!work.next().done) {
        if (++slices % 40 !== 0) continue;
        // An upsert and a deletion while it is built: seen by the next search, whichever index answers.
        const moved = Float32Array.from({ length: DIMENSION }, (_, i) => (i === 0 ? 1000 + slices : 0));
        opened.store.apply([put(`moved-${slices}`, moved), { kind: "delete", id: `r${slices}` }]);
        opened.endTurn();
        expect(ask(moved, name).id).toBe(`moved-${slices}`);
        expect(ask(rows[slices]!, name).id).not.toBe(`r${slices}`);
      }
      opened.endTurn();
      expect(slices).toBeGreaterThan(40);
      expect(ask(rows[77]!, name)).toMatchObject({ id: "r77", plan: { plan: expect.stringMatching(plan) } });
      expect(ask(rows[40]!, name).id).not.toBe("r40");
      expect(ask(Float32Array.of(1040, 0, 0, 0, 0, 0), name).id).toBe("moved-40");
    }
    expect(statusOf(opened).map(({ progress }) => progress)).toEqual([1, 1, 1, 1]);
    opened.crash();
    for (const [{ name }, plan] of added)
      expect(ask(rows[78]!, name)).toMatchObject({ id: "r78", plan: { plan: expect.stringMatching(plan) } });
    expect(opened.store.indexing()).toBeUndefined();
    // Asked for anew: the old build serves. Given up again while it is written: nothing of it stays.
    const graph = added[0]![0];
    opened.want([FIRST, { ...graph, build: 9 }]);
    const old = { id: "r78", plan: { plan: expect.stringMatching(/walk/), index: "graph~1" } };
    expect(ask(rows[78]!, "graph")).toMatchObject(old);
    let work = opened.store.indexing()!;
    const intents = () => [...opened.sql.exec("SELECT name FROM storage_intents")].length;
    while (intents() === 0) if (work.next().done) work = opened.store.indexing()!;
    expect(ask(rows[78]!, "graph")).toMatchObject(old);
    opened.want([FIRST, graph]);
    finishIndexing(opened, work);
    expectNoOrphans(opened);
    // Gone: its memory at once, its blobs by and by.
    const before = opened.core.arena.usedBytes;
    opened.want([FIRST]);
    expect(opened.core.arena.usedBytes).toBeLessThan(before / 2);
    finishIndexing(opened);
    expectNoOrphans(opened);
  });

  it("[VE-213] edge case 5: rows that cannot be read are left out and named, the build finishes, the others are found", () => {
    const opened = openStore({ dimension: DIMENSION, specs: [{ ...FIRST, quantizer: "none" }] });
    const random = new Random(6);
    const rows = Array.from({ length: 1000 }, () =>
      Float32Array.from({ length: DIMENSION }, () => random.between(-1000, 1000) / 97),
    );
    opened.store.apply(rows.map((values, at) => put(`r${at}`, values)));
    opened.endTurn();
    finished(opened.store.seal());
    const segment = opened.store.sealed[0] as Segment;
    const { parts, blocks } = segment.directory.sections.get("values")!;
    const damaged = blocks[1]!;
    const after = blocks[2]!.firstRow;
    damage(opened, parts[damaged.part]!, damaged.offset);
    opened.want([
      { ...FIRST, quantizer: "none" },
      { ...FIRST, name: "codes", build: 1 },
    ]);
    finishIndexing(opened);
    expect(statusOf(opened)[0]!.quarantinedRows).toBe(after - damaged.firstRow);
    const check = (): void => {
      const status = statusOf(opened)[1]!;
      expect(status).toMatchObject({ progress: 1, quarantinedRows: after - damaged.firstRow, missing: [] });
      expect(status.quarantined).toHaveLength(100);
      expect(status.quarantined[0]).toEqual({ segment: 1, row: damaged.firstRow, id: `r${damaged.firstRow}` });
      const ask = (at: number) => opened.searcher.search({ values: rows[at]!, k: 1, effort: {}, index: "codes" }).hits;
      for (const at of [0, damaged.firstRow - 1, after, 999])
        expect(ask(at)[0]!.segment.idOf(ask(at)[0]!.row).id).toBe(`r${at}`);
      expect(ask(damaged.firstRow)[0]!.row).not.toBe(damaged.firstRow);
    };
    check();
    opened.crash();
    check();
  });

  it("[VE-214] an index for which there is no memory is given up before writes are: the old one serves, the status says why", () => {
    const opened = openStore({ dimension: 64, specs: [FIRST], budgetBytes: 2_800_000 });
    const row = (at: number): Float32Array =>
      Float32Array.from({ length: 64 }, (_, place) => (place === 0 ? at : place));
    for (let from = 0; from < 8000; from += 1000) {
      opened.store.apply(Array.from({ length: 1000 }, (_, at) => put(`r${from + at}`, row(from + at))));
      if (from % 2000 === 1000) finished(opened.store.seal());
    }
    opened.endTurn();
    opened.want([FIRST, { ...FIRST, name: "floats", quantizer: "none", build: 1 }]);
    const before = opened.core.arena.usedBytes;
    finishIndexing(opened);
    const [, floats] = statusOf(opened);
    expect(floats!.missing.length).toBeGreaterThan(0);
    expect(floats!.missing[0]!.why).toMatch(/do not fit: \d+ of 2800000 bytes/);
    expect(floats!.progress).toBeLessThan(1);
    expect(before).toBeLessThan(2_800_000);
    opened.store.apply([put("new", row(-5))]);
    const { hits } = opened.searcher.search({ values: row(-5), k: 1, effort: {}, index: "floats" });
    expect(hits[0]!.segment.idOf(hits[0]!.row).id).toBe("new");
    // Nothing is tried again before something changes.
    expect(opened.store.indexing()).toBeUndefined();
  });
});

/** Flips a bit of a stored block; a restart forgets what was read before. */
function damage(opened: OpenStore, blob: string, offset: number): void {
  const { sql } = opened;
  const [{ id }] = [...sql.exec<{ id: number }>("SELECT id FROM storage_blobs WHERE name = ?", blob)] as [
    { id: number },
  ];
  const piece = id * 2 ** 28 + offset;
  const rows = [...sql.exec<{ bytes: ArrayBuffer }>("SELECT bytes FROM storage_pieces WHERE id = ?", piece)];
  const bytes = new Uint8Array(rows[0]!.bytes);
  bytes[5]! ^= 4;
  void [...sql.exec("UPDATE storage_pieces SET bytes = ? WHERE id = ?", bytes, piece)];
  opened.endTurn();
  opened.crash();
}
