// Vectors over HTTP inside workerd: any id, strategies of sharding, retention, archives and snapshots.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { CheckedTable } from "../../objects/checked-rows.ts";
import { shardName } from "../../src/vector/database/record.ts";
import { directory, newTenant, tenantObject } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

let databases = 0;

async function newDb(more: object = {}): Promise<Db> {
  const { key } = await newTenant();
  return Db.create(key, { databaseId: `db${databases++}`, vectorDimension: 3, ...more });
}

const SHARDED = { sharding: { numShards: 4 } };

describe("any id", () => {
  it("[VE-231] vectors whose ids no path can hold are read, changed and deleted by ?id=", async () => {
    const db = await newDb(SHARDED);
    for (const id of [".", "..", "count", "a/b?c=%20&é"]) {
      await db.put(id, [1, 2, 3]);
      const one = `/vector?id=${encodeURIComponent(id)}`;
      expect((await db.ask("PUT", one, { metadata: { n: 1 } })).json.data).toMatchObject({ id, version: 2 });
      expect((await db.ask("GET", one)).json.data).toMatchObject({ id, values: [1, 2, 3], metadata: { n: 1 } });
      expect((await db.ask("DELETE", one)).status).toBe(200);
      expect((await db.ask("GET", one)).json.code).toBe("notFound");
    }
    expect((await db.ask("GET", "/vector")).json.details["issues"]).toMatchObject([{ path: "id" }]);
  });
});

interface Found {
  readonly results: readonly { readonly id: string; readonly score: number }[];
  readonly explain: { readonly strategy: string; readonly shards: readonly { readonly shard: number }[] };
}

async function found(db: Db, body: object): Promise<Found> {
  const answer = await db.ask("POST", "/search", { explain: true, ...body });
  expect(answer.status, answer.text).toBe(200);
  return answer.json.data as unknown as Found;
}

const shardsOf = ({ explain }: Found): readonly number[] => explain.shards.map(({ shard }) => shard).sort();
const stateOf = async (db: Db): Promise<Record<string, unknown>> =>
  (await db.ask("GET", "/status")).json.data["sharding"] as never;
const active = (db: Db): Promise<void> =>
  vi.waitFor(async () => expect((await stateOf(db))["state"]).toBe("active"), { timeout: 20_000, interval: 50 });

/** Every id that the shards hold, as often as they do. */
async function held(db: Db): Promise<readonly string[]> {
  const { data } = (await db.ask("GET", "/vectors?limit=1000")).json;
  return (data["items"] as unknown as { id: string }[]).map(({ id }) => id).sort();
}

