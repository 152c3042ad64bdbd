// A re-split under reads and writes, over many seeds, with shards that die at any of its calls.
import { afterEach, expect, it, vi } from "vitest";
import { withoutTwins } from "../../../src/gateway/vector-routing.ts";
import { seededWords } from "../../../src/vector/quantize/seeded.ts";
import { Clock } from "./resplit-clock.ts";
import { metadataOf, SHARDINGS, valuesOf } from "./resplit-rows.ts";
import { World } from "./resplit-world.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

interface Told {
  n: number | undefined;
  /** Odd while it is written. */
  writes: number;
}

async function run(seed: number): Promise<{ calls: number; deaths: number; searches: number; pruned: number }> {
  const clock = new Clock();
  const words = seededWords(seed);
  const random = (): number => words() / 2 ** 32;
  const crashAt = new Set(seed % 4 === 0 ? [] : Array.from({ length: 1 + (seed % 3) }, () => 150 + (words() % 900)));
  const world = new World({ random, crashAt, sharding: SHARDINGS[seed % SHARDINGS.length]! });
  const truth = new Map<string, Told>();
  let nextWrite = 0;
  const write = async (id: string, n: number | undefined): Promise<void> => {
    const told = truth.get(id) ?? { n: undefined, writes: 0 };
    truth.set(id, told);
    told.writes++;
    const writeId = new Uint8Array(16);
    new DataView(writeId.buffer).setUint32(0, ++nextWrite);
    await world.write(
      n === undefined
        ? { kind: "delete", ids: [id] }
        : { kind: "upsert", rows: [{ id, values: valuesOf(n), metadata: metadataOf(n) }] },
      writeId,
    );
    told.n = n;
    told.writes++;
  };
  let isOver = false;
  let [searches, pruned] = [0, 0];
  const writer = async (from: number): Promise<void> => {
    while (!isOver) {
      const id = `v${from + Math.floor(random() * 12)}`;
      await write(id, random() < 0.2 ? undefined : Math.floor(random() * 120));
      await world.pause();
    }
  };
  const reader = async (): Promise<void> => {
    while (!isOver) {
      const id = `v${Math.floor(random() * 96)}`;
      const before = { ...truth.get(id)! };
      if (before.n === undefined || before.writes % 2 === 1) {
        await world.pause();
        continue;
      }
      const found = await world.search(before.n);
      const { writes } = truth.get(id)!;
      if (!found || writes !== before.writes) continue;
      searches++;
      if (found.isPruned) pruned++;
      const ids = withoutTwins(found.hits).map((hit) => hit.id);
      expect(ids, `seed ${seed}: ${id} of ${before.n} is missed`).toContain(id);
      expect(new Set(ids).size).toBe(ids.length);
    }
  };
  const all = async (): Promise<void> => {
    await world.configure();
    await Promise.all(
      Array.from({ length: 96 }, (_, at) => write(`v${at}`, at < 40 ? at * 3 : 90 + Math.floor(random() * 30))),
    );
    const clients = [writer(60), writer(72), writer(84), reader(), reader(), reader()];
    const failed = Promise.all(clients);
    const rest = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 1500));
    const steps = async (): Promise<void> => {
      await rest();
      const isTurnedBack = seed % 5 === 1;
      const callsThen = world.calls + 300;
      await world.reshard(3 + (seed % 3), () => isTurnedBack && world.calls > callsThen);
      await rest();
      await world.reshard(2);
    };
    await Promise.race([steps(), failed]);
    isOver = true;
    await failed;
    await new Promise((resolve) => void setTimeout(resolve, 12_000));
  };
  await clock.finished(all());
  const { numShards } = world.record.sharding;
  for (const [id, { n }] of truth) {
    const copies = world.shards.flatMap(({ rows }) => rows.get(id) ?? []);
    const held = copies.map(({ metadata }) => (JSON.parse(new TextDecoder().decode(metadata)) as { n: number }).n);
    expect(held, `seed ${seed}: ${id}`).toEqual(n === undefined ? [] : [n]);
  }
  const used = world.shards.flatMap(({ rows }, at) => (rows.size > 0 ? [at] : []));
  expect(Math.max(...used)).toBeLessThan(numShards);
  return { calls: world.calls, deaths: world.deaths, searches, pruned };
}

it("[VE-300][VE-301][VE-302] whatever dies at whatever call: each vector once, as it was last written; no search misses one", async () => {
  const sums = { calls: 0, deaths: 0, searches: 0, pruned: 0 };
  for (let seed = 0; seed < Number(process.env["RESPLIT_SEEDS"] ?? 6); seed++) {
    const one = await run(seed);
    for (const name of ["calls", "deaths", "searches", "pruned"] as const) sums[name] += one[name];
  }
  expect(sums.deaths).toBeGreaterThan(5);
  expect(sums.searches).toBeGreaterThan(1000);
  expect(sums.pruned).toBeGreaterThan(50);
}, 120_000);
