// Blobs on their way to the blob store and back, of an archived shard and of one in use, with a crash at any step.
// A failing run prints its seed: set JADE_VECTOR_SEED to run it alone.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { type OpenStore, openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import { createKernels } from "../../storage/kernels.ts";
import { MemoryBlobStore } from "../../storage/memory-blob-store.ts";
import { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import { ByteReader } from "../../wire/bytes.ts";
import { readSnapshotRow } from "../../wire/vector-snapshot.ts";
import { AwayBlocks } from "../segment/away.ts";
import type { Segment } from "../segment/segment.ts";
import { COLD_POINTS, ColdBlobs, type ColdPoint } from "./cold-blobs.ts";
import { spansOf } from "./heat.ts";
import type { IndexSpec } from "./index-kinds.ts";
import { finished } from "./shard-indexes.ts";
import type { SnapshotPlace } from "./snapshots.ts";
import { TieredBlobs } from "./tiered-blobs.ts";

const OPEN_SEEDS = process.env["JADE_VECTOR_SEED"]
  ? [Number(process.env["JADE_VECTOR_SEED"])]
  : Array.from({ length: 4 }, (_, index) => index + 1);

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const encoder = new TextEncoder();

class Killed extends Error {}

/** A shard with some segments, archived: nobody has it open. */
class World {
  readonly opened: OpenStore = openStore();
  readonly cold = new MemoryBlobStore();
  readonly reached = new Set<ColdPoint>();
  readonly random: Random;
  /** The process dies at the point after so many others. */
  left = Number.POSITIVE_INFINITY;
  #drawn = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 400; n++) {
        const metadata = encoder.encode(JSON.stringify({ n, text: "some text that repeats ".repeat(4) }));
        const row = { id: `r${round * 300 + n}`, values: valuesOf(n, round), metadata };
        this.opened.store.apply([{ kind: "put", row }]);
      }
      finished(this.opened.store.seal());
    }
    this.opened.endTurn();
    while (this.opened.store.sweep()) this.opened.endTurn();
    this.opened.endTurn();
  }

  blobs(): ColdBlobs {
    const { sql } = this.opened;
    return new ColdBlobs({
      ...{ sql, local: new SqliteBlobStore(sql), cold: this.cold },
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      random: (count) => new Uint8Array(count).fill(++this.#drawn),
      durable: async () => sql.endTurn(),
      at: async (point) => {
        this.reached.add(point);
        if (--this.left < 0) throw new Killed(point);
      },
    });
  }

  /** Until it is done or the process dies; what was not durable is gone then. */
  async run(work: (blobs: ColdBlobs) => Promise<void>): Promise<boolean> {
    try {
      await work(this.blobs());
      this.opened.sql.endTurn();
      return true;
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.opened.sql.crash();
      return false;
    }
  }

  count(table: string): number {
    return Number([...this.opened.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)][0]!.n);
  }
}

const coolAll = async (blobs: ColdBlobs): Promise<void> => {
  await blobs.sweep();
  while (await blobs.coolNext());
};

/** Everything that is stored of the rows. */
function shown({ store }: OpenStore): readonly string[] {
  return Array.from({ length: 1000 }, (_, n) => {
    const row = store.get(`r${n}`);
    return row ? [row.id, row.stamp.version, Buffer.from(row.values).toString("hex"), row.metadata.length].join() : "";
  });
}

