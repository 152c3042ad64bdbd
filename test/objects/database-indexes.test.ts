// Indexes of a database over HTTP inside workerd: made, searched by name, changed, deleted; built behind searches and over restarts.
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { shardName } from "../../src/vector/database/record.ts";
import { directory, newTenant } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

async function indexOf(db: Db, id: string): Promise<Record<string, unknown>> {
  const answer = await db.ask("GET", `/indexes/${id}`);
  expect(answer.status, answer.text).toBe(200);
  return answer.json.data;
}

const ready = (db: Db, id: string): Promise<void> =>
  vi.waitFor(async () => expect(await indexOf(db, id)).toMatchObject({ state: "ready", progress: 1 }), {
    timeout: 60_000,
    interval: 100,
  });

describe("indexes of a database", () => {
  it("[VE-215][VE-216] are made, listed, searched by name, tuned and deleted; what is wrong is refused", async () => {
    const { key } = await newTenant();
    const db = await Db.create(key, { databaseId: "docs", vectorDimension: 2, sharding: { numShards: 2 } });
    for (let at = 1; at <= 6; at++) await db.put(`id-${at}`, [at, 1]);
    const made = await db.ask("POST", "/indexes", {
      index_id: "lists",
      index_type: "IVF",
      index_parameters: { lists: 4 },
    });
    expect(made.status, made.text).toBe(201);
    expect(made.json.data).toMatchObject({
      ...{ indexId: "lists", isDefault: false, indexType: "IVF", state: "ready", rows: 6, indexedRows: 6 },
      indexParameters: { quantizer: "rabitq", lists: 4 },
    });
    const items = (await db.ask("GET", "/indexes")).json.data["items"] as { indexId: string }[];
    expect(items.map(({ indexId }) => indexId)).toEqual(["default", "lists"]);
    for (const index of ["lists", "IVF", "default", "HNSW"])
      expect((await db.search({ queryVector: [3, 1], topK: 1, index }))[0]).toMatchObject({ id: "id-3" });
    const tuned = await db.ask("PUT", "/indexes/lists", { indexParameters: { probes: 3 } });
    expect(tuned.json.data).toMatchObject({ indexParameters: { lists: 4, probes: 3, quantizer: "rabitq" } });
    expect((await db.ask("PUT", "/indexes/default", { indexParameters: { M: 40 } })).json.data).toMatchObject({
      indexParameters: { M: 40 },
    });
    expect((await db.ask("GET", "")).json.data).toMatchObject({ indexParameters: { M: 40 } });
    const refused = async (method: string, path: string, body?: object): Promise<string> => {
      const { json } = await db.ask(method, `/indexes${path}`, body);
      return `${json.code}: ${json.message}`;
    };
    const more = { indexId: "b", indexType: "HNSW" };
    expect(await refused("POST", "", { ...more, indexId: "lists" })).toMatch(/^alreadyExists/);
    expect(await refused("POST", "", { ...more, indexParameters: { quantizer: "pq" } })).toMatch(
      /indexParameters.quan/,
    );
    expect(await refused("POST", "", { ...more, indexParameters: { lists: 3 } })).toMatch(/means nothing to HNSW/);
    expect(await refused("POST", "", { ...more, indexId: "IVF" })).toMatch(/name of a kind/);
    expect(await refused("POST", "", { ...more, indexId: "a/b" })).toMatch(/^invalidRequest/);
    expect(await refused("POST", "", { ...more, indexType: "TREE" })).toMatch(/indexType/);
    expect(await refused("PUT", "/lists", {})).toMatch(/give it, or rebuild/);
    expect(await refused("PUT", "/nobody", { rebuild: true })).toMatch(/^notFound/);
    expect(await refused("DELETE", "/default")).toMatch(/^conflict/);
    expect((await db.ask("DELETE", "/indexes/lists")).status).toBe(200);
    expect(await refused("DELETE", "/lists")).toMatch(/^notFound/);
    expect((await db.ask("POST", "/search", { queryVector: [3, 1], index: "lists" })).json.message).toMatch(/default/);
  });

  it("[VE-210][VE-212] a build goes on behind searches and after a restart by itself; the old build serves till then", async () => {
    const { key, tenantId } = await newTenant();
    const tenant = (await directory().lookupTenant(tenantId))!;
    const db = await Db.create(key, { databaseId: "docs", vectorDimension: 2, metric: "euclidean" });
    const name = { tenant, namespace: "default", databaseId: "docs", generation: 1 };
    const stub = env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(shardName(name, 0))) as unknown as DurableObjectStub;
    for (const part of [0, 1]) {
      const vectors = Array.from({ length: 10_000 }, (_, n) => ({ id: `${part}-${n}`, values: [n, part] }));
      await db.ask("POST", "/vectors/batch", { vectors });
    }
    const segments = async () => (await db.ask("GET", "/status")).json.data["segments"];
    await vi.waitFor(async () => expect(await segments()).toBe(2), { timeout: 60_000, interval: 100 });
    await db.ask("POST", "/indexes", { indexId: "bits", indexType: "FLAT", indexParameters: { quantizer: "rabitq" } });
    await db.ask("PUT", "/indexes/default", { rebuild: true });
    await db.put("new", [-5, -5]);
    for (const index of ["bits", "default"])
      expect((await db.search({ queryVector: [-5, -5], topK: 1, index }))[0]).toMatchObject({ id: "new", score: 0 });
    await evictDurableObject(stub);
    // Nobody calls: what was begun is found by the alarm.
    await runDurableObjectAlarm(stub);
    await ready(db, "bits");
    await ready(db, "default");
    for (const index of ["bits", "default"])
      expect((await db.search({ queryVector: [77, 1], topK: 1, index }))[0]).toMatchObject({ id: "1-77", score: 0 });
  });
});
