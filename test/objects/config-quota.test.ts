// Quotas over configuration data: what counts, what is refused, and that it is right after restarts.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { DirectoryAdminRpc } from "../../objects/tenancy-rpc.ts";
import { call, keyspace } from "./config-support.ts";
import { ask, newTenant, ROOT_KEY } from "./gateway-support.ts";

const WAIT = { timeout: 10_000, interval: 100 };
const bytes = (count: number): string => "x".repeat(count);

async function usage(tenantId: string) {
  return (await ask("GET", `/v1/tenants/${tenantId}/usage`, { key: ROOT_KEY })).json.data as unknown as {
    readonly storedBytes: number;
    readonly keys: number;
    readonly config: { readonly storedBytes: number; readonly keys: number };
  };
}

const put = (key: string, name: string, value: unknown, namespace = "default") =>
  ask("PUT", `/v1/config/keys/${name}?namespace=${namespace}`, { key, body: { value } });

async function tenantNumber(tenantId: string): Promise<number> {
  const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system"));
  return (await (directory as unknown as DirectoryAdminRpc).lookupTenant(tenantId))!;
}

describe("quotas", () => {
  it("[AC-85] living keys and values of all namespaces count, exactly, over changes, deletions and restarts", async () => {
    const { tenantId, key } = await newTenant();
    await put(key, "a", bytes(100));
    await put(key, "a", bytes(50)); // 1 + 52 with its quotes
    await put(key, "bb", 1, "other"); // 2 + 1
    await put(key, "gone", 1);
    await ask("DELETE", "/v1/config/keys/gone", { key });
    await vi.waitFor(async () => expect((await usage(tenantId)).config).toEqual({ storedBytes: 56, keys: 2 }), WAIT);
    await ask("POST", "/v1/key-value", { key, body: { key: "kv", value: 1 } });
    await vi.waitFor(async () => expect(await usage(tenantId)).toMatchObject({ storedBytes: 59, keys: 3 }), WAIT);
    const stub = keyspace(`c${await tenantNumber(tenantId)}/default`);
    await evictDurableObject(stub);
    // As a build wrote it that did not count.
    await runInDurableObject(
      stub,
      (_, { storage }) => void storage.sql.exec("DELETE FROM config_facts WHERE name = 'livingBytes'"),
    );
    await evictDurableObject(stub);
    await put(key, "c", 1);
    await vi.waitFor(async () => expect((await usage(tenantId)).config).toEqual({ storedBytes: 58, keys: 3 }), WAIT);
    await ask("DELETE", "/v1/config/namespaces?namespace=other", { key });
    await vi.waitFor(async () => expect((await usage(tenantId)).config).toEqual({ storedBytes: 55, keys: 2 }), WAIT);
  });

  it("[AC-85] over it puts are refused everywhere, with what is used; deletions go on and free it", async () => {
    const { tenantId, key } = await newTenant({ quotas: { storedBytes: 1000 } });
    await put(key, "small", 1);
    await put(key, "large", bytes(2000));
    const refused = await vi.waitFor(async () => {
      const answer = await put(key, "more", 1);
      expect(answer.status).toBe(403);
      return answer;
    }, WAIT);
    expect(refused.json).toMatchObject({ code: "quotaExceeded", details: { quota: "storedBytes", limit: 1000 } });
    const txn = { compare: [], success: [{ op: "put", key: "x", value: 1 }], failure: [] };
    expect((await ask("POST", "/v1/config/txn", { key, body: txn })).json.code).toBe("quotaExceeded");
    const etcd = { key: btoa("x"), value: btoa("y") };
    expect((await ask("POST", "/v3/kv/put", { key, body: etcd })).status).toBeGreaterThanOrEqual(400);
    const other = async () => expect((await put(key, "more", 1, "other")).json.code).toBe("quotaExceeded");
    await vi.waitFor(other, WAIT);
    const kv = () => ask("POST", "/v1/key-value", { key, body: { key: "kv", value: 1 } });
    await vi.waitFor(async () => expect((await kv()).json.code).toBe("quotaExceeded"), WAIT);
    expect((await ask("GET", "/v1/config/keys/large", { key })).status).toBe(200);
    expect((await ask("POST", "/v1/config/leases", { key, body: { ttlSeconds: 60 } })).status).toBe(201);
    const changed = await ask("DELETE", "/v1/config/keys/large", { key });
    expect(changed.status).toBe(200);
    await vi.waitFor(async () => expect((await put(key, "more", 1)).status).toBeLessThan(300), WAIT);
    await vi.waitFor(async () => expect((await put(key, "more", 1, "other")).status).toBeLessThan(300), WAIT);
    const number = await tenantNumber(tenantId);
    expect(await call(keyspace(`c${number}/default`), { kind: "status" })).toMatchObject({ keys: 2 });
  });
});
