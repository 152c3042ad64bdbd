// Vector databases over HTTP inside workerd: records, their life, their shards. Story 4 of the specification.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { CheckedTable } from "../../objects/checked-rows.ts";
import { LATE_CALL_MS } from "../../objects/tenant-databases.ts";
import { shardName } from "../../src/vector/database/record.ts";
import { ask, directory, newKey, newTenant, tenantObject } from "./gateway-support.ts";
import { Db, type Hit } from "./vector-support.ts";

const numberOf = async (tenantId: string): Promise<number> => (await directory().lookupTenant(tenantId))!;
const shardStub = (name: string): DurableObjectStub =>
  env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(name)) as unknown as DurableObjectStub;
const tenantStub = (tenant: number): DurableObjectStub => tenantObject(tenant) as unknown as DurableObjectStub;
const tablesOf = (name: string): Promise<number> =>
  runInDurableObject(shardStub(name), (_, { storage }) =>
    Number(storage.sql.exec("SELECT COUNT(*) AS n FROM sqlite_master").one()["n"]),
  );

describe("vector databases", () => {
  it("story 4.1: a database is created with the parameters that were asked for and is ready for use", async () => {
    const { key } = await newTenant();
    const answer = await ask("POST", "/v1/databases", {
      key,
      body: {
        databaseId: "docs",
        vectorDimension: 3,
        metric: "euclidean",
        indexType: "FLAT",
        sharding: { numShards: 4 },
      },
    });
    expect(answer.status, answer.text).toBe(201);
    expect(answer.json.data).toMatchObject({
      ...{
        databaseId: "docs",
        name: "docs",
        state: "ready",
        vectorDimension: 3,
        metric: "euclidean",
        indexType: "FLAT",
      },
      ...{
        sharding: { strategy: "hash", numShards: 4 },
        durability: "sync",
        metadataSchema: null,
        namespace: "default",
      },
      ...{ indexParameters: { quantizer: "int8" }, replication: { factor: 1, sync: false, maxLagMs: 0 } },
    });
    const db = new Db(key, "docs");
    await db.put("a", [1, 2, 3]);
    expect(await db.search({ queryVector: [1, 2, 3] })).toMatchObject([{ id: "a", score: 0 }]);
  });

  it.each([
    ["IVF", { lists: 8, probes: 4 }, { quantizer: "rabitq", lists: 8, probes: 4 }],
    ["IVF", { quantizer: "pq" }, { quantizer: "pq" }],
    ["LSH", { tables: 4, bits: 8 }, { quantizer: "int8", tables: 4, bits: 8 }],
    ["FLAT", { quantizer: "rabitq" }, { quantizer: "rabitq" }],
    ["HNSW", { quantizer: "none" }, { quantizer: "none", M: 24 }],
  ])("[VE-137] an index of kind %s with %j is built as asked", async (indexType, indexParameters, expected) => {
    const { key } = await newTenant();
    const body = { databaseId: "docs", vectorDimension: 4, indexType, indexParameters };
    const answer = await ask("POST", "/v1/databases", { key, body });
    expect(answer.status, answer.text).toBe(201);
    expect(answer.json.data).toMatchObject({ indexType, indexParameters: expected });
    const db = new Db(key, "docs");
    for (let at = 1; at <= 5; at++) await db.put(`id-${at}`, [at, 1, 0, 0]);
    expect(await db.search({ queryVector: [3, 1, 0, 0], topK: 1 })).toMatchObject([{ id: "id-3" }]);
  });

  it("[VE-260] a reduction is recorded, searched through and shown; one that cannot be is refused with its field", async () => {
    const { key } = await newTenant();
    const made = { databaseId: "less", vectorDimension: 4, reduction: { kind: "pca", dimensions: 3 } };
    const db = await Db.create(key, made);
    expect((await db.ask("GET", "")).json.data).toMatchObject(made);
    for (let at = 1; at <= 5; at++) await db.put(`id-${at}`, [at, 1, 0, 0]);
    expect(await db.search({ queryVector: [5, 1, 0, 0], topK: 1 })).toMatchObject([{ id: "id-5" }]);
    const shown = (await db.ask("GET", "/indexes/default")).json.data;
    expect(shown["reduction"]).toEqual({
      ...{ kind: "pca", dimensions: 3, reducedRows: 0, keptVariance: null, recall: null, savedBytes: 0, savedShare: 0 },
    });
    const flat = { indexType: "FLAT", indexParameters: { quantizer: "none" } };
    for (const [body, path] of [
      [{ reduction: { kind: "pca", dimensions: 4 } }, "reduction.dimensions"],
      [{ reduction: { kind: "pca", dimensions: 0 } }, "reduction.dimensions"],
      [{ reduction: { kind: "umap", dimensions: 2 } }, "reduction.kind"],
      [{ reduction: { kind: "random", dimensions: 2 }, ...flat }, "indexParameters.quantizer"],
    ] as const) {
      const refused = await ask("POST", "/v1/databases", { key, body: { ...made, databaseId: "no", ...body } });
      expect([refused.status, refused.json.details["issues"]], refused.text).toMatchObject([400, [{ path }]]);
    }
    const beside = await db.ask("POST", "/indexes", { indexId: "whole", ...flat });
    expect([beside.status, beside.json.details["issues"]]).toMatchObject([
      400,
      [{ path: "indexParameters.quantizer" }],
    ]);
  });

  it("story 4.3: each database's own configuration is given, one by one and in a list", async () => {
    const { key } = await newTenant();
    for (const [databaseId, vectorDimension] of [
      ["b", 2],
      ["a", 4096],
      ["c", 1],
    ] as const)
      await Db.create(key, { databaseId, vectorDimension });
    await ask("POST", "/v1/databases?namespace=other", { key, body: { databaseId: "d", vectorDimension: 8 } });
    expect((await new Db(key, "a").ask("GET", "")).json.data).toMatchObject({ databaseId: "a", vectorDimension: 4096 });
    const ids = async (query: string): Promise<readonly unknown[]> => {
      const { items, cursor } = (await ask("GET", `/v1/databases${query}`, { key })).json.data as never as {
        items: { databaseId: string }[];
        cursor: string | null;
      };
      return [...items.map(({ databaseId }) => databaseId), cursor];
    };
    const [a, b, cursor] = await ids("?limit=2");
    expect([a, b]).toEqual(["a", "b"]);
    expect(await ids(`?limit=2&cursor=${cursor}`)).toEqual(["c", null]);
    expect(await ids("?namespace=other")).toEqual(["d", null]);
    expect((await new Db(key, "d").ask("GET", "")).json.code).toBe("notFound");
    expect((await new Db(key, "d").ask("GET", "?namespace=other")).status).toBe(200);
  });

  it("[VE-130] a tenant sees its own databases only; reading keys change nothing, writing keys no database", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const db = await Db.create(one.key, { databaseId: "mine", vectorDimension: 2 });
    await db.put("a", [1, 0]);
    expect((await new Db(two.key, "mine").ask("GET", "/vectors/a")).json.code).toBe("notFound");
    await Db.create(two.key, { databaseId: "mine", vectorDimension: 2 });
    expect((await new Db(two.key, "mine").ask("GET", "/vectors/a")).json.message).toContain("no vector");
    const reader = new Db(await newKey(one.tenantId, { scope: "read-only" }), "mine");
    expect((await reader.ask("GET", "/vectors/a")).status).toBe(200);
    expect((await reader.ask("POST", "/search", { queryVector: [1, 0] })).status).toBe(200);
    expect((await reader.ask("DELETE", "/vectors/a")).json.code).toBe("forbidden");
    const writer = new Db(await newKey(one.tenantId, { scope: "read-write" }), "mine");
    expect((await writer.ask("DELETE", "")).json.code).toBe("forbidden");
    expect((await writer.ask("DELETE", "/vectors/a")).status).toBe(200);
    expect((await new Db("", "mine").ask("GET", "")).status).toBe(401);
  });

  it("[VE-131] what may change is changed, for the shards too; dimension, metric, index type and sharding are not", async () => {
    const { key } = await newTenant();
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 2, sharding: { numShards: 3 } });
    const { metadataSchema: _, ...read } = (await db.ask("GET", "")).json.data;
    const same = await db.ask("PUT", "", { ...read, name: "new name", metadata_schema: { kind: "enum:a|b" } });
    expect(same.json.data, same.text).toMatchObject({ name: "new name", metadataSchema: { kind: "enum:a|b" } });
    const changed = await db.ask("PUT", "", {
      ...{
        description: "d",
        index_parameters: { ef_search: 99 },
        durability: "periodic",
        retentionPolicy: { maxAgeDays: 7 },
      },
    });
    expect(changed.json.data).toMatchObject({
      ...{ name: "new name", description: "d", durability: "periodic", retentionPolicy: { maxAgeDays: 7 } },
      indexParameters: { M: 24, efConstruction: 100, efSearch: 99, quantizer: "int8" },
    });
    for (let id = 0; id < 12; id++) {
      const bad = await db.ask("POST", "/vectors", { id: `v${id}`, values: [1, 1], metadata: { kind: "c" } });
      expect(bad.json.message).toContain("metadata.kind must be one of a, b");
    }
    for (const [body, path] of [
      [{ vectorDimension: 3 }, "vectorDimension"],
      [{ metric: "dot" }, "metric"],
      [{ indexType: "FLAT" }, "indexType"],
      [{ sharding: { numShards: 2 } }, "sharding.numShards"],
      [{ databaseId: "x" }, "databaseId"],
      [{ reduction: { kind: "pca", dimensions: 1 } }, "reduction"],
    ] as const) {
      const refused = await db.ask("PUT", "", { name: "not this", ...body });
      expect(refused.json.details["issues"], refused.text).toMatchObject([
        { path, message: expect.stringContaining("cannot be changed") },
      ]);
    }
    expect((await db.ask("GET", "")).json.data["name"]).toBe("new name");
    expect((await db.ask("PUT", "", {})).json.code).toBe("invalidRequest");
  });

  it("[VE-132] a deleted database is gone with its shards; created again under its id it holds nothing old", async () => {
    const { tenantId, key } = await newTenant();
    const tenant = await numberOf(tenantId);
    const made = { databaseId: "db", vectorDimension: 2, sharding: { numShards: 2 } };
    const db = await Db.create(key, made);
    for (let id = 0; id < 8; id++) await db.put(`v${id}`, [id, 1]);
    const names = [0, 1].map((shard) =>
      shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, shard),
    );
    for (const name of names) expect(await tablesOf(name)).toBeGreaterThan(0);
    expect((await db.ask("DELETE", "")).json.data).toEqual({ databaseId: "db", erasure: "done" });
    for (const name of names) expect(await tablesOf(name)).toBe(0);
    expect((await db.ask("GET", "")).json.code).toBe("notFound");
    expect((await db.ask("GET", "/vectors/v1")).json.code).toBe("notFound");
    expect((await db.ask("DELETE", "")).json.code).toBe("notFound");
    expect((await db.ask("POST", "/vectors", { values: [1, 1] })).json.code).toBe("notFound");
    await Db.create(key, { ...made, vectorDimension: 3 });
    expect(await db.count()).toBe(0);
    await db.put("v1", [1, 2, 3]);
    expect(await db.search({ queryVector: [1, 2, 3] })).toMatchObject([{ id: "v1" }]);
  });

  it("[VE-133] a repeated creation or deletion is one; another body under the key is refused, another database of the id too", async () => {
    const { key } = await newTenant();
    const create = (body: object, idempotencyKey: string) =>
      ask("POST", "/v1/databases", { key, body, headers: { "idempotency-key": idempotencyKey } });
    const first = await create({ vectorDimension: 2 }, "a");
    expect((await create({ vectorDimension: 2 }, "a")).json.data).toEqual(first.json.data);
    expect(first.json.data["databaseId"]).toMatch(/^db_[0-9a-f]{16}$/);
    expect((await create({ vectorDimension: 3 }, "a")).json.code).toBe("idempotencyKeyReused");
    const { databaseId } = first.json.data as unknown as { databaseId: string };
    expect((await create({ vectorDimension: 2, databaseId }, "b")).json.code).toBe("alreadyExists");
    const remove = () => ask("DELETE", `/v1/databases/${databaseId}`, { key, headers: { "idempotency-key": "c" } });
    expect((await remove()).json.data).toEqual((await remove()).json.data);
  });

  it("[VE-134] a creation whose tenant restarts at any step is finished by the alarm, a deletion likewise", async () => {
    const { tenantId, key } = await newTenant();
    const tenant = await numberOf(tenantId);
    const stub = tenantStub(tenant);
    await Db.create(key, { databaseId: "db", vectorDimension: 2, sharding: { numShards: 2 } });
    const name = (shard: number) => shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, shard);
    const set = (columns: string) =>
      runInDurableObject(stub, (_, { storage }) =>
        new CheckedTable(storage.sql, "databases", "generation").update({ set: columns, where: "1" }),
      );
    // As a crash leaves it after one of two shards was configured.
    await set("state = 'creating', is_configured = 0");
    await (shardStub(name(1)) as unknown as { erase(): Promise<void> }).erase();
    await evictDurableObject(stub);
    const db = new Db(key, "db");
    expect((await db.ask("GET", "/vectors/count")).json.code).toMatch(/unavailable/);
    expect((await db.ask("GET", "")).json.data["state"]).toBe("creating");
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect((await db.ask("GET", "")).json.data["state"]).toBe("ready");
    expect((await db.ask("GET", "/status")).json.data["shards"]).toHaveLength(2);
    await set("state = 'deleting'");
    await evictDurableObject(stub);
    expect((await db.ask("GET", "")).json.code).toBe("notFound");
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect([await tablesOf(name(0)), await tablesOf(name(1))]).toEqual([0, 0]);
  });

  it("[VE-135] while a call that configures a shard may still arrive, the erased database stays listed to be erased once more", async () => {
    const { tenantId, key } = await newTenant();
    const tenant = await numberOf(tenantId);
    const stub = tenantStub(tenant);
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 2 });
    const rows = () =>
      runInDurableObject(stub, (_, { storage }) =>
        storage.sql.exec("SELECT generation, state FROM databases").toArray(),
      );
    const late = (ms: number) =>
      runInDurableObject(stub, (_, { storage }) =>
        new CheckedTable(storage.sql, "databases", "generation").update({
          set: "late_until_ms = ?",
          to: [ms],
          where: "1",
        }),
      );
    await late(Date.now() + LATE_CALL_MS);
    expect((await db.ask("DELETE", "")).json.data["erasure"]).toBe("done");
    expect(await rows()).toEqual([{ generation: 1, state: "erased" }]);
    // The late call: a shard that nothing names.
    const name = shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, 0);
    const shard = shardStub(name) as unknown as { configure(config: object): Promise<unknown> };
    await shard.configure({
      dimension: 2,
      metric: "cosine",
      durability: "sync",
      indexes: [{ name: "default", kind: "FLAT", quantizer: "none", effort: {} }],
    });
    expect(await tablesOf(name)).toBeGreaterThan(0);
    await Db.create(key, { databaseId: "db", vectorDimension: 2 });
    await late(Date.now() - 1);
    await runDurableObjectAlarm(stub);
    expect(await tablesOf(name)).toBe(0);
    expect(await rows()).toEqual([{ generation: 2, state: "ready" }]);
  });

  it("[VE-230] a damaged row is told as such, not served, changed or deleted by; other databases go on", async () => {
    const { tenantId, key } = await newTenant();
    const stub = tenantStub(await numberOf(tenantId));
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 2 });
    const other = await Db.create(key, { databaseId: "other", vectorDimension: 2 });
    await runInDurableObject(stub, (_, { storage }) => {
      storage.sql.exec("UPDATE databases SET record = replace(record, 'cosine', 'dot') WHERE database_id = 'db'");
    });
    for (const answer of [await db.ask("GET", ""), await db.ask("PUT", "", { name: "n" }), await db.ask("DELETE", "")])
      expect([answer.json.code, answer.status]).toEqual(["dataCorrupt", 500]);
    expect((await ask("GET", "/v1/databases", { key })).json.code).toBe("dataCorrupt");
    expect((await other.ask("PUT", "", { name: "n" })).status).toBe(200);
  });

  it("[VE-136] the end of a tenant is the end of its databases' shards", async () => {
    const { tenantId, key } = await newTenant();
    const tenant = await numberOf(tenantId);
    const db = await Db.create(key, { databaseId: "db", vectorDimension: 2, sharding: { numShards: 2 } });
    await db.put("a", [1, 2]);
    await tenantObject(tenant).beginErasure();
    expect(await tenantObject(tenant).eraseNamespaces()).toBe(true);
    for (const shard of [0, 1])
      expect(await tablesOf(shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, shard))).toBe(
        0,
      );
  });
});