it("[VE-261][VE-262] all blobs go to the blob store, smaller, and come back as they were; nothing is left there", async () => {
  const world = new World(1);
  const before = shown(world.opened);
  const blobs = world.count("storage_blobs");
  const bytes = () =>
    Number([...world.opened.sql.exec<{ n: number }>("SELECT sum(length(bytes)) AS n FROM storage_pieces")][0]!.n);
  const held = bytes();
  await world.run(coolAll);
  expect([world.count("storage_blobs"), world.count("storage_pieces"), world.cold.blobs.size]).toEqual([0, 0, blobs]);
  const cold = [...world.cold.blobs.values()].reduce((sum, { length }) => sum + length, 0);
  expect(cold).toBeLessThan(held * 0.8);
  await world.run((cold) => cold.thaw());
  expect([world.count("vector_cold"), world.count("vector_cold_dead"), world.cold.blobs.size]).toEqual([0, 0, 0]);
  expect(bytes()).toBe(held);
  world.opened.reopen();
  expect(shown(world.opened)).toEqual(before);
});

it.each(Array.from({ length: 6 }, (_, at) => at + 1))(
  "[VE-262] killed at any step, on the way there or back, nothing is lost and nothing is left behind, seed %i",
  async (seed) => {
    const world = new World(seed);
    const before = shown(world.opened);
    let kills = 0;
    for (let round = 0; round < 40; round++) {
      world.left = world.random.between(0, 14);
      const isThere = world.random.chance(0.5);
      if (!(await world.run((blobs) => (isThere ? coolAll(blobs) : blobs.thaw())))) kills++;
      // Whole in one of the two places at least.
      const names = new Set(
        [
          ...world.opened.sql.exec<{ name: string }>(
            "SELECT name FROM storage_blobs UNION SELECT name FROM vector_cold WHERE state = 'there'",
          ),
        ].map(({ name }) => name),
      );
      expect(names.size).toBe(
        new Set(
          world.opened.store.sealed.flatMap(({ directory }) =>
            [...directory.sections.values()].flatMap(({ parts }) => parts),
          ),
        ).size,
      );
    }
    expect(kills).toBeGreaterThan(5);
    world.left = Number.POSITIVE_INFINITY;
    await world.run((blobs) => blobs.thaw());
    expect([world.count("vector_cold"), world.count("vector_cold_dead"), world.cold.blobs.size]).toEqual([0, 0, 0]);
    world.opened.reopen();
    expect(shown(world.opened)).toEqual(before);
    expect([...world.reached].sort()).toEqual(Object.keys(COLD_POINTS).sort());
  },
);

it("[VE-263] a changed or missing blob in the blob store is found, and the shard keeps what says where it is", async () => {
  const world = new World(2);
  await world.run(coolAll);
  const rows = world.count("vector_cold");
  for (let round = 0; round < 24; round++) {
    const names = [...world.cold.blobs.keys()];
    const name = names[world.random.between(0, names.length - 1)]!;
    const bytes = world.cold.blobs.get(name)!;
    const at = world.random.between(0, bytes.length - 1);
    const changed = [undefined, bytes.with(at, bytes[at]! ^ 16), bytes.slice(1)][round % 3];
    world.cold.blobs.delete(name);
    if (changed) world.cold.blobs.set(name, changed);
    await expect(world.blobs().thaw()).rejects.toThrow(/blob/);
    world.opened.sql.crash();
    world.cold.blobs.set(name, bytes);
    await world.run(coolAll);
  }
  expect(world.count("vector_cold")).toBe(rows);
});

it("[VE-264] an erased shard leaves nothing in the blob store, whatever step it was at", async () => {
  for (let left = 0; left < 30; left += 3) {
    const world = new World(3);
    world.left = left;
    await world.run(coolAll);
    world.left = Number.POSITIVE_INFINITY;
    await world.run((blobs) => blobs.erase());
    expect([world.count("vector_cold"), world.count("vector_cold_dead"), world.cold.blobs.size]).toEqual([0, 0, 0]);
  }
});

const WIDE = 32;
const SPEC: IndexSpec = { name: "default", kind: "FLAT", quantizer: "int8", effort: {} };