describe("sharding by ranges of a metadata field", () => {
  it("[VE-235][VE-237][VE-272] a filter on the field asks its shards only; an update that moves a vector leaves one, with its versions", async () => {
    const db = await newDb({ sharding: { strategy: "range", key: "year", splitPoints: [2000, 2010, 2020] } });
    expect(await stateOf(db)).toMatchObject({ strategy: "range", state: "active", splitPoints: [2000, 2010, 2020] });
    const vectors = Array.from({ length: 40 }, (_, n) => ({
      id: `v${n}`,
      values: [n, 1, 0],
      metadata: { year: 1990 + n },
    }));
    expect((await db.ask("POST", "/vectors/batch", { vectors })).json.data).toMatchObject({ stored: 40 });
    const query = { queryVector: [1, 1, 0], topK: 40 };
    expect(shardsOf(await found(db, query))).toEqual([0, 1, 2, 3]);
    const filtered = await found(db, { ...query, filters: { year: { $gte: 2012, $lt: 2020 } } });
    expect([shardsOf(filtered), filtered.results.length]).toEqual([[0, 2, 3], 8]);
    expect(shardsOf(await found(db, { ...query, filters: { year: 2015 } }))).toEqual([0, 2]);
    const moved = await db.ask("PUT", "/vectors/v5", { metadata: { year: 2025 } });
    expect(moved.json.data, moved.text).toMatchObject({ id: "v5", version: 2 });
    expect((await db.put("v5", [5, 5, 5], { year: 2001 })).json.data).toMatchObject({ version: 3 });
    expect((await db.ask("GET", "/vectors/v5")).json.data).toMatchObject({ version: 3, values: [5, 5, 5] });
    expect(await held(db)).toEqual(vectors.map(({ id }) => id).sort());
    expect((await found(db, { ...query, filters: { year: 2001 } })).results.map(({ id }) => id).sort()).toEqual([
      "v11",
      "v5",
    ]);
    expect((await db.ask("DELETE", "/vectors/v5")).status).toBe(200);
    expect((await db.ask("GET", "/vectors/v5")).status).toBe(404);
    expect((await db.put("v5", [1, 1, 1])).json.data).toMatchObject({ version: 1 });
    expect(await db.count()).toBe(40);
    const bad = await db.ask("POST", "/vectors/batch", {
      vectors: [
        { id: "x", values: [1] },
        { id: "y", values: [1, 2, 3] },
      ],
    });
    expect(bad.json.data).toMatchObject({
      stored: 1,
      failed: 1,
      results: [{ id: "x", error: { code: "invalidRequest" } }, { id: "y" }],
    });
    expect((await db.ask("POST", "/vectors/batch", { vectors, atomic: true })).json.code).toBe("invalidRequest");
    const more = vectors.map((vector) => ({ ...vector, id: `i${vector.id}` }));
    const { importId } = (await db.ask("POST", "/imports", { vectors: [...more, { id: "bad", values: [1] }] })).json
      .data;
    await vi.waitFor(
      async () => {
        const { data } = (await db.ask("GET", `/imports/${String(importId)}`)).json;
        expect(data).toMatchObject({ state: "done", stored: 40, failed: 1, errors: [{ index: 40, id: "bad" }] });
      },
      { timeout: 30_000, interval: 50 },
    );
    expect((await found(db, { ...query, filters: { year: 2015 } })).results.map(({ id }) => id).sort()).toEqual([
      "iv25",
      "v25",
    ]);
    expect(await db.count()).toBe(81);
  });
});

describe("sharding by centroids", () => {
  it("[VE-236][VE-238] centroids are learned from the first vectors, all are moved there as they were, and searches ask the nearest shards", async () => {
    const { tenantId, key } = await newTenant();
    const db = await Db.create(key, {
      ...{ databaseId: "c", vectorDimension: 8, metric: "euclidean" },
      sharding: { strategy: "vector", numShards: 4, learnRows: 400 },
    });
    expect(await stateOf(db)).toEqual({ strategy: "centroid", state: "learning", skew: 1 });
    const valuesOf = (n: number) =>
      Array.from({ length: 8 }, (_, at) => (at === n % 4 ? 100 : ((n * (at + 3)) % 17) / 4));
    const vectorsFrom = (from: number) =>
      Array.from({ length: 200 }, (_, at) => ({
        id: `v${from + at}`,
        values: valuesOf(from + at),
        metadata: { n: from + at },
      }));
    const before = (await db.put("v0", valuesOf(0))).json.data["createdAt"];
    for (let from = 0; from < 1000; from += 200) await db.ask("POST", "/vectors/batch", { vectors: vectorsFrom(from) });
    await active(db);
    expect(await stateOf(db)).toMatchObject({ shardProbes: 1 });
    expect(await db.count()).toBe(1000);
    expect((await db.ask("GET", "/vectors/v0")).json.data).toMatchObject({
      version: 2,
      createdAt: before,
      metadata: { n: 0 },
    });
    await vi.waitFor(async () => expect(shardsOf(await found(db, { queryVector: valuesOf(0) }))).toHaveLength(1), 5000);
    let [asked, hits] = [0, 0];
    for (let n = 1; n < 1000; n += 97) {
      const near = await found(db, { queryVector: valuesOf(n), topK: 10 });
      const all = await found(db, { queryVector: valuesOf(n), topK: 10, shardProbes: 4 });
      expect(shardsOf(all)).toEqual([0, 1, 2, 3]);
      asked += near.explain.shards.length;
      const truth = new Set(all.results.map(({ score }) => score));
      hits += near.results.filter(({ score }) => truth.has(score)).length;
    }
    expect([asked, hits]).toEqual([11, 110]);
    // Another place in space: found there, gone where it was.
    await db.ask("PUT", "/vectors/v8", { values: valuesOf(1) });
    expect((await found(db, { queryVector: valuesOf(1), threshold: 0.001 })).results.map(({ id }) => id)).toContain(
      "v8",
    );
    expect(
      (await found(db, { queryVector: valuesOf(8), topK: 1000, shardProbes: 4 })).results.filter(
        ({ id }) => id === "v8",
      ),
    ).toHaveLength(1);
    const tenant = (await directory().lookupTenant(tenantId))!;
    const shards = [0, 1, 2, 3].map((shard) =>
      env.VECTOR_SHARD.get(
        env.VECTOR_SHARD.idFromName(shardName({ tenant, namespace: "default", databaseId: "c", generation: 1 }, shard)),
      ),
    );
    await db.ask("DELETE", "");
    for (const shard of shards) expect(await shard.shardMap()).toBeNull();
  });
});

