// Values of a database in use that lie in the blob store, while the database changes: inside workerd, where vectors.hotMiB is 1 (vitest.config.ts).
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { type House, house, untilReshard } from "./reshard-support.ts";
import type { Db } from "./vector-support.ts";

const DIMENSION = 20;
/** Two sealed segments of 640 KiB of values each, and some rows. */
const ROWS = 2 * 8192 + 100;
const SEGMENT_BYTES = 8192 * DIMENSION * 4;

/** Small whole numbers: their squares are exact. No two are alike. */
const valuesOf = (n: number): number[] => [
  ...[n % 37, Math.floor(n / 37) % 37, Math.floor(n / 1369)],
  ...Array.from({ length: DIMENSION - 3 }, (_, at) => (n * (2 * at + 3) + at * (n % 11)) % 37),
];
const distance2 = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + (value - b[at]!) ** 2, 0);

async function stored(db: Db, from: number, to: number, values = valuesOf): Promise<void> {
  for (let at = from; at < to; at += 4096) {
    const line = (n: number): string => JSON.stringify({ id: `v${n}`, values: values(n), metadata: { n } });
    const lines = Array.from({ length: Math.min(to, at + 4096) - at }, (_, n) => line(at + n)).join("\n");
    expect((await db.send("/vectors/batch", lines, "application/x-ndjson")).status).toBe(200);
  }
}

const status = async (db: Db): Promise<Record<string, unknown>> => (await db.ask("GET", "/status")).json.data;

/** Until the alarms have done what this asks for. */
async function until({ db, shard }: House, shards: number, expected: object): Promise<void> {
  await vi.waitFor(
    async () => {
      for (let at = 0; at < shards; at++) await runDurableObjectAlarm(shard(at));
      expect(await status(db)).toMatchObject(expected);
    },
    { timeout: 60_000, interval: 100 },
  );
}

const isSome = { asymmetricMatch: (value: unknown): boolean => Number(value) >= SEGMENT_BYTES * 0.9 };

async function inBucket({ nameOf }: House, shards: number): Promise<number> {
  const lists = Array.from({ length: shards }, (_, at) => env.BLOBS!.list({ prefix: `storage/cold/${nameOf(at)}/` }));
  return (await Promise.all(lists)).reduce((sum, { objects }) => sum + objects.length, 0);
}

interface Page {
  readonly items: readonly { readonly id: string }[];
  readonly cursor: string | null;
}

/** Every vector, once; and some of them as they were stored. */
async function whole(db: Db, values: (n: number) => readonly number[], rows = ROWS): Promise<void> {
  const seen = new Set<string>();
  for (let cursor = ""; ; ) {
    const answer = await db.ask("GET", `/vectors?limit=1000${cursor && `&cursor=${cursor}`}`);
    const { items, cursor: next } = answer.json.data as unknown as Page;
    for (const { id } of items) seen.add(id);
    if (!next) break;
    cursor = encodeURIComponent(next);
  }
  expect([seen.size, await db.count()]).toEqual([rows, rows]);
  for (let n = 5; n < rows; n += 1499)
    expect((await db.ask("GET", `/vectors/v${n}`)).json.data).toMatchObject({ values: values(n), version: 1 });
}

const FLAT = { vectorDimension: DIMENSION, indexType: "FLAT" };

