// Consistency of reads over HTTP: which copy may answer, tokens, copies that are paused, gone, or more than there can be.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { Env } from "../../objects/env.ts";
import type { CopyRead } from "../../objects/vector-rpc.ts";
import { copyName, copyZones } from "../../src/vector/database/placement.ts";
import { shardName } from "../../src/vector/database/record.ts";
import type { VectorAnswer } from "../../src/wire/vector.ts";
import { readVectorAnswer } from "../../src/wire/vector-answers.ts";
import { writeVectorCall } from "../../src/wire/vector-requests.ts";
import { readVectorToken, VECTOR_TOKEN_HEADER } from "../../src/wire/vector-token.ts";
import type { VectorFollower, VectorShard } from "../../src/worker.ts";
import { askOf, newGateway } from "./access-support.ts";
import { type Answer, ask, directory, newTenant } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

const WAIT = { timeout: 20_000, interval: 100 };
const objects = env as unknown as Env;
const ZONES = { zones: ["z1", "z2", "z3"], ever: [] };

interface Own {
  readonly db: Db;
  readonly tenant: number;
  readonly shards: number;
}

async function newDb(replication: object, shards = 1): Promise<Own> {
  const { key, tenantId } = await newTenant();
  const tenant = (await directory().lookupTenant(tenantId))!;
  const body = {
    databaseId: "db",
    vectorDimension: 3,
    metric: "euclidean",
    replication,
    sharding: { numShards: shards },
  };
  return { db: await Db.create(key, body), tenant, shards };
}

const nameOf = ({ tenant }: Own, shard = 0): string =>
  shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, shard);

function followersOf(own: Own, factor: number, shard = 0): DurableObjectStub<VectorFollower>[] {
  return copyZones({ replication: { factor }, placement: ZONES }, shard).map((zone) => {
    const id = objects.VECTOR_FOLLOWER.idFromName(copyName(zone, nameOf(own, shard)));
    return objects.VECTOR_FOLLOWER.get(id) as unknown as DurableObjectStub<VectorFollower>;
  });
}

/** Its leader answers no call of it any more. */
async function pause(follower: DurableObjectStub<VectorFollower>): Promise<void> {
  await runInDurableObject(follower, (instance) => {
    const never = (): Promise<never> => new Promise(() => undefined);
    const leader = { pull: never, head: never, manifest: never, blobs: never };
    const own = instance as unknown as { env: object };
    own.env = { ...own.env, VECTOR_SHARD: { idFromName: () => undefined, get: () => leader } };
  });
}

/** It goes on with all else: copies follow it. */
function answersNothing(instance: VectorShard): void {
  const prototype = Object.getPrototypeOf(instance) as { call: (bytes: Uint8Array) => Promise<Uint8Array> };
  const { call } = prototype;
  prototype.call = function (this: unknown, bytes: Uint8Array) {
    return this === instance ? new Promise(() => undefined) : call.call(this, bytes);
  };
}

async function count(
  own: Own,
  consistency: string,
  token?: string | null,
): Promise<{ answer: Answer; token: string | null }> {
  const headers: Record<string, string> = token ? { [VECTOR_TOKEN_HEADER]: token } : {};
  const answer = await own.db.ask("GET", `/vectors/count?consistency=${consistency}`, undefined, headers);
  return { answer, token: answer.headers.get(VECTOR_TOKEN_HEADER) };
}

/** What the copy itself says; null: it could not in time. */
async function copyCount(follower: DurableObjectStub<VectorFollower>, ask: CopyRead): Promise<VectorAnswer | null> {
  const bytes = await follower.read(writeVectorCall({ request: { kind: "count" } }), ask);
  return bytes && readVectorAnswer(bytes);
}

