// Copies of vectors leave a zone that is drained, unasked, and come with a greater factor: Directory, tenants, shards and copies, all real.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import type { Env } from "../../objects/env.ts";
import { copyName } from "../../src/vector/database/placement.ts";
import { shardName } from "../../src/vector/database/record.ts";
import type { VectorFollower } from "../../src/worker.ts";
import { ask, directory, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

const WAIT = { timeout: 60_000, interval: 100 };
const SHARDS = 3;
const objects = env as unknown as Env;
/** Also while objects find another one. */
const followers = objects.VECTOR_FOLLOWER;

interface Shown {
  readonly replicas?: readonly { readonly zone: string; readonly state: string; readonly copied?: object }[];
}

async function copiesOf(db: Db): Promise<string[]> {
  const { json, text } = await db.ask("GET", "/status");
  const shards = json.data["shards"] as readonly Shown[];
  expect(shards, text).toHaveLength(SHARDS);
  return shards.map(({ replicas = [] }) => replicas.map(({ zone, state }) => `${zone} ${state}`).join(", "));
}

it("[VE-314] [VE-315] [VE-318] the copies of a zone that is drained are filled in others, those that stay answer meanwhile, and what was there is deleted", async () => {
  const { tenantId, key } = await newTenant({ replicationFactor: 2 });
  const tenant = (await directory().lookupTenant(tenantId))!;
  const follower = (zone: string, shard: number) => {
    const name = shardName({ tenant, namespace: "default", databaseId: "db", generation: 1 }, shard);
    const id = followers.idFromName(copyName(zone, name));
    return followers.get(id) as unknown as DurableObjectStub<VectorFollower>;
  };
  const db = await Db.create(key, {
    ...{ databaseId: "db", vectorDimension: 3, metric: "euclidean", sharding: { numShards: SHARDS } },
    replication: { factor: 1 },
  });
  for (let at = 0; at < 12; at++) await db.put(`v${at}`, [at, 0, 0]);

  // More copies: read by nobody before they have all.
  const more = await db.ask("PUT", "", { replication: { factor: 2 } });
  expect(more.status, more.text).toBe(200);
  const by = ["z2 serving", "z3 serving", "z1 serving"];
  await vi.waitFor(async () => expect(await copiesOf(db)).toEqual(by), WAIT);
  const rows = (zone: string, shard: number): Promise<number> =>
    runInDurableObject(follower(zone, shard), (_, { storage }) => {
      const tables = storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'storage_log'").toArray();
      return tables.length === 0 ? 0 : Number(storage.sql.exec("SELECT count(*) AS n FROM storage_log").one()["n"]);
    });
  expect(await rows("z3", 1)).toBeGreaterThan(0);

  // The one that is to come hears nothing of its leader: it must not be asked, and the old one must stay.
  for (const zone of ["z1", "z2"])
    await runInDurableObject(follower(zone, 1), (instance) => {
      const never = (): Promise<never> => new Promise(() => undefined);
      const leader = { pull: never, head: never, manifest: never, blobs: never };
      const own = instance as unknown as { env: object };
      own.env = { ...own.env, VECTOR_SHARD: { idFromName: () => undefined, get: () => leader } };
    });
  const removed = await ask("DELETE", "/v1/cluster/nodes/n3", { key: ROOT_KEY });
  expect(removed.status, removed.text).toBe(202);
  await vi.waitFor(async () => expect((await copiesOf(db))[1]).toMatch(/^z3 serving, z[12] filling$/), WAIT);
  const kinds = async () => (await directory().listEvents({ before: 1e9, limit: 100 })).map(({ kind }) => kind);
  await vi.waitFor(async () => expect(await kinds()).toContain("copiesMoving"), WAIT);
  const nearest = async (): Promise<void> => {
    for (let at = 0; at < 12; at++) {
      const [hit] = await db.search({ queryVector: [at, 0, 0], topK: 1, consistency: "eventual" });
      expect(hit!.id).toBe(`v${at}`);
    }
  };
  await nearest();
  expect((await copiesOf(db))[1]).toMatch(/filling$/);
  expect(await kinds()).not.toContain("copiesMoved");

  const [, zone] = /, (z[12]) filling/.exec((await copiesOf(db))[1]!)!;
  await runInDurableObject(follower(zone!, 1), (_, state) => state.abort("injected: crash")).catch(() => undefined);
  await vi.waitFor(async () => expect((await copiesOf(db))[1]).toBe(`${zone} serving`), WAIT);
  expect(await copiesOf(db)).toEqual(["z2 serving", `${zone} serving`, "z1 serving"]);
  await vi.waitFor(async () => expect(await kinds()).toContain("copiesMoved"), WAIT);
  await vi.waitFor(async () => expect(await rows("z3", 1)).toBe(0), WAIT);
  await nearest();

  // Copies that are to go where nobody answers hold nothing up, and go when somebody does.
  const owner = objects.TENANT.get(objects.TENANT.idFromName(`t${tenant}`)) as unknown as DurableObjectStub;
  const away = async (): Promise<never> => {
    throw new Error("injected: z1 is away");
  };
  const follow = (copies: object): Promise<void> =>
    runInDurableObject(owner, (instance) => {
      (instance as unknown as { env: Record<string, unknown> }).env["VECTOR_FOLLOWER"] = copies;
    });
  await follow({
    idFromName: (name: string) => followers.idFromName(name),
    get: (id: DurableObjectId) => (id.name!.startsWith("z1/") ? { erase: away, configure: away } : followers.get(id)),
  });
  const fewer = await db.ask("PUT", "", { replication: { factor: 1 } });
  expect(fewer.status, fewer.text).toBe(200);
  expect(await rows("z1", 2)).toBeGreaterThan(0);
  expect(await rows("z2", 0)).toBe(0);
  await follow(followers);
  await runInDurableObject(owner, (_, state) => state.abort("injected: crash")).catch(() => undefined);
  await directory().lookupTenant(tenantId);
  await db.count();
  await vi.waitFor(async () => expect(await rows("z1", 2)).toBe(0), WAIT);
}, 150_000);
