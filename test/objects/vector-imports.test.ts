// Imports over HTTP inside workerd: taken, applied behind the answer over all shards and restarts, shown, cancelled, refused when full.
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { shardName } from "../../src/vector/database/record.ts";
import { MAX_WAITING_IMPORTS } from "../../src/vector/shard/limits.ts";
import type { VectorRequest } from "../../src/wire/vector.ts";
import { readVectorAnswer } from "../../src/wire/vector-answers.ts";
import { writeVectorCall } from "../../src/wire/vector-requests.ts";
import type { VectorShard } from "../../src/worker.ts";
import { directory, newTenant } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

async function newDb(more: object = {}) {
  const { key, tenantId } = await newTenant();
  const tenant = (await directory().lookupTenant(tenantId))!;
  const db = await Db.create(key, { databaseId: "docs", vectorDimension: 2, sharding: { numShards: 2 }, ...more });
  const name = { tenant, namespace: "default", databaseId: "docs", generation: 1 };
  const stub = (shard: number) =>
    env.VECTOR_SHARD.get(
      env.VECTOR_SHARD.idFromName(shardName(name, shard)),
    ) as unknown as DurableObjectStub<VectorShard>;
  return { db, stub };
}

const done = (db: Db, id: unknown): Promise<Record<string, unknown>> =>
  vi.waitFor(
    async () => {
      const { data } = (await db.ask("GET", `/imports/${String(id)}`)).json;
      expect(data["state"]).toBe("done");
      return data;
    },
    { timeout: 30_000, interval: 50 },
  );

describe("imports", () => {
  it("[VE-220][VE-222] are answered as taken and applied behind it, in every form of a batch; bad vectors are told", async () => {
    const { db } = await newDb({ replication: { factor: 2 } });
    const vectors = Array.from({ length: 3000 }, (_, at) => ({ id: `id-${at}`, values: [at + 1, 1] }));
    const body = { vectors: [...vectors, { id: "short", values: [1] }, { id: "text", values: "no" }] };
    const header = { "idempotency-key": "import-1" };
    const taken = await db.ask("POST", "/imports", body, header);
    expect(taken.status, taken.text).toBe(202);
    const id = taken.json.data["importId"];
    const shown = await done(db, id);
    expect(shown).toMatchObject({ total: 3002, stored: 3000, failed: 2, progress: 1, endedAt: expect.any(String) });
    expect(shown["errors"]).toMatchObject([
      { index: 3000, id: "short", code: "invalidRequest", message: expect.stringContaining("vectors[3000].values") },
      { index: 3001, id: "text", code: "invalidRequest", message: expect.stringContaining("vectors[3001].values") },
    ]);
    expect(await db.count()).toBe(3000);
    // Sent again: the same import, nothing twice. With another body: refused.
    expect((await db.ask("POST", "/imports", body, header)).json.data).toMatchObject({ importId: id, state: "done" });
    const other = await db.ask("POST", "/imports", { vectors: vectors.slice(0, 2) }, header);
    expect(other.json.code).toBe("idempotencyKeyReused");
    expect((await db.ask("GET", "/vectors/id-7")).json.data).toMatchObject({ version: 1 });
    const lines = [..."abc"].map((letter) => JSON.stringify({ id: letter, values: [1, 2] })).join("\n");
    const second = await db.send("/imports", lines, "application/x-ndjson");
    expect(second.status, second.text).toBe(202);
    await done(db, second.json.data["importId"]);
    expect(await db.count()).toBe(3003);
    const items = (await db.ask("GET", "/imports")).json.data["items"] as object[];
    expect(items).toHaveLength(2);
    expect((await db.ask("GET", "/imports/nobody")).json.code).toBe("notFound");
    expect((await db.ask("POST", "/imports", { vectors: [], atomic: true })).status).toBe(400);
  });

  it("[VE-221][VE-223][VE-224] go on after a restart by themselves; can be cancelled; are refused whole when one shard has no room", async () => {
    const { db, stub } = await newDb();
    const call = async (shard: number, request: VectorRequest) =>
      readVectorAnswer(await stub(shard).call(writeVectorCall({ request })));
    const vectors = Array.from({ length: 10_000 }, (_, at) => ({ id: `id-${at}`, values: [at + 1, 1] }));
    const { data } = (await db.ask("POST", "/imports", { vectors })).json;
    for (const shard of [0, 1]) await evictDurableObject(stub(shard));
    // Nobody calls: what waits is found by the alarm.
    for (const shard of [0, 1]) await runDurableObjectAlarm(stub(shard));
    await done(db, data["importId"]);
    expect(await db.count()).toBe(10_000);
    expect((await db.ask("DELETE", `/imports/${String(data["importId"])}`)).json.data).toMatchObject({ state: "done" });
    for (let at = 0; at < MAX_WAITING_IMPORTS; at++)
      await call(1, { kind: "importStage", job: `j${at}`, bodyHash: "", part: 0, rows: [], refused: [] });
    const full = await db.ask("POST", "/imports", { vectors: vectors.slice(0, 100) });
    expect([full.status, full.json.code, full.headers.get("retry-after")]).toEqual([
      503,
      "overloaded",
      expect.any(String),
    ]);
    const left = await call(0, { kind: "imports" });
    expect(left.kind === "status" && JSON.parse(left.status)).toHaveLength(1);
    expect((await db.ask("DELETE", "/imports/j0")).json.data).toMatchObject({ state: "cancelled" });
    expect((await db.ask("POST", "/imports", { vectors: vectors.slice(0, 100) })).status).toBe(202);
  });
});
