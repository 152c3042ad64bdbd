// An archived shard's blobs on their way to the blob store and back, with a crash at any step.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { Random } from "../../../test/simulation/random.ts";
import { type OpenStore, openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import { createKernels } from "../../storage/kernels.ts";
import { MemoryBlobStore } from "../../storage/memory-blob-store.ts";
import { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import { COLD_POINTS, ColdBlobs, type ColdPoint } from "./cold-blobs.ts";
import { finished } from "./shard-indexes.ts";

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
