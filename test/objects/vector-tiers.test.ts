// Values of a database in use in the blob store, over HTTP inside workerd: vectors.hotMiB is 1 there (vitest.config.ts).
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { shardOf } from "../../src/cluster/shard-of.ts";
import { shardName } from "../../src/vector/database/record.ts";
import { VectorSnapshotReader } from "../../src/wire/vector-snapshot.ts";
import { directory, newTenant } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

const DIMENSION = 64;
const ROWS = 8200;
const valuesOf = (n: number): number[] => [
  n,
  ...Array.from({ length: DIMENSION - 1 }, (_, at) => (n * 31 + at * 7) % 97),
];

/** Those of shard 0 of two; the other has one row only. */
const IDS = Array.from({ length: 3 * ROWS }, (_, n) => `v${n}`)
  .filter((id) => shardOf(id, 2) === 0)
  .slice(0, ROWS);
const OTHER = ["o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8"].find((id) => shardOf(id, 2) === 1)!;

it("[VE-319][VE-322][VE-323] values beyond the bound lie in the blob store only and are read there; away, what needs none goes on; deleted nothing is left", async () => {
  const { tenantId, key } = await newTenant();
  const db = await Db.create(key, {
    databaseId: "tiers",
    vectorDimension: DIMENSION,
    indexType: "FLAT",
    metric: "euclidean",
    sharding: { numShards: 2 },
  });
  for (let from = 0; from < ROWS; from += 4100) {
    const line = (n: number): string => JSON.stringify({ id: IDS[n], values: valuesOf(n), metadata: { n } });
    const lines = Array.from({ length: 4100 }, (_, at) => line(from + at)).join("\n");
    expect((await db.send("/vectors/batch", lines, "application/x-ndjson")).status).toBe(200);
  }
  await db.put(OTHER, valuesOf(50_000), { n: 50_000 });
  const tenant = (await directory().lookupTenant(tenantId))!;
  const name = shardName({ tenant, namespace: "default", databaseId: "tiers", generation: 1 }, 0);
  const shard = env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(name)) as unknown as DurableObjectStub;
  const status = async () => (await db.ask("GET", "/status")).json.data;
  const stored = () => runInDurableObject(shard, (_, { storage }) => storage.sql.databaseSize);
  const cold = async () => (await env.BLOBS!.list({ prefix: `storage/cold/${name}/` })).objects.length;
  await vi.waitFor(
    async () => {
      await runDurableObjectAlarm(shard);
      expect(await status()).toMatchObject({ segments: 1, hotBytes: 0 });
    },
    { timeout: 60_000, interval: 100 },
  );
  const valueBytes = Number((await status())["coldBytes"]);
  expect(valueBytes).toBeGreaterThan(8192 * DIMENSION * 4 - 1);
  expect(await cold()).toBeGreaterThan(3);
  // With them it would be more than their bytes.
  expect(await stored()).toBeLessThan(valueBytes);

  const nearest = (n: number) => db.search({ queryVector: valuesOf(n), topK: 1, includeValues: true });
  expect(await nearest(77)).toMatchObject([{ id: IDS[77], score: 0, values: valuesOf(77) }]);
  // It is opened without its values, and they are read again.
  await evictDurableObject(shard);
  expect(await nearest(4077)).toMatchObject([{ id: IDS[4077], score: 0 }]);
  expect((await db.ask("PUT", `/vectors/${IDS[5]}`, { metadata: { n: -5 } })).json.data).toMatchObject({ version: 2 });
  expect((await db.ask("GET", `/vectors/${IDS[5]}`)).json.data).toMatchObject({ values: valuesOf(5) });
  expect((await db.ask("POST", "/snapshots", { snapshotId: "s" })).status).toBe(201);
  const reader = new VectorSnapshotReader();
  const rows = [...reader.take(await db.download("/snapshots/s/data"))].flatMap((block) =>
    block.kind === "rows" ? block.rows : [],
  );
  expect([reader.finish(), rows.length]).toEqual([ROWS + 1, ROWS + 1]);

  const bucket = Object.getPrototypeOf(env.BLOBS) as R2Bucket;
  const away = vi.spyOn(bucket, "get").mockRejectedValue(new Error("the bucket is away"));
  await evictDurableObject(shard);
  const query = { queryVector: valuesOf(99), topK: 1 };
  const refused = await db.ask("POST", "/search", query);
  expect([refused.status, refused.json.code, refused.json.details]).toMatchObject([
    503,
    "unavailable",
    { values: "cold" },
  ]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await db.ask("GET", `/vectors/${IDS[99]}`)).status).toBe(503);
  expect(away).toHaveBeenCalled();
  const part = await db.ask("POST", "/search", { ...query, partial: true });
  expect(part.json.data, part.text).toMatchObject({ results: [{ id: OTHER }], partial: true, missingShards: [0] });
  await db.put("new", valuesOf(99_000));
  expect((await db.ask("DELETE", `/vectors/${IDS[6]}`)).status).toBe(200);
  expect([await db.count(), await db.count({ n: { $lt: 10 } })]).toEqual([ROWS + 1, 9]);
  expect((await db.ask("GET", "/vectors/new")).json.data).toMatchObject({ id: "new" });
  away.mockRestore();
  await vi.waitFor(async () => expect((await db.ask("POST", "/search", query)).status).toBe(200), { timeout: 20_000 });
  expect(await nearest(99)).toMatchObject([{ id: IDS[99], score: 0 }]);
  expect((await db.ask("DELETE", "")).json.data).toMatchObject({ erasure: "done" });
  expect(await cold()).toBe(0);
}, 120_000);