describe("consistency of reads", () => {
  it("[VE-195] a second client that was handed a token never reads older, though the copy is paused; without one it may", async () => {
    const own = await newDb({ factor: 2, maxLagMs: 60_000 });
    const [follower] = followersOf(own, 2);
    const token = async (id: string): Promise<string> =>
      (await own.db.put(id, [1, 0, 0])).headers.get(VECTOR_TOKEN_HEADER)!;
    const place = (text: string) => readVectorToken(text).places.get(0)!;
    const first = await token("a");
    expect(await copyCount(follower!, { atLeast: place(first), waitMs: 10_000 })).toMatchObject({ count: 1 });
    // From here on it stays where it is. What was under way may still reach it.
    await pause(follower!);
    await token("b");
    const early = await token("c");
    const late = await token("d");
    const stale = await copyCount(follower!, { waitMs: 0 });
    expect(stale).toMatchObject({ kind: "count" });
    expect((stale as { count: number }).count).toBeLessThan(4);
    expect(await copyCount(follower!, { atLeast: place(late), waitMs: 100 })).toBeNull();
    // A gateway of its own knows nothing of how slow each copy is: it begins with either.
    const counts = async (how: string, handed?: string): Promise<number> => {
      const headers: Record<string, string> = handed ? { [VECTOR_TOKEN_HEADER]: handed } : {};
      const path = `/v1/databases/db/vectors/count?consistency=${how}`;
      const answer = await askOf(newGateway(), "GET", path, { key: own.db.key, headers });
      expect(answer.status, answer.text).toBe(200);
      return Number(answer.json.data["count"]);
    };
    for (let at = 0; at < 4; at++) {
      expect(await counts("causal", late)).toBe(4);
      expect(await counts("causal", early)).toBeGreaterThanOrEqual(3);
      expect(await counts("strong")).toBe(4);
    }
    // Within maxLagMs the paused one may answer, with what it has; so it may one that has seen nothing.
    for (const how of ["eventual", "causal"])
      await vi.waitFor(async () => expect(await counts(how)).toBeLessThan(4), WAIT);
    const wrong = await count(own, "causal", "bm9uc2Vuc2U");
    expect([wrong.answer.status, wrong.answer.text]).toEqual([400, expect.stringContaining(VECTOR_TOKEN_HEADER)]);
  });

  it("[VE-193][VE-201] maxLagMs bounds what an eventual read may lack: with 0 every acknowledged write is seen, whichever copy answers", async () => {
    const own = await newDb({ factor: 3, maxLagMs: 0 });
    for (let at = 1; at <= 10; at++) {
      await own.db.put(`v${at}`, [at, 0, 0]);
      for (let again = 0; again < 3; again++) expect((await count(own, "eventual")).answer.json.data["count"]).toBe(at);
    }
    const read = await own.db.ask("GET", "/vectors/v3?consistency=eventual");
    expect(read.json.data).toMatchObject({ id: "v3", values: [3, 0, 0] });
    const listed = await own.db.ask("GET", "/vectors?consistency=eventual&limit=100");
    expect(listed.json.data["items"]).toHaveLength(10);
    const sample = async (name: string): Promise<number> => {
      const { text } = await ask("GET", "/metrics");
      const line = text.split("\n").find((each) => each.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1));
    };
    await vi.waitFor(async () => {
      expect(await sample("jade_vector_rows_written_total")).toBeGreaterThanOrEqual(10);
      expect(await sample('jade_vector_reads_total{at="copy"}')).toBeGreaterThan(0);
      expect(await sample('jade_vector_memory_bytes{at="copy"}')).toBeGreaterThan(0);
      expect(await sample("jade_vector_follower_lag_revisions")).toBeGreaterThanOrEqual(0);
    }, WAIT);
  });

  it("[VE-198] a change of the factor makes copies and ends them; more than there are zones are refused", async () => {
    const own = await newDb({ factor: 1 });
    await own.db.put("a", [1, 2, 3]);
    const status = async () =>
      (await own.db.ask("GET", "/status")).json.data as unknown as { shards: { replicas?: { zone: string }[] }[] };
    expect((await status()).shards[0]!.replicas).toBeUndefined();
    expect((await own.db.ask("PUT", "", { replication: { factor: 3 } })).status).toBe(200);
    await vi.waitFor(async () => {
      expect((await status()).shards[0]!.replicas).toMatchObject([
        { zone: "z2", lagRevisions: 0, revision: 1 },
        { zone: "z3", lagRevisions: 0, revision: 1 },
      ]);
    }, WAIT);
    const tables = (stub: DurableObjectStub<VectorFollower>): Promise<number> =>
      runInDurableObject(stub, (_, { storage }) =>
        Number(storage.sql.exec("SELECT count(*) AS n FROM sqlite_master WHERE name LIKE 'vector_%'").one()["n"]),
      );
    const [second, third] = followersOf(own, 3);
    expect(await tables(third!)).toBeGreaterThan(0);
    expect((await own.db.ask("PUT", "", { replication: { factor: 2 } })).status).toBe(200);
    expect([await tables(second!), await tables(third!)]).toEqual([expect.any(Number), 0]);
    expect((await status()).shards[0]!.replicas).toMatchObject([{ zone: "z2" }]);
    const refused = await own.db.ask("PUT", "", { replication: { factor: 4 } });
    expect([refused.status, refused.json.message]).toEqual([400, expect.stringContaining("the limit is 3")]);
    const { key } = await newTenant();
    const body = { databaseId: "x", vectorDimension: 3, replication: { factor: 5 } };
    expect((await ask("POST", "/v1/databases", { key, body })).status).toBe(400);
    await own.db.ask("DELETE", "");
    expect(await tables(second!)).toBe(0);
  });

  it("[VE-242][VE-311] an archived database is so at every copy, and they go on with it; a snapshot is restored at every copy", async () => {
    const own = await newDb({ factor: 2, maxLagMs: 0 });
    await own.db.put("a", [1, 2, 3]);
    const [follower] = followersOf(own, 2);
    const recent = { isRecent: true, waitMs: 10_000 };
    expect(await copyCount(follower!, recent)).toMatchObject({ count: 1 });
    expect((await own.db.ask("POST", "/snapshots", { snapshotId: "s" })).status).toBe(201);
    for (let round = 0; round < 2; round++) {
      await own.db.ask("DELETE", "/vectors/a");
      for (const id of ["x", "y", "z"]) await own.db.put(id, [3, 2, 1]);
      expect(await copyCount(follower!, recent)).toMatchObject({ count: 3 });
      expect((await own.db.ask("POST", "/restore", { snapshotId: "s" })).status).toBe(200);
      expect(await copyCount(follower!, recent)).toMatchObject({ count: 1 });
      expect((await own.db.ask("GET", "/vectors/a?consistency=eventual")).json.data).toMatchObject({
        values: [1, 2, 3],
      });
    }
    expect((await own.db.ask("POST", "/archive")).json.data).toMatchObject({ state: "archived" });
    for (const how of ["strong", "causal", "eventual"]) {
      const { answer } = await count(own, how);
      expect([answer.status, answer.json.details]).toEqual([409, { state: "archived" }]);
    }
    expect(await copyCount(follower!, { waitMs: 0 })).toBeNull();
    expect((await own.db.ask("POST", "/restore", {})).json.data).toMatchObject({ state: "ready" });
    await own.db.put("b", [1, 2, 3]);
    expect(await copyCount(follower!, recent)).toMatchObject({ count: 2 });
  });

  it("[VE-329] copies of databases sharded by ranges or centroids are asked: they answer eventual reads while their leaders answer none", async () => {
    const { key, tenantId } = await newTenant();
    const tenant = (await directory().lookupTenant(tenantId))!;
    const shardings = [
      { strategy: "range", key: "n", splitPoints: [40] },
      { strategy: "centroid", numShards: 2, learnRows: 64 },
    ];
    for (const [at, sharding] of shardings.entries()) {
      const replication = { factor: 2, maxLagMs: 500 };
      const databaseId = `db${at}`;
      const db = await Db.create(key, { databaseId, vectorDimension: 3, metric: "euclidean", sharding, replication });
      const vectors = Array.from({ length: 80 }, (_, n) => ({
        id: `v${n}`,
        values: [n < 40 ? n : n + 900, 0, 0],
        metadata: { n },
      }));
      expect((await db.ask("POST", "/vectors/batch", { vectors })).json.data).toMatchObject({ stored: 80 });
      const isActive = async () =>
        expect((await db.ask("GET", "/status")).json.data["sharding"]).toMatchObject({ state: "active" });
      await vi.waitFor(isActive, WAIT);
      // A gateway asks copies when it knows that no vector moves.
      const search = (more: object) =>
        db.ask("POST", "/search", { queryVector: [3, 0, 0], topK: 100, shardProbes: 2, ...more });
      await vi.waitFor(
        async () => expect((await search({ consistency: "eventual" })).json.data["results"]).toHaveLength(80),
        WAIT,
      );
      for (const shard of [0, 1]) {
        const id = objects.VECTOR_SHARD.idFromName(
          shardName({ tenant, namespace: "default", databaseId, generation: at + 1 }, shard),
        );
        await runInDurableObject(
          objects.VECTOR_SHARD.get(id) as unknown as DurableObjectStub<VectorShard>,
          answersNothing,
        );
      }
      expect((await search({ deadlineMs: 300 })).status).toBe(503);
      const found = await search({ consistency: "eventual" });
      expect(found.json.data["results"], found.text).toHaveLength(80);
      expect((await db.ask("GET", "/vectors/count?consistency=eventual")).json.data).toMatchObject({ count: 80 });
      expect((await db.ask("GET", "/vectors?consistency=eventual&limit=100")).json.data["items"]).toHaveLength(80);
    }
  });

  it("[VE-199] edge case 2: part of an answer is given only where it is asked for, and names the shards that are missing", async () => {
    const own = await newDb({ factor: 1 }, 2);
    for (let at = 0; at < 12; at++) await own.db.put(`v${at}`, [at, 0, 0]);
    const id = objects.VECTOR_SHARD.idFromName(nameOf(own, 1));
    const shard = objects.VECTOR_SHARD.get(id) as unknown as DurableObjectStub<VectorShard>;
    await runInDurableObject(shard, answersNothing);
    const search = (more: object) =>
      own.db.ask("POST", "/search", { queryVector: [0, 0, 0], deadlineMs: 300, ...more });
    expect((await search({})).status).toBe(503);
    const partial = await search({ partial: true, topK: 12 });
    expect(partial.json.data).toMatchObject({ partial: true, missingShards: [1], isComplete: false });
    const { results } = partial.json.data as unknown as { results: unknown[] };
    expect(results.length).toBeGreaterThan(0);
    expect(results.length).toBeLessThan(12);
  });
});