it("[VE-327] cold values: all that meets a threshold is found, copies get them, and those that are asked for often come back", async () => {
  const own = await house({ ...FLAT, sharding: { numShards: 1 } });
  const { db, shard } = own;
  await stored(db, 0, ROWS);
  await until(own, 1, { segments: 2, coldBytes: isSome });
  expect(Number((await status(db))["hotBytes"])).toBeLessThanOrEqual(1024 * 1024);

  const query = valuesOf(4321);
  const within = Array.from({ length: ROWS }, (_, n) => n).filter((n) => distance2(query, valuesOf(n)) < 1000.5);
  const all = await db.ask("POST", "/search", { queryVector: query, threshold: Math.sqrt(1000.5) });
  const { results, total } = all.json.data as unknown as { results: readonly { id: string }[]; total: number };
  expect(within.length).toBeGreaterThan(10);
  expect([total, results.map(({ id }) => id).sort()], all.text.slice(0, 300)).toEqual([
    within.length,
    within.map((n) => `v${n}`).sort(),
  ]);

  // What the copy has is its own; the leader's stay where they are.
  expect((await db.ask("PUT", "", { replication: { factor: 2, maxLagMs: 0 } })).status).toBe(200);
  const copied = { shards: [{ replicas: [{ lagRevisions: 0 }] }], coldBytes: isSome };
  await until(own, 1, copied);
  const best = { queryVector: query, topK: 1, includeValues: true, consistency: "eventual" };
  expect(await db.search(best)).toMatchObject([{ id: "v4321", score: 0, values: query }]);
  expect((await db.ask("PUT", "", { replication: { factor: 1 } })).status).toBe(200);

  // The first segment is the cold one: it was read longest ago. Room is made for it.
  expect((await db.ask("POST", "/vectors/delete", { filters: { n: { $gte: 8192 } } })).status).toBe(200);
  await until(own, 1, { segments: 1, rows: 8192, coldBytes: isSome });
  await evictDurableObject(shard(0));
  const get = vi.spyOn(Object.getPrototypeOf(env.BLOBS) as R2Bucket, "get");
  for (let n = 0; n < 8192; n += 400)
    expect((await db.ask("GET", `/vectors/v${n}`)).json.data).toMatchObject({ values: valuesOf(n) });
  expect(get.mock.calls.length).toBeGreaterThanOrEqual(16);
  get.mockRestore();
  await until(own, 1, { coldBytes: 0, hotBytes: isSome });
  await vi.waitFor(async () => {
    await runDurableObjectAlarm(shard(0));
    expect(await inBucket(own, 1)).toBe(0);
  }, 20_000);
  await whole(db, valuesOf, 8192);
}, 120_000);

it("[VE-328] cold values: a snapshot is taken and restored, and vectors move to other shards, as if all were here", async () => {
  const sharding = { strategy: "centroid", numShards: 2, learnRows: 64 };
  const own = await house({ vectorDimension: 2 * DIMENSION, indexType: "FLAT", sharding });
  const { db } = own;
  // Two places, and in each of them a segment of more than hotMiB.
  const twice = (n: number): number[] => [...valuesOf(n), ...valuesOf(n + 1)].map((value) => value + 1000 * (n % 2));
  await stored(db, 0, 80, twice);
  await vi.waitFor(async () => expect((await status(db))["sharding"]).toMatchObject({ state: "active" }), 30_000);
  await stored(db, 80, ROWS, twice);
  const areCold = { shards: [{ coldBytes: isSome }, { coldBytes: isSome }] };
  await until(own, 2, areCold);

  const taken = await db.ask("POST", "/snapshots", { snapshotId: "s" });
  expect(taken.json.data, taken.text).toMatchObject({ rows: ROWS });
  await db.ask("POST", "/vectors/delete", { filters: { n: { $gte: 9000, $lt: 9500 } } });
  for (const n of [5, 1504, 16_000]) await db.put(`v${n}`, twice(n + 1));
  for (let round = 0; round < 2; round++) {
    const answer = await db.ask("POST", "/restore", { snapshotId: "s" });
    expect(answer.status, answer.text).toBe(200);
    await whole(db, twice);
  }
  await until(own, 2, areCold);
  expect((await db.ask("DELETE", "/snapshots/s")).status).toBe(200);

  expect((await db.ask("POST", "/reshard", { shards: 3 })).status).toBe(202);
  await untilReshard(own, "done");
  await whole(db, twice);
  expect((await status(db))["shards"]).toMatchObject([
    {},
    {},
    { rows: { asymmetricMatch: (rows: number) => rows > 1000 } },
  ]);
  for (const n of [3, 777, 12_345])
    expect(await db.search({ queryVector: twice(n), topK: 1, includeValues: true })).toMatchObject([
      { score: 0, values: twice(n) },
    ]);
  expect((await db.ask("DELETE", "")).json.data).toMatchObject({ erasure: "done" });
  expect(await inBucket(own, 3)).toBe(0);
}, 180_000);