describe("retention", () => {
  it("[VE-239] the oldest vectors beyond the bounds are deleted by the shards' alarms", async () => {
    const db = await newDb({ retentionPolicy: { maxVectors: 3 } });
    for (const id of ["a", "b", "c", "d", "e"]) await db.put(id, [1, 2, 3]);
    await db.ask("PUT", "", { retentionPolicy: { maxVectors: 3, maxAgeDays: 1e-5 } });
    await vi.waitFor(async () => expect(await held(db)).toEqual([]), { timeout: 20_000, interval: 200 });
    await db.ask("PUT", "", { retentionPolicy: null });
    await db.put("f", [1, 2, 3]);
    expect(await held(db)).toEqual(["f"]);
  });
});

const TYPE = "application/vnd.jade-db.vector-snapshot";

describe("archiveOnExpire", () => {
  it("[VE-295] story 9.1: what expires is archived: in no search, but saved, stored in another database and deleted when it is asked for", async () => {
    const { key } = await newTenant();
    const retentionPolicy = { maxVectors: 3, archiveOnExpire: true };
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 3, retentionPolicy });
    const count = async () => (await db.ask("GET", "/expired")).json.data["rows"];
    expect(await count()).toBe(0);
    for (const id of ["a", "b", "c", "d", "e"]) await db.put(id, [1, 2, 3], { of: id });
    await db.ask("PUT", "", { retentionPolicy: { ...retentionPolicy, maxAgeDays: 1e-5 } });
    await vi.waitFor(async () => expect([await count(), await held(db)]).toEqual([5, []]), {
      ...{ timeout: 20_000, interval: 200 },
    });
    const data = await db.download("/expired/data");
    const other = await Db.create(key, { databaseId: "other", vectorDimension: 3 });
    expect((await other.send("/restore/data", data, TYPE)).json.data).toMatchObject({ rows: 5 });
    expect((await other.ask("GET", "/vectors/c")).json.data).toMatchObject({
      values: [1, 2, 3],
      metadata: { of: "c" },
    });
    for (const change of [null, { retentionPolicy: null }]) {
      if (change) await db.ask("PUT", "", change);
      const refused = await db.ask("POST", "/reshard", { shards: 2 });
      expect([refused.status, refused.json.code]).toEqual([409, "conflict"]);
    }
    const { through } = (await db.ask("GET", "/expired")).json.data as Record<string, unknown>;
    for (const bad of ["x", "1.1"]) {
      const refused = await db.ask("DELETE", `/expired?through=${bad}`);
      expect([refused.status, JSON.stringify(refused.json.details)]).toEqual([400, expect.stringContaining("through")]);
    }
    // What was archived later stays.
    expect((await db.ask("DELETE", "/expired?through=0")).status).toBe(200);
    expect(await count()).toBe(5);
    expect((await db.ask("DELETE", `/expired?through=${String(through)}`)).status).toBe(200);
    expect(await count()).toBe(0);
    await db.ask("PUT", "", { retentionPolicy: { maxAgeDays: 1, archiveOnExpire: true } });
    expect((await db.ask("POST", "/reshard", { shards: 2 })).json.message).toContain("archiveOnExpire");
    await db.ask("PUT", "", { retentionPolicy: null });
    expect((await db.ask("POST", "/reshard", { shards: 2 })).status).toBe(202);
  });
});