/** A shard in use, some of whose values are in the blob store. Each step ends durable, so the model is what is stored. */
class OpenWorld {
  readonly opened: OpenStore = openStore({ dimension: WIDE, specs: [SPEC] });
  readonly cold = new MemoryBlobStore();
  readonly reached = new Set<ColdPoint>();
  readonly rows = new Map<string, Uint8Array>();
  readonly snapshots = new Map<string, ReadonlyMap<string, Uint8Array>>();
  readonly random: Random;
  kills = 0;
  isArchived = false;
  merging: { readonly inputs: readonly Segment[]; readonly work: Generator<void, void> } | undefined;
  fetched = 0;
  /** The process dies at the point after so many others. */
  left = Number.POSITIVE_INFINITY;
  #drawn = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  coldBlobs(): ColdBlobs {
    const { sql } = this.opened;
    return new ColdBlobs({
      ...{ sql, local: this.opened.blobs.local, cold: this.cold },
      crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
      random: (count) => new Uint8Array(new Uint32Array(count).fill(++this.#drawn).buffer).slice(0, count),
      durable: async () => sql.endTurn(),
      onMoved: (name, isAway) => (isAway ? this.opened.blobs.left(name) : this.opened.blobs.returned(name)),
      at: async (point) => {
        this.reached.add(point);
        if (--this.left < 0) throw new Killed(point);
        if (this.isArchived) return;
        // The shard goes on between two steps.
        if (this.random.chance(0.2)) this.write();
        if (this.random.chance(0.3)) this.merge();
        if (this.random.chance(0.1)) this.sweep();
      },
    });
  }

  async move(work: (blobs: ColdBlobs) => Promise<unknown>): Promise<void> {
    this.left = this.random.chance(0.3) ? this.random.between(0, 6) : Number.POSITIVE_INFINITY;
    try {
      await work(this.coldBlobs());
      this.opened.endTurn();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.kills++;
      this.merging = undefined;
      if (this.isArchived) this.opened.sql.crash();
      else this.opened.crash();
    }
    this.left = Number.POSITIVE_INFINITY;
  }

  write(): void {
    for (let left = this.random.between(1, 60); left > 0; left--) {
      const id = `r${this.random.between(0, 400)}`;
      const values = Float32Array.from({ length: WIDE }, () => this.random.between(-1000, 1000) / 97);
      const row = { id, values: new Uint8Array(values.buffer), metadata: new Uint8Array(0) };
      const isPut = this.random.chance(0.75);
      this.opened.store.apply([isPut ? { kind: "put", row } : { kind: "delete", id }]);
      if (isPut) this.rows.set(id, row.values);
      else this.rows.delete(id);
    }
    this.opened.endTurn();
  }

  /** Some slices of a merge of what is here, as the object's upkeep does it. */
  merge(): void {
    const { store } = this.opened;
    const inputs = store.sealed.filter((segment) => !segment.isAway && this.random.chance(0.5));
    if (!this.merging && inputs.length > 0) this.merging = { inputs, work: store.merge(inputs) };
    for (let left = this.random.between(1, 4); this.merging && left > 0; left--)
      if (this.merging.work.next().done) this.merging = undefined;
    this.opened.endTurn();
  }

  mayLeave(segment: Segment): boolean {
    return this.opened.store.sealed.includes(segment) && !this.merging?.inputs.includes(segment);
  }

  sweep(): void {
    while (this.opened.store.sweep()) this.opened.endTurn();
    this.opened.endTurn();
  }

  snapshot(): void {
    const { store } = this.opened;
    const id = `s${this.random.between(0, 2)}`;
    if (this.snapshots.delete(id)) store.dropSnapshot(id);
    else {
      store.takeSnapshot(id);
      this.snapshots.set(id, new Map(this.rows));
    }
    this.opened.endTurn();
  }

  async lend(): Promise<void> {
    const { store } = this.opened;
    const segment = store.sealed[this.random.between(0, Math.max(0, store.sealed.length - 1))];
    const mayLeave = () => segment !== undefined && this.mayLeave(segment);
    await this.move(async (blobs) => {
      for (const name of segment?.valueBlobs ?? [])
        if (mayLeave() && !this.opened.blobs.away.has(name)) await blobs.lend(name, mayLeave);
      for (const name of store.snapshots.heldValues())
        if (!this.opened.blobs.away.has(name))
          await blobs.lend(name, () => this.opened.store === store && store.snapshots.heldValues().includes(name));
    });
  }

  async bringBack(): Promise<void> {
    const segment = this.opened.store.sealed.find(({ isAway }) => isAway);
    await this.move(async (blobs) => {
      for (const name of segment?.valueBlobs ?? []) if (this.opened.blobs.away.has(name)) await blobs.bringBack(name);
    });
  }

  /** Nobody has it open meanwhile; values that were away before stay so. */
  async archive(): Promise<void> {
    this.isArchived = true;
    this.merging = undefined;
    await this.move(coolAll);
    this.left = Number.POSITIVE_INFINITY;
    await this.coldBlobs().thaw();
    this.isArchived = false;
    this.opened.reopen();
    this.opened.endTurn();
  }

  /** As objects do it. */
  async read<T>(run: () => T): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return run();
      } catch (error) {
        if (!(error instanceof AwayBlocks) || tries === 20) throw error;
        for (const { blob, from, to } of spansOf(error.ranges, 0)) {
          this.fetched++;
          this.opened.blobs.keep(blob, from, (await this.coldBlobs().range(blob, from, to))!);
        }
      }
    }
  }

  async expectRows(): Promise<void> {
    const { store, searcher, sql } = this.opened;
    expect(store.liveCount).toBe(this.rows.size);
    for (const [id, values] of this.rows)
      if (this.random.chance(0.1)) expect((await this.read(() => store.get(id)))?.values, id).toEqual(values);
    const id = [...this.rows.keys()][this.random.between(0, Math.max(0, this.rows.size - 1))];
    if (id !== undefined) {
      const values = new Float32Array(this.rows.get(id)!.slice().buffer);
      const ask = { values, k: 1, effort: {}, index: "default" };
      const [hit] = (await this.read(() => searcher.search(ask))).hits;
      expect([hit!.segment.idOf(hit!.row).id, hit!.distance]).toEqual([id, 0]);
    }
    const here = new Set([...sql.exec<{ name: string }>("SELECT name FROM storage_blobs")].map(({ name }) => name));
    for (const name of store.sealed.flatMap(({ valueBlobs }) => valueBlobs))
      expect(here.has(name), "whole in one place").toBe(!this.opened.blobs.away.has(name));
    const named = new Set([...store.sealed.flatMap(({ valueBlobs }) => valueBlobs), ...store.snapshots.blobs()]);
    for (const { name } of [...sql.exec<{ name: string }>("SELECT name FROM storage_dead")]) named.add(name);
    for (const { name } of [...sql.exec<{ name: string }>("SELECT name FROM vector_cold WHERE state = 'used'")])
      expect(named.has(name), "nothing names it").toBe(true);
    const known = "SELECT cold FROM vector_cold UNION ALL SELECT cold FROM vector_cold_dead";
    const names = new Set([...sql.exec<{ cold: string }>(known)].map(({ cold }) => cold));
    for (const name of this.cold.blobs.keys()) expect(names.has(name), "no orphan").toBe(true);
  }

  async expectSnapshots(): Promise<void> {
    for (const [id, rows] of this.snapshots) {
      const found = new Map<string, Uint8Array>();
      for (let place: SnapshotPlace | null = { part: 0, row: 0 }; place; ) {
        const at: SnapshotPlace = place;
        const page = (await this.read(() => this.opened.store.snapshots.page(id, at)))!;
        for (const reader = new ByteReader(page.rows); !reader.done; ) {
          const row = readSnapshotRow(reader);
          found.set(row.id, row.values);
        }
        place = page.next;
      }
      expect(found, id).toEqual(rows);
    }
  }

  async step(): Promise<void> {
    const { random } = this;
    const steps = [
      () => this.write(),
      () => finished(this.opened.store.seal()),
      () => this.merge(),
      () => this.snapshot(),
      () => this.lend(),
      () => this.lend(),
      () => this.bringBack(),
      () => this.archive(),
      () => this.move((blobs) => blobs.sweep()),
    ];
    await steps[random.between(0, steps.length - 1)]!();
    this.sweep();
  }
}

