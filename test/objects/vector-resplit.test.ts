// Where the vectors of a database sharded by centroids or ranges belong is learned again, inside workerd: under reads and writes, over restarts.
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { shardOf } from "../../src/cluster/shard-of.ts";
import { copyName } from "../../src/vector/database/placement.ts";
import { sumOf } from "../../src/vector/sharding/skew.ts";
import { readVectorAnswer } from "../../src/wire/vector-answers.ts";
import { writeVectorCall } from "../../src/wire/vector-requests.ts";
import { type House, house, listed, reshardOf, untilReshard } from "./reshard-support.ts";
import type { Db } from "./vector-support.ts";

interface Sharding {
  readonly state: string;
  readonly skew: number;
  readonly splitPoints?: readonly number[];
}

const sharding = async (db: Db): Promise<Sharding> =>
  (await db.ask("GET", "/status")).json.data["sharding"] as unknown as Sharding;

async function active(db: Db): Promise<Sharding> {
  await vi.waitFor(async () => expect(await sharding(db)).toMatchObject({ state: "active" }), 30_000);
  return sharding(db);
}

async function store(db: Db, vectors: readonly object[]): Promise<void> {
  for (let from = 0; from < vectors.length; from += 200) {
    const { text, status } = await db.ask("POST", "/vectors/batch", { vectors: vectors.slice(from, from + 200) });
    expect([status, text.includes('"failed":0')], text).toEqual([200, true]);
  }
}

/** Values about one of four places; those from 400 on are about the first one. */
const valuesOf = (n: number): number[] =>
  Array.from({ length: 8 }, (_, at) => (at === (n < 400 ? n % 4 : 0) ? 100 : ((n * (at + 3)) % 97) / 7));
const vector = (n: number) => ({ id: `v${n}`, values: valuesOf(n), metadata: { n } });

/** Restarts objects while clients work: one with calls under way is not evicted, so clients rest meanwhile. */
class Clients {
  #resting: Promise<void> = Promise.resolve();
  #underWay = 0;

  async working<T>(run: () => Promise<T>): Promise<T> {
    await this.#resting;
    this.#underWay++;
    try {
      return await run();
    } finally {
      this.#underWay--;
    }
  }

  async evict(stub: DurableObjectStub): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resting = promise;
    await vi.waitFor(() => expect(this.#underWay).toBe(0), { timeout: 40_000, interval: 20 });
    // Shards that move rows call each other, and may be too busy for it; crashes at each of these calls are the fuzzed test's.
    await evictDurableObject(stub).catch(() => undefined);
    resolve();
    await runDurableObjectAlarm(stub);
  }
}

/** Searches for vectors that nobody writes, by their own values, and finds each of them, once. */
async function reading(db: Db, clients: Clients, isOver: () => boolean): Promise<number> {
  let found = 0;
  for (let n = 0; !isOver(); n = (n + 37) % 800) {
    const body = { queryVector: valuesOf(n), threshold: 0.001, topK: 50 };
    const answer = await clients.working(() => db.ask("POST", "/search", body));
    if (answer.status === 503) continue;
    expect(answer.status, answer.text).toBe(200);
    const ids = (answer.json.data["results"] as { id: string }[]).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids, `after ${found}`).toContain(`v${n}`);
    found++;
  }
  return found;
}

async function writing(db: Db, clients: Clients, isOver: () => boolean): Promise<ReadonlyMap<string, number>> {
  const truth = new Map<string, number>();
  const done = (run: () => ReturnType<Db["ask"]>) =>
    vi.waitFor(async () => expect((await clients.working(run)).status).toBeLessThan(405), {
      timeout: 40_000,
      interval: 50,
    });
  for (let n = 0; !isOver() && n < 400; n++) {
    const id = `v${800 + ((n * 7) % 150)}`;
    if (n % 5 === 4) {
      await done(() => db.ask("DELETE", `/vectors/${id}`));
      truth.delete(id);
    } else {
      // Often in another place.
      await done(() => db.ask("POST", "/vectors", { id, values: valuesOf(n % 400), metadata: { n } }));
      truth.set(id, n);
    }
  }
  return truth;
}

const CENTROIDS = { vectorDimension: 8, sharding: { strategy: "centroid", numShards: 4, learnRows: 200 } };

async function skewed(more: object = {}): Promise<House> {
  const own = await house({ ...CENTROIDS, ...more });
  await store(
    own.db,
    Array.from({ length: 400 }, (_, n) => vector(n)),
  );
  await active(own.db);
  await store(
    own.db,
    Array.from({ length: 400 }, (_, n) => vector(400 + n)),
  );
  expect((await sharding(own.db)).skew).toBeGreaterThan(1.5);
  return own;
}

