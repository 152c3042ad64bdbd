// Snapshots of databases whose vectors are placed (by ranges, centroids, another number of shards), and ways back to them, inside workerd.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { CheckedTable } from "../../objects/checked-rows.ts";
import type { Env } from "../../objects/env.ts";
import type { Lifecycle } from "../../src/vector/database/lifecycle.ts";
import { copyName } from "../../src/vector/database/placement.ts";
import type { DatabaseRecord } from "../../src/vector/database/record.ts";
import { readVectorAnswer } from "../../src/wire/vector-answers.ts";
import { writeVectorCall } from "../../src/wire/vector-requests.ts";
import { type House, house, listed, untilReshard } from "./reshard-support.ts";
import type { Db } from "./vector-support.ts";

interface Item {
  readonly id: string;
  readonly shard: string;
}

/** Ids with what they hold, versions and times; and where they are. */
async function contents(db: Db, where = false): Promise<readonly object[]> {
  const answer = await db.ask("GET", "/vectors?limit=1000&includeValues=true&includeMetadata=true");
  expect(answer.status, answer.text).toBe(200);
  return (answer.json.data["items"] as unknown as (Item & { revision: number })[])
    .map(({ revision: _, shard, ...rest }) => ({ ...rest, ...(where && { shard }) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

const stored = async (db: Db, vectors: readonly object[]): Promise<void> => {
  const { text, json } = await db.ask("POST", "/vectors/batch", { vectors });
  expect(json.data, text).toMatchObject({ failed: 0 });
};

async function restored(db: Db, snapshotId = "s"): Promise<void> {
  const answer = await db.ask("POST", "/restore", { snapshotId });
  expect([answer.status, answer.json.data?.["state"]], answer.text).toEqual([200, "ready"]);
}

const vector = (n: number, of = n) => ({ id: `v${n}`, values: [of, 1], metadata: { n: of } });
const RANGES = { sharding: { strategy: "range", key: "n", splitPoints: [10, 20] } };

/** How many vectors a shard's copies hold, when they have what their leader has. */
async function copied(own: House, shards: number): Promise<number> {
  const { VECTOR_FOLLOWER: copies } = env as unknown as Env;
  const { data } = (await own.db.ask("GET", "/status")).json as unknown as {
    data: { shards: readonly { replicas: readonly { zone: string }[] }[] };
  };
  const counts = Array.from({ length: shards }, async (_, shard) => {
    const name = copyName(data.shards[shard]!.replicas[0]!.zone, own.nameOf(shard));
    const call = writeVectorCall({ topology: 9, request: { kind: "count" } });
    const answer = readVectorAnswer(
      (await copies.get(copies.idFromName(name)).read(call, { isRecent: true, waitMs: 9000 }))!,
    );
    return answer.kind === "count" ? answer.count : Number.NaN;
  });
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

describe("a database whose vectors are placed", () => {
  it("[VE-307][VE-311] by ranges, with copies: put back in place it is as it was, each vector in its shard, found, read by id and written again", async () => {
    const own = await house({ ...RANGES, replication: { factor: 2, sync: false, maxLagMs: 300 } });
    const { db } = own;
    await stored(
      db,
      Array.from({ length: 30 }, (_, n) => vector(n)),
    );
    await db.ask("PUT", "/vectors/v3", { metadata: { n: 25 } });
    const before = await contents(db, true);
    expect((await db.ask("POST", "/snapshots", { snapshotId: "s" })).json.data).toMatchObject({ rows: 30 });
    // Moved to other shards, deleted, added.
    for (const [n, to] of [
      [3, 15],
      [12, 1],
      [25, 2],
    ] as const)
      expect((await db.ask("POST", "/vectors", vector(n, to))).status).toBe(200);
    await db.ask("POST", "/vectors/delete", { ids: ["v1", "v11", "v21"] });
    await stored(db, [vector(40, 5), vector(41, 15)]);
    for (let round = 0; round < 2; round++) {
      await restored(db);
      expect(await contents(db, true)).toEqual(before);
      for (const id of ["v1", "v3", "v12", "v25"])
        expect((await db.ask("GET", `/vectors/${id}`)).json.data).toMatchObject({ id });
      for (const id of ["v40", "v41"]) expect((await db.ask("GET", `/vectors/${id}`)).status).toBe(404);
      const hits = await db.search({ queryVector: [3, 1], topK: 30, filters: { n: { $gte: 20 } } });
      expect(hits.map(({ id }) => id).sort()).toEqual(
        ["v3", ...Array.from({ length: 10 }, (_, at) => `v${20 + at}`)].sort(),
      );
      await vi.waitFor(async () => expect(await copied(own, 3)).toBe(30), 10_000);
      // Versions go on, and a vector that moves is in one shard.
      expect((await db.ask("POST", "/vectors", vector(3, 4))).json.data).toMatchObject({ version: 3 });
      await db.ask("DELETE", "/vectors/v12");
      expect([(await listed(db)).size, await db.count()]).toEqual([29, 29]);
    }
    // Snapshots and all else go on.
    expect((await db.ask("POST", "/snapshots", { snapshotId: "t" })).json.data).toMatchObject({ rows: 29 });
    await restored(db, "t");
    expect(await db.count()).toBe(29);
    const then = await contents(db, true);
    for (const path of ["/archive", "/restore"]) expect((await db.ask("POST", path, {})).status).toBe(200);
    expect(await contents(db, true)).toEqual(then);
    for (const id of ["s", "t"]) expect((await db.ask("DELETE", `/snapshots/${id}`)).status).toBe(200);
    expect((await db.ask("POST", "/reshard", { shards: 2 })).status).toBe(202);
    await untilReshard(own, "done");
    expect([(await listed(db)).size, await db.count()]).toEqual([29, 29]);
  }, 120_000);

  it("[VE-309] a snapshot of a time when it was not learned yet where vectors belong: put back they are moved there, and found", async () => {
    const own = await house({ sharding: { strategy: "centroid", numShards: 3, learnRows: 64 } });
    const { db } = own;
    const at = (n: number) => ({ id: `v${n}`, values: [(n % 3) * 100 + n / 100, n % 7] });
    await stored(
      db,
      Array.from({ length: 30 }, (_, n) => at(n)),
    );
    const before = await contents(db);
    expect((await db.ask("POST", "/snapshots", { snapshotId: "s" })).status).toBe(201);
    await stored(
      db,
      Array.from({ length: 200 }, (_, n) => at(n)),
    );
    const isActive = async () =>
      expect((await db.ask("GET", "/status")).json.data["sharding"]).toMatchObject({ state: "active" });
    await vi.waitFor(isActive, 30_000);
    await restored(db);
    await isActive();
    expect(await contents(db)).toEqual(before);
    for (const n of [0, 1, 2, 28, 29]) {
      const answer = await db.ask("POST", "/search", {
        queryVector: at(n).values,
        topK: 1,
        shardProbes: 1,
        explain: true,
      });
      const { results, explain } = answer.json.data as unknown as { results: Item[]; explain: { shards: object[] } };
      expect([results[0]?.id, explain.shards.length]).toEqual([`v${n}`, 1]);
    }
  }, 120_000);

  it("[VE-308][VE-310] cut off in any phase it goes on by itself; meanwhile writes and reads by id are refused as not done", async () => {
    const own = await house({ sharding: { numShards: 2 } });
    const { db, tenant, shard } = own;
    await stored(
      db,
      Array.from({ length: 30 }, (_, n) => vector(n)),
    );
    expect((await db.ask("POST", "/reshard", { shards: 3 })).status).toBe(202);
    await untilReshard(own, "done");
    const table = (storage: DurableObjectStorage) =>
      new CheckedTable<{ record: string }>(storage.sql, "databases", "generation");
    /** As a crash leaves it: decided, and no shard told; then all start anew. */
    const decided = async (by: (lifecycle: Lifecycle) => Lifecycle): Promise<void> => {
      await runInDurableObject(tenant, (_, { storage }) => {
        const record = JSON.parse(table(storage).select("")[0]!.record) as DatabaseRecord;
        const lifecycle = by(record.lifecycle ?? { snapshots: [], isArchived: false });
        const to = [JSON.stringify({ ...record, lifecycle: { ...lifecycle, step: (lifecycle.step ?? 0) + 1 } })];
        table(storage).update({ set: "is_configured = 0, record = ?", to, where: "1" });
      });
      for (const stub of [tenant, shard(0), shard(1), shard(2)]) await evictDurableObject(stub);
    };
    const settled = () =>
      vi.waitFor(async () => {
        await runDurableObjectAlarm(tenant);
        expect((await db.ask("POST", "/vectors", vector(99))).status).toBeLessThan(300);
        expect((await db.ask("DELETE", "/vectors/v99")).status).toBe(200);
      }, 60_000);
    const before = await contents(db, true);
    for (const phase of ["holding", "taking"] as const) {
      const snapshot = { snapshotId: phase, createdAtMs: 1, ...(phase === "taking" && { isSettled: true }) };
      const snapshots = phase === "taking" ? [snapshot] : [];
      await decided((held) => ({
        ...held,
        snapshots: [...held.snapshots, ...snapshots],
        underWay: { kind: "snapshot", phase, snapshot },
      }));
      await settled();
      expect((await db.ask("GET", `/snapshots/${phase}`)).json.data).toMatchObject({ rows: 30 });
    }
    for (const [at, phase] of (["holding", "rewinding", "placing", "settling"] as const).entries()) {
      await db.ask("POST", "/vectors/delete", { ids: ["v1", "v2", "v3", `v${10 + at}`] });
      await db.put(`new${at}`, [1, 1]);
      // What comes before the phase was done.
      const restore = { snapshotId: "holding", token: phase };
      if (phase === "placing" || phase === "settling") {
        await decided((held) => ({
          ...held,
          restore,
          era: (held.step ?? 0) + 1,
          underWay: { kind: "restore", phase: "rewinding" },
        }));
        await runDurableObjectAlarm(tenant);
      }
      await decided((held) => ({ ...held, restore, era: (held.step ?? 0) + 1, underWay: { kind: "restore", phase } }));
      expect((await db.ask("GET", "")).json.data).toMatchObject({ state: "restoring" });
      expect((await db.ask("DELETE", "/snapshots/taking")).json).toMatchObject({ code: "conflict" });
      // Another one takes its place.
      if (phase === "rewinding") await restored(db, "taking");
      await settled();
      expect(await contents(db, true), phase).toEqual(before);
    }
    // One that cannot go on, since a shard is away: others say what is refused.
    let away: { mockRestore(): void } | undefined;
    await runInDurableObject(shard(2), (instance) => {
      away = vi.spyOn(Object.getPrototypeOf(instance) as Relocating, "relocation").mockResolvedValue(false);
    });
    const begun = await db.ask("POST", "/restore", { snapshotId: "holding" });
    expect([begun.status, begun.json.code]).toEqual([503, "unknownOutcome"]);
    for (const refused of [
      await db.ask("POST", "/vectors", vector(1)),
      await db.ask("GET", "/vectors/v1"),
      await db.ask("DELETE", "/vectors/v1"),
      await db.ask("POST", "/vectors/delete", { filters: { n: 1 } }),
    ])
      expect([refused.status, refused.json.code, refused.json.details]).toMatchObject([
        503,
        "unavailable",
        { state: "restoring" },
      ]);
    expect(await db.count()).toBe(30);
    // What another shard sent before is refused, however late it comes.
    const late = writeVectorCall({
      isPlaced: true,
      topology: 1,
      request: { kind: "delete", ids: ["v1", "v2", "v3", "v4"] },
    });
    for (const at of [0, 1, 2])
      expect(readVectorAnswer(await (shard(at) as unknown as Calling).call(late))).toMatchObject({
        code: "unavailable",
      });
    away?.mockRestore();
    await settled();
    expect(await contents(db, true)).toEqual(before);
  }, 180_000);
});

interface Calling {
  call(bytes: Uint8Array): Promise<Uint8Array>;
}
interface Relocating {
  relocation(): Promise<boolean>;
}