it.each(OPEN_SEEDS)(
  "[VE-320] values go to the blob store and come back under writes, deletes, merges and snapshots, killed at any step: no row is lost, no blob left, seed %i",
  async (seed) => {
    const world = new OpenWorld(seed);
    for (let round = 0; round < 120; round++) {
      await world.step();
      await world.expectRows();
    }
    await world.expectSnapshots();
    expect(world.fetched).toBeGreaterThan(0);
    expect(world.kills).toBeGreaterThan(0);
    // Nothing but what something names is left there; a shard that is erased leaves nothing.
    await world.move((blobs) => blobs.sweep());
    const used = [...world.opened.sql.exec<{ cold: string }>("SELECT cold FROM vector_cold")].map(({ cold }) => cold);
    expect([...world.cold.blobs.keys()].filter((name) => !used.includes(name))).toEqual([]);
    await world.coldBlobs().erase();
    expect(world.cold.blobs.size).toBe(0);
  },
);

it("[VE-321] a changed block in the blob store is found by the read that meets it; fetched again as it was, it is read", async () => {
  const world = new OpenWorld(1);
  for (let rounds = 0; rounds < 4; rounds++) world.write();
  finished(world.opened.store.seal());
  world.opened.endTurn();
  const [segment] = world.opened.store.sealed;
  await world.coldBlobs().lend(segment!.valueBlobs[0]!, () => true);
  const [name, bytes] = [...world.cold.blobs][0]!;
  // Blocks that were decoded for its index are not read again.
  world.opened.reopen();
  for (const changed of [bytes.with(3, bytes[3]! ^ 16), bytes.slice(1)]) {
    world.cold.blobs.set(name, changed.length === bytes.length ? changed : new Uint8Array([...changed, 0]));
    const id = segment!.idOf(Array.from({ length: 64 }, (_, row) => row).find((row) => !segment!.isDeleted(row))!).id;
    await expect(world.read(() => world.opened.store.get(id))).rejects.toThrow(/CRC32C/);
    await expect(world.coldBlobs().bringBack(segment!.valueBlobs[0]!)).rejects.toThrow(/CRC32C/);
    world.cold.blobs.set(name, bytes);
    world.opened.blobs.forget(segment!.valueBlobs[0]!);
    expect((await world.read(() => world.opened.store.get(id)))?.values).toEqual(world.rows.get(id));
    world.opened.reopen();
  }
});

it("[VE-321] what was fetched is kept within its bytes, the last of it", async () => {
  const world = new OpenWorld(2);
  for (let rounds = 0; rounds < 3; rounds++) {
    world.write();
    finished(world.opened.store.seal());
  }
  const names = world.opened.store.sealed.flatMap(({ valueBlobs }) => valueBlobs);
  for (const name of names) await world.coldBlobs().lend(name, () => true);
  const blobs = new TieredBlobs({ local: world.opened.blobs.local, sql: world.opened.sql, budgetBytes: 1000 });
  for (const blob of names) blobs.keep(blob, 0, new Uint8Array(600));
  expect(blobs.fetchedBytes).toBe(600);
  expect(names.map((blob) => blobs.away.lacks({ blob, offset: 100, bytes: 500 }))).toEqual([true, true, false]);
  expect(() => blobs.getSync(names[0]!, 0, 10)).toThrow(AwayBlocks);
  expect(blobs.getSync(names[2]!, 590, 10)).toEqual(new Uint8Array(10));
});