/** Ids with what they hold, versions and times. */
async function contents(db: Db): Promise<readonly unknown[]> {
  const { data } = (await db.ask("GET", "/vectors?limit=1000&includeValues=true&includeMetadata=true")).json;
  return (data["items"] as unknown as { id: string; revision: number; shard: string }[])
    .map(({ revision: _, shard: __, ...rest }) => rest)
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

describe("snapshots", () => {
  it("[VE-240][VE-241] a snapshot is restored in place, and by its data into another database of other shards; damage is found", async () => {
    const { key } = await newTenant();
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 3, sharding: { numShards: 3 } });
    for (let n = 0; n < 30; n++) await db.put(`v${n}`, [n, 1, 0], { n });
    await db.put("v7", [7, 7, 7], { n: "again" });
    const before = await contents(db);
    const taken = await db.ask("POST", "/snapshots", { snapshotId: "one" });
    expect([taken.status, taken.json.data]).toMatchObject([201, { snapshotId: "one", rows: 30 }]);
    expect((await db.ask("POST", "/snapshots", { snapshotId: "one" })).json.code).toBe("alreadyExists");
    await db.ask("POST", "/vectors/delete", { filters: { n: { $lt: 20 } } });
    await db.put("new", [1, 1, 1]);
    const data = await db.download("/snapshots/one/data");
    const other = await Db.create(key, {
      databaseId: "other",
      vectorDimension: 3,
      sharding: { strategy: "range", key: "n", splitPoints: [10] },
    });
    expect((await other.send("/restore/data", data, TYPE)).json.data).toEqual({ databaseId: "other", rows: 30 });
    expect(await contents(other)).toEqual(before);
    expect((await db.ask("POST", "/restore", { snapshotId: "one" })).status).toBe(200);
    expect(await contents(db)).toEqual(before);
    expect(await db.search({ queryVector: [7, 7, 7], topK: 1 })).toMatchObject([{ id: "v7" }]);
    await db.put("new", [1, 1, 1]);
    expect((await db.ask("GET", "/snapshots")).json.data["items"]).toMatchObject([{ snapshotId: "one" }]);
    expect((await db.ask("GET", "/snapshots/one")).json.data).toMatchObject({
      rows: 30,
      shards: [{ shard: 0 }, {}, {}],
    });
    const broken = data.slice();
    broken[broken.length - 40]! ^= 1;
    for (const bad of [broken, data.slice(0, -20), new TextEncoder().encode("not one"), new Uint8Array(0)]) {
      const refused = await other.send("/restore/data", bad, TYPE);
      expect([refused.status, refused.json.code]).toEqual([400, "invalidRequest"]);
    }
    const flat = await Db.create(key, { databaseId: "flat", vectorDimension: 2 });
    expect((await flat.send("/restore/data", data, TYPE)).json.message).toContain("the database has 2");
    expect((await db.ask("DELETE", "/snapshots/one")).status).toBe(200);
    expect((await db.ask("GET", "/snapshots/one/data")).json.code).toBe("notFound");
    expect((await db.ask("POST", "/restore", { snapshotId: "one" })).json.code).toBe("notFound");
    expect((await other.ask("POST", "/snapshots", {})).status).toBe(201);
    expect(await db.count()).toBe(31);
  });
});

