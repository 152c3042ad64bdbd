// Rows that retention archives, with crashes, beside an open shard and in the blob store.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { type OpenStore, openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import { createKernels } from "../../storage/kernels.ts";
import { MemoryBlobStore } from "../../storage/memory-blob-store.ts";
import { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import { ByteReader } from "../../wire/bytes.ts";
import type { VectorInput } from "../../wire/vector.ts";
import { readSnapshotRow } from "../../wire/vector-snapshot.ts";
import { ColdBlobs } from "./cold-blobs.ts";
import { ExpiredRows } from "./expired-rows.ts";
import { retain } from "./retention.ts";
import { finished } from "./shard-indexes.ts";

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);
const METADATA = new TextEncoder().encode(`{"text":"${"x".repeat(1000)}"}`);

class World {
  readonly opened: OpenStore = openStore();
  readonly cold = new MemoryBlobStore();
  #drawn = 0;

  #common() {
    const { sql } = this.opened;
    const random = (count: number) => new Uint8Array(count).fill(++this.#drawn);
    return { sql, local: new SqliteBlobStore(sql), crc32c, random };
  }

  get expired(): ExpiredRows {
    return new ExpiredRows({ ...this.#common(), prefix: "v1/default/db~1/0" });
  }

  get blobs(): ColdBlobs {
    return new ColdBlobs({ ...this.#common(), cold: this.cold, durable: async () => this.opened.sql.endTurn() });
  }

  put(from: number, count: number): void {
    for (let n = from; n < from + count; n++) {
      this.opened.clock.ms = n * 1000;
      this.opened.store.apply([{ kind: "put", row: { id: `k${n}`, values: valuesOf(n), metadata: METADATA } }]);
    }
    this.opened.endTurn();
  }

  retain(maxRows: number) {
    const keep = (rows: Iterable<Parameters<ExpiredRows["keep"]>[0] extends Iterable<infer R> ? R : never>) =>
      this.expired.keep(rows);
    return retain(this.opened.store, { maxRows }, { nowMs: 0, keep });
  }

  async rows(): Promise<readonly VectorInput[]> {
    const all: VectorInput[] = [];
    const expired = this.expired;
    for (let after = 0; ; ) {
      const page = await expired.page(after, (name) => this.blobs.read(name));
      if (!page) return all;
      const before = all.length;
      for (const reader = new ByteReader(page.rows); !reader.done; ) all.push(readSnapshotRow(reader));
      expect(all.length - before).toBe(page.count);
      after = page.part;
    }
  }
}

it("[VE-293] a row that expires is archived in the commit in which it goes: over a crash at any slice each row is in one place, as it was", async () => {
  const world = new World();
  world.put(0, 1500);
  finished(world.opened.store.seal());
  world.opened.endTurn();
  for (let slices = 3; slices < 12; slices++) {
    const work = world.retain(300);
    for (let slice = 0; slice < slices; slice++) {
      work.next();
      if (slice < slices - 1) world.opened.endTurn();
    }
    // The last slice is not durable.
    world.opened.crash();
    const archived = await world.rows();
    const live = Array.from({ length: 1500 }, (_, n) => world.opened.store.get(`k${n}`)).filter(Boolean);
    const ids = [...archived.map(({ id }) => id), ...live.map((row) => row!.id)];
    expect([ids.length, new Set(ids).size]).toEqual([1500, 1500]);
  }
  finished(world.retain(300));
  world.opened.endTurn();
  const archived = await world.rows();
  expect(archived.map(({ id }) => id)).toEqual(Array.from({ length: 1200 }, (_, n) => `k${n}`));
  const { values, metadata, before } = archived[7]!;
  expect([values, metadata.length, before]).toEqual([
    ...[valuesOf(7), METADATA.length, { version: 1, createdMs: 7000, updatedMs: 7000 }],
  ]);
  expect(world.expired.info()).toMatchObject({ rows: 1200, oldestMs: 0, newestMs: 1_199_000 });
});

it("[VE-294] few rows at a time share a blob; full ones go to the blob store beside the open shard and stay there when it is restored", async () => {
  const world = new World();
  for (let round = 0; round < 60; round++) {
    world.put(round * 10, 10);
    finished(world.retain(0));
    world.opened.endTurn();
  }
  world.put(600, 5);
  finished(world.opened.store.seal());
  world.opened.endTurn();
  const parts = world.expired.info().parts;
  expect(parts).toBe(3);
  const before = (await world.rows()).map(({ id }) => id);
  expect(before).toHaveLength(600);
  expect(world.blobs.hasExpired).toBe(true);
  const blobs = world.blobs;
  while (await blobs.coolNext("expired"));
  expect([world.cold.blobs.size, world.blobs.hasExpired]).toEqual([2, false]);
  // Rows that come now go on in the part that is here.
  world.put(605, 1);
  finished(world.retain(5));
  world.opened.endTurn();
  const after = [...before, "k600"];
  expect([(await world.rows()).map(({ id }) => id), world.expired.info().parts]).toEqual([after, 3]);
  const archiving = world.blobs;
  while (await archiving.coolNext());
  await world.blobs.thaw();
  expect(world.cold.blobs.size).toBe(3);
  world.opened.reopen();
  expect(world.opened.store.liveCount).toBe(5);
  expect((await world.rows()).map(({ id }) => id)).toEqual(after);
  const [name, bytes] = [...world.cold.blobs][1]!;
  world.cold.blobs.set(name, bytes.with(9, bytes[9]! ^ 1));
  await expect(world.rows()).rejects.toThrow(/CRC32C|damaged|blob/);
  const given = world.blobs;
  world.expired.drop(world.expired.info().lastPart, (each) => given.giveUp(each));
  await given.sweep();
  expect([world.cold.blobs.size, world.expired.info().rows, await world.rows()]).toEqual([0, 0, []]);
});

it("[VE-295] who saved what there was deletes that: a part that has grown since, and later ones, stay", async () => {
  const world = new World();
  world.put(0, 10);
  finished(world.retain(5));
  world.opened.endTurn();
  const { lastPart, rows } = world.expired.info();
  expect(rows).toBe(5);
  finished(world.retain(2));
  world.opened.endTurn();
  expect(world.expired.info(lastPart)).toMatchObject({ rows: 0 });
  world.expired.drop(lastPart, () => undefined);
  expect((await world.rows()).map(({ id }) => id)).toEqual(["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]);
  world.expired.drop(world.expired.info().lastPart, () => undefined);
  expect(world.expired.info().rows).toBe(0);
});
