// Whose keyspaces are whose: namespaces, their registration, bounds and end.

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { CheckedTable } from "../../objects/checked-rows.ts";
import { MAX_NAMESPACES_PER_TENANT } from "../../src/access/limits.ts";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { writeConfigCall } from "../../src/wire/config-requests.ts";
import { type Answer, ask, directory, newKey, newTenant, ROOT_KEY, tenantObject } from "./gateway-support.ts";

const config = (key: string, method: string, path: string, body?: object): Promise<Answer> =>
  ask(method, `/v1/config${path}`, body ? { key, body } : { key });

async function namespacesOf(key: string): Promise<readonly string[]> {
  const answer = await config(key, "GET", "/namespaces?limit=1000");
  expect(answer.status, answer.text).toBe(200);
  return (answer.json.data["items"] as { namespace: string }[]).map(({ namespace }) => namespace);
}

const numberOf = async (tenantId: string): Promise<number> => (await directory().lookupTenant(tenantId))!;

function keyspaceStub(tenant: number, namespace: string): DurableObjectStub {
  return env.CONFIG_KEYSPACE.get(
    env.CONFIG_KEYSPACE.idFromName(`c${tenant}/${namespace}`),
  ) as unknown as DurableObjectStub;
}

const rowsOf = (stub: DurableObjectStub, table: string): Promise<number> =>
  runInDurableObject(
    stub,
    (_, { storage }) => storage.sql.exec<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table}`).one().n,
  );

const tablesOf = (stub: DurableObjectStub): Promise<number> => rowsOf(stub, "sqlite_master WHERE name LIKE 'config%'");

const tenantStub = (tenant: number): DurableObjectStub => tenantObject(tenant) as unknown as DurableObjectStub;

describe("namespaces", () => {
  it("[CF-90] two tenants, and two namespaces of one, never see or count each other", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    await config(one.key, "PUT", "/keys/a", { value: "one" });
    await config(one.key, "PUT", "/keys/a?namespace=other", { value: "other" });
    await config(one.key, "PUT", "/keys/b?namespace=other", { value: "other" });
    expect((await config(two.key, "GET", "/keys/a")).json).toMatchObject({
      code: "notFound",
      details: { revision: 1 },
    });
    await config(two.key, "PUT", "/keys/a", { value: "two" });
    const read = async (key: string, path: string) => (await config(key, "GET", path)).json.data;
    expect(await read(one.key, "/keys/a")).toMatchObject({ value: "one", revision: 2 });
    expect(await read(one.key, "/keys/a?namespace=other")).toMatchObject({ value: "other", revision: 3 });
    expect(await read(two.key, "/keys/a")).toMatchObject({ value: "two", revision: 2 });
    expect(await read(one.key, "/status")).toMatchObject({ keys: 1, namespace: "default" });
    expect(await read(one.key, "/status?namespace=other")).toMatchObject({ keys: 2, namespace: "other" });
    expect(await read(two.key, "/range?countOnly=true")).toMatchObject({ count: 1 });
    expect(await namespacesOf(one.key)).toEqual(["default", "other"]);
    expect(await namespacesOf(two.key)).toEqual(["default"]);
    const lease = (await config(one.key, "POST", "/leases", { ttlSeconds: 60 })).json.data["leaseId"];
    expect((await config(two.key, "GET", `/leases/${String(lease)}`)).json.code).toBe("leaseNotFound");
    expect((await config(two.key, "PUT", "/keys/x", { value: 1, leaseId: lease })).json.code).toBe("leaseNotFound");
  });

  it("[CF-91] a namespace is its tenant's before its first write is answered; reads register nothing", async () => {
    const { key, tenantId } = await newTenant();
    expect((await config(key, "GET", "/range?namespace=looked-at")).status).toBe(200);
    expect(await namespacesOf(key)).toEqual([]);
    await Promise.all(
      Array.from({ length: 5 }, (_, n) => config(key, "PUT", `/keys/${n}?namespace=used`, { value: n })),
    );
    expect(await namespacesOf(key)).toEqual(["used"]);
    const stub = keyspaceStub(await numberOf(tenantId), "used");
    expect((await config(key, "GET", "/status?namespace=used")).json.data["keys"]).toBe(5);
    // A durable fact: after a restart the Tenant is not asked again.
    await evictDurableObject(stub);
    await runInDurableObject(stub, (instance) => {
      const held = instance as unknown as { env: object };
      held.env = { ...env, TENANT: { idFromName: () => expect.unreachable(), get: () => expect.unreachable() } };
    });
    expect((await config(key, "PUT", "/keys/6?namespace=used", { value: 6 })).status).toBe(201);
  });

  it("[CF-92] a tenant has so many namespaces at most, and says so", async () => {
    const { key, tenantId } = await newTenant();
    await runInDurableObject(tenantStub(await numberOf(tenantId)), (_, { storage }) => {
      for (let n = 0; n < MAX_NAMESPACES_PER_TENANT; n++)
        storage.sql.exec("INSERT INTO namespaces (namespace, state, created_at_ms) VALUES (?, 'active', 0)", `n${n}`);
      new CheckedTable(storage.sql, "namespaces", "incarnation").seal();
    });
    const refused = await config(key, "PUT", "/keys/a?namespace=one-more", { value: 1 });
    expect([refused.status, refused.json.code]).toEqual([403, "quotaExceeded"]);
    expect(refused.json.details).toEqual({ quota: "namespaces", used: 1000, limit: 1000 });
    expect((await config(key, "GET", "/status?namespace=one-more")).json.data).toMatchObject({ revision: 1, keys: 0 });
    expect((await config(key, "DELETE", "/namespaces?namespace=n7")).status).toBe(200);
    expect((await config(key, "PUT", "/keys/a?namespace=one-more", { value: 1 })).status).toBe(201);
    const page = await config(key, "GET", "/namespaces?limit=2");
    expect(page.json.data["items"]).toHaveLength(2);
    const next = await config(key, "GET", `/namespaces?limit=1&cursor=${String(page.json.data["cursor"])}`);
    expect((next.json.data["items"] as { namespace: string }[])[0]!.namespace).toBe("n10");
  });
});

describe("metrics", () => {
  it("[CF-96] add up what keyspaces report, name no tenant, and forget what is erased", async () => {
    const figures = async () => {
      const { text } = await ask("GET", "/metrics");
      const of = (name: string) => Number(new RegExp(`^jade_config_${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
      return { keys: of("keys"), leases: of("leases"), keyspaces: of("keyspaces"), calls: of("calls_total"), text };
    };
    const grown = async (
      before: Awaited<ReturnType<typeof figures>>,
      keys: number,
      leases: number,
      keyspaces: number,
    ) =>
      vi.waitFor(
        async () => {
          const now = await figures();
          const growth = [now.keys - before.keys, now.leases - before.leases, now.keyspaces - before.keyspaces];
          expect(growth).toEqual([keys, leases, keyspaces]);
          return now;
        },
        { timeout: 15_000, interval: 500 },
      );
    await new Promise((resolve) => setTimeout(resolve, 3000)); // reports of earlier tests
    const before = await figures();
    const tenants = [await newTenant(), await newTenant()];
    for (const { key } of tenants)
      for (const name of ["a", "b"]) await config(key, "PUT", `/keys/${name}`, { value: 1 });
    await config(tenants[0]!.key, "POST", "/leases", { ttlSeconds: 60 });
    const after = await grown(before, 4, 1, 2);
    expect(after.calls).toBeGreaterThanOrEqual(before.calls + 5);
    expect(after.text).not.toContain(tenants[0]!.tenantId);
    expect((await config(tenants[0]!.key, "DELETE", "/namespaces?namespace=default")).status).toBe(200);
    await grown(before, 2, 0, 1);
  });
});

