// Snapshots of databases whose rows are placed, and ways back to them, under writes, over many seeds, with shards that die at any of their calls.
import { afterEach, expect, it, vi } from "vitest";
import { seededWords } from "../../../src/vector/quantize/seeded.ts";
import { Clock } from "./resplit-clock.ts";
import { metadataOf, SHARDINGS, valuesOf } from "./resplit-rows.ts";
import { World } from "./resplit-world.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** What an id was, or may have been, from a time to a time. */
interface Was {
  readonly n: number | undefined;
  readonly fromMs: number;
  untilMs: number;
}

const IDS = 90;

async function run(seed: number): Promise<{ deaths: number; settled: boolean; held: number }> {
  const clock = new Clock();
  const words = seededWords(seed);
  const random = (): number => words() / 2 ** 32;
  const crashAt = new Set(seed % 5 === 0 ? [] : Array.from({ length: 1 + (seed % 4) }, () => 200 + (words() % 900)));
  const world = new World({ random, crashAt, sharding: SHARDINGS[seed % SHARDINGS.length]! });
  const history = new Map<string, Was[]>();
  let [writes, held] = [0, 0];
  const write = async (id: string, n: number | undefined): Promise<void> => {
    const was = history.get(id) ?? [{ n: undefined, fromMs: 0, untilMs: Number.POSITIVE_INFINITY }];
    history.set(id, was);
    const next = { n, fromMs: Date.now(), untilMs: Number.POSITIVE_INFINITY };
    was.push(next);
    const writeId = new Uint8Array(16);
    new DataView(writeId.buffer).setUint32(0, ++writes);
    await world.write(
      n === undefined
        ? { kind: "delete", ids: [id] }
        : { kind: "upsert", rows: [{ id, values: valuesOf(n), metadata: metadataOf(n) }] },
      writeId,
    );
    was.at(-2)!.untilMs = Date.now();
  };
  let isOver = false;
  let isRestoring = false;
  const writer = async (from: number): Promise<void> => {
    while (!isOver) {
      const beganRestoring = isRestoring;
      await write(`v${from + Math.floor(random() * 30)}`, random() < 0.2 ? undefined : Math.floor(random() * 120));
      if (beganRestoring) held++;
      await world.pause();
    }
  };
  const rest = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms));
  /** Each id is in one shard at most, and what one of `of` was. */
  const check = (of: (was: Was) => boolean, said: string): void => {
    for (const [id, was] of history) {
      const copies = world.shards.flatMap(({ rows }) => rows.get(id) ?? []);
      expect(copies.length, `seed ${seed}: ${id} ${said}`).toBeLessThan(2);
      const n = copies[0] && (JSON.parse(new TextDecoder().decode(copies[0].metadata)) as { n: number }).n;
      const may = was.filter(of).map((each) => each.n);
      expect(may, `seed ${seed}: ${id} ${said}`).toContain(n);
    }
  };
  const found = async (): Promise<void> => {
    for (const shard of world.shards)
      for (const [id, { metadata }] of shard.rows) {
        const { n } = JSON.parse(new TextDecoder().decode(metadata)) as { n: number };
        let hits: readonly string[] | undefined;
        while (!hits) hits = (await world.search(n))?.hits.map((hit) => hit.id);
        expect(hits, `seed ${seed}: ${id} of ${n}`).toContain(id);
      }
  };
  let settled = false;
  const all = async (): Promise<void> => {
    await world.configure();
    // Some of them before it is learned where they belong, some behind it.
    const first = seed % 2 === 0 ? IDS : 40;
    await Promise.all(Array.from({ length: first }, (_, at) => write(`v${at}`, Math.floor(random() * 120))));
    if (seed % 3 === 2) await world.reshard(3);
    else if (seed % 2 === 0) await rest(3000);
    const writers = Promise.all([writer(0), writer(30), writer(60)]);
    await rest(300);
    const [fromMs] = [Date.now()];
    await world.keep({ kind: "takeSnapshot", snapshotId: "s" });
    const untilMs = Date.now();
    settled = world.record.lifecycle!.snapshots[0]!.isSettled === true;
    await rest(2500);
    const isQuiet = seed % 3 !== 0;
    isOver = isQuiet;
    if (isQuiet) await writers;
    for (const token of ["one", "two"]) {
      isRestoring = true;
      await world.keep({ kind: "restoreSnapshot", snapshotId: "s", token });
      isRestoring = false;
      const wasThen = (was: Was): boolean => was.fromMs <= untilMs && was.untilMs >= fromMs;
      if (isQuiet) check(wasThen, `after ${token}`);
      if (!isQuiet) break;
      await found();
      // Written again it stays one, wherever it goes.
      for (let at = 0; at < 20; at++) await write(`v${at * 4}`, Math.floor(random() * 120));
    }
    isOver = true;
    await writers;
    await rest(12_000);
    check(() => true, "at the end");
    for (const id of history.keys()) await write(id, Math.floor(random() * 120));
    await rest(12_000);
    check((was) => was.untilMs === Number.POSITIVE_INFINITY, "written again");
    await found();
  };
  await clock.finished(all());
  return { deaths: world.deaths, settled, held };
}

it("[VE-307][VE-308][VE-309][VE-310] whatever dies at whatever call: each vector of the snapshot once, as it was then, found, and written again", async () => {
  const sums = { deaths: 0, settled: 0, unsettled: 0, held: 0 };
  for (let seed = 0; seed < Number(process.env["RESPLIT_SEEDS"] ?? 8); seed++) {
    const one = await run(seed);
    sums.deaths += one.deaths;
    sums.held += one.held;
    sums[one.settled ? "settled" : "unsettled"]++;
  }
  expect(sums.deaths).toBeGreaterThan(5);
  expect(sums.held).toBeGreaterThan(0);
  expect(Math.min(sums.settled, sums.unsettled)).toBeGreaterThan(0);
}, 120_000);