describe("access control of a database", () => {
  it("[VE-292] is in force at every shard when a change of it is answered, over HTTP and for snapshots; an admin key changes it back", async () => {
    const { tenantId, key } = await newTenant();
    const own = await Db.create(key, { databaseId: "own", vectorDimension: 3, sharding: { numShards: 4 } });
    await own.put("a", [1, 2, 3]);
    await own.ask("POST", "/snapshots", { snapshotId: "s" });
    const [writer, reader] = await Promise.all(
      ["read-write", "read-only"].map(async (scope) => new Db(await newKey(tenantId, { scope }), "own")),
    );
    const found = (hits: readonly Hit[]) => hits.map(({ id }) => id);
    const query = { queryVector: [1, 2, 3] };
    expect(found(await reader!.search(query))).toEqual(["a"]);
    const accessControl = { roles: ["admin", "user"], defaultPermissions: ["search"] };
    expect((await own.ask("PUT", "", { accessControl })).json.data).toMatchObject({ accessControl });
    expect(found(await writer!.search(query))).toEqual(["a"]);
    for (const answer of [
      await reader!.ask("POST", "/search", query),
      await writer!.ask("GET", "/vectors/a"),
      await writer!.ask("GET", "/vectors"),
      await writer!.ask("POST", "/vectors", { id: "b", values: [1, 2, 3] }),
      await writer!.ask("POST", "/imports", { vectors: [{ id: "b", values: [1, 2, 3] }] }),
      await writer!.ask("DELETE", "/vectors/a"),
      await writer!.ask("GET", "/snapshots/s/data"),
    ])
      expect([answer.status, answer.json.code, answer.json.details["field"]]).toEqual([
        ...[403, "forbidden", "accessControl"],
      ]);
    expect(await own.count()).toBe(1);
    await own.ask("PUT", "", { accessControl: null });
    expect((await writer!.ask("DELETE", "/vectors/a")).status).toBe(200);
  }, 60_000);
});