describe("the end of a namespace", () => {
  it("[CF-93] deletes everything in it; written to again it begins anew", async () => {
    const { key, tenantId } = await newTenant();
    await config(key, "PUT", "/keys/a?namespace=x", { value: 1 });
    await config(key, "POST", "/leases?namespace=x", { ttlSeconds: 60, leaseId: "7" });
    await config(key, "PUT", "/keys/a", { value: "stays" });
    const headers = { "idempotency-key": "end" };
    const erase = () => ask("DELETE", "/v1/config/namespaces?namespace=x", { key, headers });
    expect((await erase()).json.data).toEqual({ namespace: "x", erasure: "done" });
    expect((await erase()).json.data).toEqual({ namespace: "x", erasure: "done" });
    expect(await namespacesOf(key)).toEqual(["default"]);
    expect((await config(key, "GET", "/keys/a?namespace=x")).json).toMatchObject({
      code: "notFound",
      details: { revision: 1 },
    });
    expect((await config(key, "GET", "/leases?namespace=x")).json.data["items"]).toEqual([]);
    expect((await config(key, "DELETE", "/namespaces?namespace=x")).json.code).toBe("notFound");
    expect((await config(key, "PUT", "/keys/b?namespace=x", { value: 1 })).json.data).toMatchObject({ revision: 2 });
    expect((await config(key, "GET", "/range?namespace=x&revision=2")).json.data).toMatchObject({
      items: [{ key: "b" }],
    });
    expect((await config(key, "GET", "/keys/a")).json.data).toMatchObject({ value: "stays" });
    expect(await rowsOf(keyspaceStub(await numberOf(tenantId), "x"), "config_leases")).toBe(0);
    const writer = await newKey(tenantId, { scope: "read-write" });
    expect((await config(writer, "DELETE", "/namespaces?namespace=x")).json.code).toBe("forbidden");
  });

  it("[CF-94] an erasure that comes late harms no later namespace of the name", async () => {
    const { key, tenantId } = await newTenant();
    const tenant = await numberOf(tenantId);
    await config(key, "PUT", "/keys/a?namespace=x", { value: 1 });
    await config(key, "DELETE", "/namespaces?namespace=x");
    await config(key, "PUT", "/keys/a?namespace=x", { value: 2 });
    await env.CONFIG_KEYSPACE.get(env.CONFIG_KEYSPACE.idFromName(`c${tenant}/x`)).erase(1);
    expect((await config(key, "GET", "/keys/a?namespace=x")).json.data).toMatchObject({ value: 2 });
  });

  it("[CF-94] a namespace takes no write until its erasure came through, which the alarm sees to", async () => {
    const { key, tenantId } = await newTenant();
    const tenant = await numberOf(tenantId);
    await config(key, "PUT", "/keys/a?namespace=x", { value: 1 });
    // As after a crash between the mark and the erasure of an empty keyspace.
    await runInDurableObject(tenantStub(tenant), (_, { storage }) => {
      storage.sql.exec("UPDATE namespaces SET state = 'deleting'");
      return storage.setAlarm(Date.now() + 60_000);
    });
    await env.CONFIG_KEYSPACE.get(env.CONFIG_KEYSPACE.idFromName(`c${tenant}/x`))
      .erase(1)
      .catch(() => undefined);
    const early = await config(key, "PUT", "/keys/a?namespace=x", { value: 2 });
    expect([early.status, early.json.code]).toEqual([503, "unavailable"]);
    await runDurableObjectAlarm(tenantStub(tenant));
    expect((await config(key, "PUT", "/keys/a?namespace=x", { value: 2 })).json.data).toMatchObject({ revision: 2 });
  });

  it("[CF-95] with the tenant all its keyspaces go; the same name created again sees nothing", async () => {
    const { key, tenantId } = await newTenant();
    const tenant = await numberOf(tenantId);
    const spaces = ["default", "a", "b"];
    for (const space of spaces) await config(key, "PUT", `/keys/k?namespace=${space}`, { value: 1 });
    expect(await rowsOf(keyspaceStub(tenant, "a"), "config_log")).toBe(1);
    // A new stub each time: one whose object restarted fails for ever.
    const follower = () => env.CONFIG_FOLLOWER.get(env.CONFIG_FOLLOWER.idFromName(`z2/c${tenant}/a`));
    const writer = new ByteWriter();
    writeConfigCall(writer, { id: 0, request: { kind: "range", key: "k", rangeEnd: "" } });
    await follower().read(writer.take(), { isLinearizable: true });
    const followed = () => rowsOf(follower() as unknown as DurableObjectStub, "config_log");
    expect(await followed()).toBe(1);
    expect((await ask("DELETE", `/v1/tenants/${tenantId}`, { key: ROOT_KEY })).status).toBe(200);
    await vi.waitFor(
      async () => {
        await runDurableObjectAlarm(directory() as unknown as DurableObjectStub);
        for (const space of spaces) expect(await tablesOf(keyspaceStub(tenant, space))).toBe(0);
        expect(await followed()).toBe(0);
        expect(await tenantObject(tenant).viewSince(null)).toBeNull();
      },
      { timeout: 15_000, interval: 300 },
    );
    // A gateway that has not heard of it yet: the keyspace has nobody to belong to.
    const stub = env.CONFIG_KEYSPACE.get(env.CONFIG_KEYSPACE.idFromName(`c${tenant}/default`));
    expect(await tenantObject(tenant).registerNamespace("default")).toMatchObject({ ok: false, code: "notFound" });
    await stub.erase(9).catch(() => undefined);
    const again = await ask("POST", "/v1/tenants", { key: ROOT_KEY, body: { tenantId } });
    const { apiKey } = again.json.data;
    expect(await namespacesOf(apiKey)).toEqual([]);
    expect((await config(apiKey, "GET", "/keys/k")).json).toMatchObject({ code: "notFound", details: { revision: 1 } });
    expect((await config(apiKey, "PUT", "/keys/k", { value: 2 })).json.data).toMatchObject({ revision: 2 });
  });
});
