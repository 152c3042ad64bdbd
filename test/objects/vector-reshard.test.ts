// Another number of shards for a database, inside workerd: under reads and writes, over restarts of every object, and back.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { CheckedTable } from "../../objects/checked-rows.ts";
import { house, listed, reshardOf, untilReshard } from "./reshard-support.ts";
import { Db } from "./vector-support.ts";

describe("another number of shards", () => {
  it("[VE-280][VE-281][VE-282] grows under reads and writes, over restarts; nothing is lost, doubled or back; and is cancelled", async () => {
    const own = await house({ sharding: { numShards: 2 } });
    const { db, tenant, shard } = own;
    const vectors = Array.from({ length: 300 }, (_, n) => ({ id: `v${n}`, values: [n, 1], metadata: { n } }));
    await db.ask("POST", "/vectors/batch", { vectors });
    const truth = new Map(vectors.map(({ id, values }) => [id, values[0]!]));
    let isOver = false;
    // An object with calls under way is not evicted: clients rest meanwhile.
    let resting: Promise<void> = Promise.resolve();
    let underWay = 0;
    const working = async <T>(run: () => Promise<T>): Promise<T> => {
      await resting;
      underWay++;
      try {
        return await run();
      } finally {
        underWay--;
      }
    };
    const evicted = async (stub: DurableObjectStub): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      resting = promise;
      await vi.waitFor(() => expect(underWay).toBe(0), { timeout: 40_000, interval: 20 });
      // Shards that move rows call each other, and may be too busy for it; crashes at each of these calls are the placer's tests.
      await evictDurableObject(stub).catch(() => undefined);
      resolve();
      await runDurableObjectAlarm(stub);
    };
    const retried = async (run: () => ReturnType<Db["ask"]>): Promise<void> => {
      const tried = async (): Promise<void> => expect((await working(run)).status).toBeLessThan(300);
      await vi.waitFor(tried, { timeout: 40_000, interval: 50 });
    };
    const writer = async (): Promise<void> => {
      for (let n = 0; !isOver && n < 300; n++) {
        const id = `v${(n * 7) % 200}`;
        if (n % 5 === 0 && truth.has(id)) {
          await retried(async () => {
            const answer = await db.ask("DELETE", `/vectors/${id}`);
            return answer.status === 404 ? { ...answer, status: 200 } : answer;
          });
          truth.delete(id);
        } else {
          await retried(() => db.ask("POST", "/vectors", { id, values: [1000 + n, 1] }));
          truth.set(id, 1000 + n);
        }
      }
    };
    const searches: number[] = [];
    const reader = async (): Promise<void> => {
      for (let n = 0; !isOver; n = (n + 1) % 40) {
        const answer = await working(() => db.ask("POST", "/search", { queryVector: [293, 1], topK: 2 }));
        if (answer.status !== 200) expect(answer.status, answer.text).toBe(503);
        else {
          const ids = (answer.json.data["results"] as { id: string }[]).map(({ id }) => id);
          expect(new Set(ids).size).toBe(ids.length);
          searches.push(ids.length);
        }
      }
    };
    const begun = await db.ask("POST", "/reshard", { shards: 5 });
    expect([begun.status, begun.json.data], begun.text).toMatchObject([202, { state: "moving", from: 2, to: 5 }]);
    const clients = [writer(), reader()];
    for (const stub of [shard(0), tenant, shard(1)]) await evicted(stub);
    await untilReshard(own, "done");
    isOver = true;
    await Promise.all(clients);
    expect(searches.length).toBeGreaterThan(3);
    const check = async (shards: number): Promise<void> => {
      const held = await listed(db);
      expect([...held.keys()].sort()).toEqual([...truth.keys()].sort());
      expect(new Set(held.values()).size).toBe(shards);
      expect(await db.count()).toBe(truth.size);
      // Nobody wrote it again: moved as it was.
      expect((await db.ask("GET", "/vectors/v250")).json.data).toMatchObject({ version: 1, metadata: { n: 250 } });
      for (const id of ["v1", "v150", "v299"]) {
        const answer = await db.ask("GET", `/vectors/${id}`);
        expect(answer.json.data?.["values"]).toEqual(truth.has(id) ? [truth.get(id), 1] : undefined);
      }
    };
    await check(5);
    expect((await db.ask("GET", "")).json.data["sharding"]).toEqual({ strategy: "hash", numShards: 5 });
    const { importId } = (await db.ask("POST", "/imports", { vectors: vectors.slice(0, 40) })).json.data;
    await vi.waitFor(
      async () =>
        expect((await db.ask("GET", `/imports/${String(importId)}`)).json.data).toMatchObject({
          state: "done",
          stored: 40,
        }),
      { timeout: 30_000, interval: 50 },
    );
    for (const { id, values } of vectors.slice(0, 40)) truth.set(id, values[0]!);
    await check(5);

    await db.ask("POST", "/reshard", { shards: 8 });
    const cancelled = await db.ask("DELETE", "/reshard");
    // It may have been done by then: back all the same.
    if (cancelled.status === 202) expect(cancelled.json.data).toMatchObject({ from: 8, to: 5, cancelled: true });
    else await db.ask("POST", "/reshard", { shards: 5 });
    await untilReshard(own, "ending");
    await check(5);
    // A shard that was told late might be there again: half a minute is waited for it.
    await runInDurableObject(tenant, (_, { storage }) =>
      new CheckedTable(storage.sql, "databases", "generation").update({
        set: "late_until_ms = ?",
        to: [1],
        where: "1",
      }),
    );
    await evictDurableObject(tenant);
    await untilReshard(own, "done");
    await check(5);
    for (const at of [5, 6, 7])
      await runInDurableObject(shard(at), async (_, { storage }) => {
        const tables = storage.sql.exec("SELECT name FROM sqlite_master WHERE name LIKE 'vector_%'").toArray();
        expect(tables).toEqual([]);
      });
  }, 90_000);

  it("[VE-283] what cannot be resharded is refused; nothing is changed", async () => {
    const { db } = await house({ sharding: { numShards: 2 } });
    const refused = async (body: unknown, method = "POST"): Promise<unknown> =>
      (await db.ask(method, "/reshard", body)).json.code;
    for (const body of [{}, { shards: 0 }, { shards: 65 }, { shards: 1.5 }, { shards: 3, more: 1 }])
      expect(await refused(body)).toBe("invalidRequest");
    expect(await refused(undefined, "DELETE")).toBe("conflict");
    await db.ask("POST", "/snapshots", { snapshotId: "s" });
    expect(await refused({ shards: 3 })).toBe("conflict");
    expect((await db.ask("POST", "/reshard", { shards: 2 })).json.code).toBe("conflict");
    await db.ask("DELETE", "/snapshots/s");
    expect((await db.ask("POST", "/reshard", { shards: 2 })).json.data).toMatchObject({ state: "done", numShards: 2 });
    const ranges = await Db.create(db.key, {
      ...{ databaseId: "r", vectorDimension: 2 },
      sharding: { strategy: "range", key: "n", numShards: 2 },
    });
    // Nothing is learned yet.
    expect((await ranges.ask("POST", "/reshard", { shards: 3 })).json).toMatchObject({
      code: "conflict",
      details: { learnRows: 4096 },
    });
    expect(await reshardOf(ranges)).toMatchObject({ state: "done", numShards: 2 });
  });
});
