// What the tests of changes of shards share.
import { runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, vi } from "vitest";
import { shardName } from "../../src/vector/database/record.ts";
import { directory, newTenant, tenantObject } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

export interface House {
  readonly db: Db;
  readonly tenant: DurableObjectStub;
  readonly shard: (number: number) => DurableObjectStub;
  readonly nameOf: (shard: number) => string;
}

/** A database of two dimensions, unless told otherwise, and the objects behind it. */
export async function house(more: object): Promise<House> {
  const { key, tenantId } = await newTenant();
  const number = (await directory().lookupTenant(tenantId))!;
  const db = await Db.create(key, {
    ...{ databaseId: "db", vectorDimension: 2, metric: "euclidean" },
    ...more,
  });
  const name = { tenant: number, namespace: "default", databaseId: "db", generation: 1 };
  const nameOf = (at: number): string => shardName(name, at);
  const shard = (at: number) =>
    env.VECTOR_SHARD.get(env.VECTOR_SHARD.idFromName(nameOf(at))) as unknown as DurableObjectStub;
  return { nameOf, db, tenant: tenantObject(number) as unknown as DurableObjectStub, shard };
}

export const reshardOf = async (db: Db): Promise<Record<string, unknown>> =>
  (await db.ask("GET", "/reshard")).json.data;

/** The alarm goes on with it each second; here as soon as it can. */
export async function untilReshard({ db, tenant }: House, state: string): Promise<void> {
  await vi.waitFor(
    async () => {
      await runDurableObjectAlarm(tenant);
      expect(await reshardOf(db)).toMatchObject({ state });
    },
    { timeout: 60_000, interval: 100 },
  );
}

/** Which shards have the rows, by the listing. */
export async function listed(db: Db): Promise<ReadonlyMap<string, string>> {
  const { items } = (await db.ask("GET", "/vectors?limit=1000")).json.data as unknown as {
    items: { id: string; shard: string }[];
  };
  expect(new Set(items.map(({ id }) => id)).size).toBe(items.length);
  return new Map(items.map(({ id, shard }) => [id, shard]));
}