describe("archives", () => {
  it("[VE-261][VE-264][VE-296] an archived database's segments lie in the blob store only; restored it is as before, deleted nothing is left", async () => {
    const { tenantId, key } = await newTenant();
    const db = await Db.create(key, { databaseId: "cold", vectorDimension: 2 });
    const lines = (from: number, count: number): string =>
      Array.from({ length: count }, (_, n) => `{"id":"v${from + n}","values":[${from + n},1]}\n`).join("");
    for (const from of [0, 4500])
      expect((await db.send("/vectors/batch", lines(from, 4500), "application/x-ndjson")).status).toBe(200);
    const status = async () => (await db.ask("GET", "/status")).json.data;
    await vi.waitFor(async () => expect((await status())["segments"]).toBe(1), { timeout: 60_000, interval: 100 });
    const tenant = (await directory().lookupTenant(tenantId))!;
    const name = shardName({ tenant, namespace: "default", databaseId: "cold", generation: 1 }, 0);
    const shard = env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(name)) as unknown as DurableObjectStub;
    const local = () =>
      runInDurableObject(shard, (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM storage_pieces").one()["n"]),
      );
    const cold = async () => (await env.BLOBS!.list({ prefix: `storage/cold/${name}/` })).objects.length;
    const isCold = () =>
      vi.waitFor(async () => expect([await local(), (await cold()) > 0]).toEqual([0, true]), {
        ...{ timeout: 60_000, interval: 100 },
      });
    const before = [await db.count(), await db.search({ queryVector: [77.2, 1], topK: 3 })];
    await db.ask("POST", "/archive");
    await isCold();
    expect((await db.ask("POST", "/restore", {})).json.data).toMatchObject({ state: "ready" });
    expect([await db.count(), await db.search({ queryVector: [77.2, 1], topK: 3 })]).toEqual(before);
    expect([(await local()) > 0, await cold()]).toEqual([true, 0]);
    await db.ask("POST", "/archive");
    await isCold();
    // One of its blobs is lost: told by its name, not tried for ever, and nothing of the others given up.
    const [lost] = (await env.BLOBS!.list({ prefix: `storage/cold/${name}/` })).objects;
    const bytes = await (await env.BLOBS!.get(lost!.key))!.arrayBuffer();
    await env.BLOBS!.delete(lost!.key);
    const refused = await db.ask("POST", "/restore", {});
    expect([refused.status, refused.json.code]).toEqual([500, "dataCorrupt"]);
    expect(refused.json.message).toMatch(
      /stays archived as it was. Put back what is named .* shard 0: the blob .* is not in/,
    );
    const { data } = (await db.ask("GET", "")).json;
    expect(data).toMatchObject({ state: "archived", damage: [{ shard: 0 }] });
    expect((await db.ask("GET", "/vectors/v1")).status).toBe(409);
    await env.BLOBS!.put(lost!.key, bytes);
    const again = (await db.ask("POST", "/restore", {})).json.data;
    expect([again["state"], again["damage"]]).toEqual(["ready", undefined]);
    expect([await db.count(), await db.search({ queryVector: [77.2, 1], topK: 3 })]).toEqual(before);
    await db.ask("POST", "/archive");
    await isCold();
    expect((await db.ask("DELETE", "")).json.data).toMatchObject({ erasure: "done" });
    expect(await cold()).toBe(0);
  }, 180_000);

  it("[VE-242] story 9.3: an archived database refuses its vectors and holds no memory; restored it is as before; deleted it is gone", async () => {
    const { key } = await newTenant();
    const db = await Db.create(key, {
      databaseId: "db",
      vectorDimension: 3,
      durability: "eventual",
      sharding: { numShards: 2 },
    });
    for (let n = 0; n < 10; n++) await db.put(`v${n}`, [n, 1, 0]);
    const before = await contents(db);
    await db.ask("POST", "/snapshots", { snapshotId: "s" });
    expect((await db.ask("POST", "/archive")).json.data).toMatchObject({ state: "archived" });
    for (const answer of [
      await db.ask("GET", "/vectors/v1"),
      await db.ask("POST", "/vectors", { values: [1, 2, 3] }),
      await db.ask("POST", "/search", { queryVector: [1, 2, 3] }),
      await db.ask("GET", "/vectors"),
      await db.ask("POST", "/snapshots", {}),
      await db.ask("GET", "/status"),
    ])
      expect([answer.status, answer.json.code, answer.json.details]).toEqual([409, "conflict", { state: "archived" }]);
    expect((await db.ask("GET", "")).json.data).toMatchObject({ state: "archived", durability: "eventual" });
    expect((await db.ask("POST", "/restore", {})).json.data).toMatchObject({ state: "ready" });
    expect(await contents(db)).toEqual(before);
    expect((await db.ask("POST", "/restore", { snapshotId: "s" })).status).toBe(200);
    expect(await contents(db)).toEqual(before);
    await db.ask("POST", "/archive");
    expect((await db.ask("DELETE", "")).json.data).toMatchObject({ erasure: "done" });
    expect((await db.ask("GET", "")).status).toBe(404);
  });

  it("[VE-297] an archived shard whose own rows are damaged is told by what is damaged, and stays archived until it is put right", async () => {
    const { tenantId, key } = await newTenant();
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 3 });
    for (let n = 0; n < 10; n++) await db.put(`v${n}`, [n, 1, 0]);
    expect((await db.ask("POST", "/archive")).json.data).toMatchObject({ state: "archived" });
    const tenant = (await directory().lookupTenant(tenantId))!;
    const name = shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, 0);
    const shard = env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(name)) as unknown as DurableObjectStub;
    const change = (by: number): Promise<void> =>
      runInDurableObject(shard, (_, { storage }) => {
        storage.sql.exec("UPDATE storage_log SET crc = crc + ? WHERE seq = 3", by);
      });
    await change(1);
    for (let tries = 0; tries < 2; tries++) {
      const refused = await db.ask("POST", "/restore", {});
      expect([refused.status, refused.json.code], refused.text).toEqual([500, "dataCorrupt"]);
      expect((await db.ask("GET", "")).json.data).toMatchObject({ state: "archived", damage: [{ shard: 0 }] });
    }
    await change(-1);
    expect((await db.ask("POST", "/restore", {})).json.data).toMatchObject({ state: "ready" });
    expect(await db.count()).toBe(10);
  });

  it("[VE-243] a snapshot, a restore or an archive that is cut off is finished by the tenant's alarm, once", async () => {
    const { tenantId, key } = await newTenant();
    const tenant = tenantObject((await directory().lookupTenant(tenantId))!) as unknown as DurableObjectStub;
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 3, sharding: { numShards: 2 } });
    for (let n = 0; n < 10; n++) await db.put(`v${n}`, [n, 1, 0]);
    const before = await contents(db);
    /** As a crash leaves it: decided, and no shard told; then the tenant starts anew. */
    const decided = async (lifecycle: object): Promise<void> => {
      await runInDurableObject(tenant, (_, { storage }) =>
        new CheckedTable(storage.sql, "databases", "generation").update({
          set: "is_configured = 0, record = json_set(record, '$.lifecycle', json(?))",
          to: [JSON.stringify({ snapshots: [{ snapshotId: "s", createdAtMs: 1 }], isArchived: false, ...lifecycle })],
          where: "1",
        }),
      );
      await evictDurableObject(tenant);
      await runDurableObjectAlarm(tenant);
    };
    await decided({});
    expect((await db.ask("GET", "/snapshots/s")).json.data).toMatchObject({ rows: 10 });
    await db.ask("POST", "/vectors/delete", { ids: ["v1", "v2", "v3"] });
    await decided({ restore: { snapshotId: "s", token: "t1" } });
    expect(await contents(db)).toEqual(before);
    await db.put("later", [1, 2, 3]);
    // Told once more: what was written since stays.
    await decided({ restore: { snapshotId: "s", token: "t1" } });
    await db.ask("PUT", "", { durability: "periodic" });
    expect(await db.count()).toBe(11);
    await decided({ isArchived: true });
    expect((await db.ask("GET", "")).json.data).toMatchObject({ state: "archived" });
    expect((await db.ask("GET", "/vectors/v1")).status).toBe(409);
  });
});