describe("where vectors belong is learned again", () => {
  it("[VE-300][VE-301][VE-302] by centroids, under reads and writes, over restarts: nothing is lost, doubled or missed, and shards are of one size", async () => {
    const own = await skewed();
    const { db, tenant, shard } = own;
    const clients = new Clients();
    let isOver = false;
    const searches = reading(db, clients, () => isOver);
    const writes = writing(db, clients, () => isOver);
    const begun = await db.ask("POST", "/reshard", {});
    expect([begun.status, begun.json.data], begun.text).toMatchObject([202, { state: "moving", from: 4, to: 4 }]);
    for (const stub of [shard(0), tenant, shard(2)]) await clients.evict(stub);
    await untilReshard(own, "done");
    isOver = true;
    expect(await searches).toBeGreaterThan(3);
    const truth = await writes;
    const check = async (shards: number): Promise<void> => {
      expect((await active(db)).skew).toBeLessThan(1.5);
      const held = await listed(db);
      const ids = [...Array.from({ length: 800 }, (_, n) => `v${n}`), ...truth.keys()];
      expect([...held.keys()].sort()).toEqual(ids.sort());
      expect(new Set(held.values()).size).toBe(shards);
      expect((await db.ask("GET", "/vectors/v250")).json.data).toMatchObject({ version: 1, metadata: { n: 250 } });
      for (const [id, n] of [...truth].slice(0, 5))
        expect((await db.ask("GET", `/vectors/${id}`)).json.data).toMatchObject({ metadata: { n } });
      for (const n of [3, 399, 401, 777]) {
        const query = { queryVector: valuesOf(n), threshold: 0.001, topK: 50, explain: true };
        const { results, explain } = (await db.ask("POST", "/search", query)).json.data as unknown as {
          results: readonly { id: string }[];
          explain: { shards: readonly object[] };
        };
        expect(results.map(({ id }) => id)).toContain(`v${n}`);
        expect(explain.shards.length).toBeLessThanOrEqual(shards);
      }
    };
    await check(4);
    await db.ask("POST", "/reshard", { shards: 6 });
    await untilReshard(own, "done");
    await check(6);
    expect((await db.ask("GET", "")).json.data["sharding"]).toEqual({ ...CENTROIDS.sharding, numShards: 6 });
    await db.ask("POST", "/reshard", { shards: 3 });
    await untilReshard(own, "ending");
    await check(3);
  }, 120_000);

  it("[VE-303] ranges that hold too many are learned anew unasked, when the first shard sees it twice", async () => {
    const own = await house({ sharding: { strategy: "range", key: "n", splitPoints: [100, 200], learnRows: 200 } });
    const { db, shard } = own;
    await store(
      db,
      Array.from({ length: 400 }, (_, n) => ({ id: `v${n}`, values: [n, 1], metadata: { n: 300 + n } })),
    );
    expect(await sharding(db)).toMatchObject({ state: "active", skew: 3, splitPoints: [100, 200] });
    await vi.waitFor(
      async () => {
        await runDurableObjectAlarm(shard(0));
        expect((await sharding(db)).skew).toBeLessThan(1.5);
      },
      { timeout: 60_000, interval: 200 },
    );
    await untilReshard(own, "done");
    const { splitPoints = [] } = await active(db);
    expect(splitPoints).toHaveLength(2);
    expect(Math.min(...splitPoints)).toBeGreaterThan(400);
    expect([...(await listed(db)).keys()]).toHaveLength(400);
    const hits = await db.search({ queryVector: [0, 1], topK: 400, filters: { n: { $gte: 600 } } });
    expect(hits).toHaveLength(100);
    expect(await reshardOf(db)).toMatchObject({ state: "done", numShards: 3 });
  }, 90_000);

  it("[VE-304][VE-305] it has copies, which answer what they can, before and after; an atomic batch is one commit", async () => {
    const replication = { factor: 2, sync: false, maxLagMs: 300 };
    const own = await house({
      sharding: { strategy: "range", key: "n", splitPoints: [200], learnRows: 200 },
      replication,
    });
    const { db } = own;
    await store(
      db,
      Array.from({ length: 300 }, (_, n) => ({ id: `v${n}`, values: [n, 1], metadata: { n } })),
    );
    const check = async (rows: number): Promise<void> => {
      // What a copy answers may be younger than what was just written: by as much as was allowed.
      await vi.waitFor(async () => {
        const body = { queryVector: [7, 1], topK: 1000, consistency: "eventual" };
        expect(new Set((await db.search(body)).map(({ id }) => id)).size).toBe(rows);
      }, 10_000);
      for (const id of ["v7", "v250"])
        expect((await db.ask("GET", `/vectors/${id}?consistency=eventual`)).json.data).toMatchObject({ id });
      const { data } = (await db.ask("GET", "/status")).json as unknown as {
        data: { shards: readonly { replicas: readonly { zone: string }[] }[] };
      };
      const counts = data.shards.map(async ({ replicas: [replica] }, shard) => {
        const copies = env.VECTOR_FOLLOWER;
        const call = writeVectorCall({ topology: 9, request: { kind: "count" } });
        const ask = { isRecent: true, waitMs: 5000 };
        const read = copies.get(copies.idFromName(copyName(replica!.zone, own.nameOf(shard)))).read(call, ask);
        const answer = readVectorAnswer((await read)!);
        return answer.kind === "count" ? answer.count : Number.NaN;
      });
      await vi.waitFor(async () => expect(sumOf(await Promise.all(counts))).toBe(rows), 5000);
    };
    await check(300);
    expect((await db.ask("POST", "/reshard", { shards: 3 })).status).toBe(202);
    await untilReshard(own, "done");
    expect(await active(db)).toMatchObject({ skew: 1 });
    await check(300);
    // Ids of one home, values of one shard.
    const ids = Array.from({ length: 40 }, (_, n) => `a${n}`).filter((id) => shardOf(id, 2) === 0);
    const batch = (n: number, of: readonly string[], metadata = (_at: number): object => ({ n })) =>
      db.ask("POST", "/vectors/batch", {
        atomic: true,
        vectors: of.map((id, at) => ({ id, values: [n, at], metadata: metadata(at) })),
      });
    expect((await batch(5, ids)).json.data).toMatchObject({ stored: ids.length });
    expect((await batch(250, ids)).json).toMatchObject({ code: "conflict", details: { id: ids[0] } });
    expect((await batch(5, ids, (n) => ({ n: n * 250 }))).json.code).toBe("invalidRequest");
    expect((await batch(5, ["b0", "b1", "b2", "b3", "b4", "b5"])).json.code).toBe("invalidRequest");
    expect((await db.ask("GET", `/vectors/${ids[0]}`)).json.data).toMatchObject({ version: 1 });
    await check(300 + ids.length);
  }, 60_000);
});
