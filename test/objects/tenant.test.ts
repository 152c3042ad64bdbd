// Tenants and their keys over HTTP: creation, scopes, expiry, revocation, isolation, deletion.

import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { ask, directory, newKey, newTenant, ROOT_KEY, tenantObject } from "./gateway-support.ts";

const put = (key: string, name: string, value: unknown) =>
  ask("POST", "/v1/key-value", { key, body: { key: name, value } });
const get = (key: string, name: string) => ask("GET", `/v1/key-value?key=${name}`, { key });
const root = { key: ROOT_KEY };

describe("keys", () => {
  it("[AC-1] have the documented form and are stored as hashes only", async () => {
    const { tenantId, key } = await newTenant();
    expect(key).toMatch(new RegExp(`^jdb\\.${tenantId}\\.[0-9a-f]{16}\\.[A-Za-z0-9_-]{43}$`));
    const tenant = (await directory().lookupTenant(tenantId))!;
    const stub = env.TENANT.get(env.TENANT.idFromName(`t${tenant}`)) as never;
    const dumpOf = (_: unknown, state: DurableObjectState) =>
      state.storage.sql
        .exec<{ name: string }>(
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
        )
        .toArray()
        .map(({ name }) => JSON.stringify(state.storage.sql.exec(`SELECT * FROM ${name}`).toArray()))
        .join("\n");
    const dump = (await runInDurableObject(stub, dumpOf as never)) as string;
    expect(dump).toContain(key.split(".")[2]);
    expect(dump).not.toContain(key.split(".")[3]);
    const system = env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as never;
    expect((await runInDurableObject(system, dumpOf as never)) as string).not.toContain(key.split(".")[3]);
  });

  it("[AC-3] scopes allow what they say", async () => {
    const { tenantId, key } = await newTenant();
    await put(key, "a", 1);
    const reader = await newKey(tenantId, { scope: "read-only", name: "reader" });
    const writer = await newKey(tenantId, { scope: "read-write" });
    expect((await get(reader, "a")).status).toBe(200);
    expect((await put(reader, "a", 2)).json.details).toEqual({ requiredScope: "read-write" });
    expect((await put(writer, "a", 2)).status).toBe(200);
    expect((await ask("GET", `/v1/tenants/${tenantId}/keys`, { key: writer })).json.details).toEqual({
      requiredScope: "admin",
    });
    const listed = await ask("GET", `/v1/tenants/${tenantId}/keys`, { key });
    expect(listed.json.data["items"]).toHaveLength(3);
    expect(listed.text).not.toContain(reader.split(".")[3]);
    expect(listed.text).not.toContain("hash");
  });

  it("[AC-5] a revoked key is refused at once, and revoking again says the same", async () => {
    const { tenantId, key } = await newTenant();
    const doomed = await newKey(tenantId, {});
    expect((await put(doomed, "a", 1)).status).toBe(200);
    const path = `/v1/tenants/${tenantId}/keys/${doomed.split(".")[2]}`;
    const revoked = await ask("DELETE", path, { key });
    expect([revoked.status, revoked.json.data["revokedAt"]]).toEqual([200, expect.any(String)]);
    expect((await put(doomed, "a", 2)).status).toBe(401);
    expect((await ask("DELETE", path, { key })).json.data).toEqual(revoked.json.data);
    expect((await put(key, "a", 3)).status).toBe(200);
  });

  it("[AC-6] an expired key is refused, though it is in the gateway's memory", async () => {
    const { tenantId } = await newTenant();
    const brief = await newKey(tenantId, { expiresAt: new Date(Date.now() + 700).toISOString() });
    expect((await put(brief, "a", 1)).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 750));
    expect((await put(brief, "a", 2)).status).toBe(401);
  });

  it("[AC-9] a repeated creation gives the same key, another body is refused", async () => {
    const { tenantId, key } = await newTenant();
    const path = `/v1/tenants/${tenantId}/keys`;
    const headers = { "idempotency-key": "make-a-key" };
    const first = await ask("POST", path, { key, headers, body: { name: "a", expiresInSeconds: 500 } });
    const again = await ask("POST", path, { key, headers, body: { name: "a", expiresInSeconds: 500 } });
    expect(again.json.data).toEqual(first.json.data);
    expect((await ask("POST", path, { key, headers, body: { name: "b" } })).status).toBe(422);
    expect((await ask("GET", path, { key })).json.data["items"]).toHaveLength(2);
  });
});

describe("tenants", () => {
  it("[AC-9] a repeated creation gives the same key, at the same time and after an eviction; another body is refused", async () => {
    const tenantId = `twice-${Date.now().toString(36)}`;
    const headers = { "idempotency-key": `create ${tenantId}`.replaceAll(" ", "-") };
    const create = (body: object) => ask("POST", "/v1/tenants", { ...root, headers, body });
    const [first, second] = await Promise.all([create({ tenantId }), create({ tenantId })]);
    await evictDurableObject(env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as never);
    const third = await create({ tenantId });
    expect(first.status, first.text).toBe(201);
    expect(second.json.data).toEqual(first.json.data);
    expect(third.json.data).toEqual(first.json.data);
    expect((await put(third.json.data.apiKey, "a", 1)).status).toBe(200);
    expect((await create({ tenantId, replicationFactor: 1 })).json.code).toBe("idempotencyKeyReused");
    expect((await ask("POST", "/v1/tenants", { ...root, body: { tenantId } })).json.code).toBe("alreadyExists");
  });

  it("[AC-12] settings apply at once; the replication factor's own rules are in replication-factor.test.ts", async () => {
    const { tenantId, key } = await newTenant({ replicationFactor: 1 });
    const path = `/v1/tenants/${tenantId}`;
    const changed = await ask("PATCH", path, { key, body: { conflictPolicy: "lastWriteWins", displayName: "Acme" } });
    expect(changed.json.data).toMatchObject({
      conflictPolicy: "lastWriteWins",
      displayName: "Acme",
      replicationFactor: 1,
    });
    expect((await ask("GET", path, { key })).json.data).toEqual(changed.json.data);
    const same = await ask("PATCH", path, { ...root, body: { replicationFactor: 1, defaultConsistency: "one" } });
    expect(same.json.data).toMatchObject({ defaultConsistency: "one" });
    const base = (await put(key, "lww", 0)).json.data.vectorClock;
    for (const value of [1, 2])
      await ask("POST", "/v1/key-value", { key, body: { key: "lww", value, vectorClock: base } });
    expect((await get(key, "lww")).json.data).toMatchObject({ value: 2 });
    expect((await get(key, "lww")).json.data).not.toHaveProperty("conflict");
  });

  it("[AC-4] a tenant sees neither the data nor the existence of another", async () => {
    const one = await newTenant();
    const two = await newTenant();
    await put(one.key, "shared-name", "one");
    expect((await get(two.key, "shared-name")).status).toBe(404);
    await put(two.key, "shared-name", "two");
    expect((await get(one.key, "shared-name")).json.data).toMatchObject({ value: "one" });
    const existing = await ask("GET", `/v1/tenants/${two.tenantId}`, { key: one.key });
    const absent = await ask("GET", "/v1/tenants/absent", { key: one.key });
    expect([existing.status, existing.json.message, existing.json.details]).toEqual([
      absent.status,
      absent.json.message,
      absent.json.details,
    ]);
  });

  it("[AC-13] are listed in pages, each once, in the order of names", async () => {
    const made: string[] = [];
    for (let i = 0; i < 7; i++) made.push((await newTenant()).tenantId);
    const seen: string[] = [];
    let cursor = "";
    for (let pages = 0; pages < 100; pages++) {
      const { data } = (await ask("GET", `/v1/tenants?limit=3${cursor && `&cursor=${cursor}`}`, root)).json;
      seen.push(...(data["items"] as { tenantId: string }[]).map((item) => item.tenantId));
      if (data["cursor"] === null) break;
      cursor = data["cursor"] as string;
    }
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(seen).toEqual(expect.arrayContaining(made));
  });
});

describe("deletion", () => {
  /** Runs the reconciler until the row is gone. */
  async function erased(tenant: number): Promise<void> {
    for (let i = 0; i < 100; i++) {
      if ((await tenantObject(tenant).viewSince(null)) === null) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error("not erased in 10 s");
  }

  it("[AC-10] [AC-11] refuses keys at once, erases everywhere, and a tenant of the same name sees nothing old", async () => {
    const { tenantId, key } = await newTenant();
    const tenant = (await directory().lookupTenant(tenantId))!;
    for (let i = 0; i < 20; i++) await put(key, `k${i}`, "old");
    const deleted = await ask("DELETE", `/v1/tenants/${tenantId}`, root);
    expect(deleted.json.data).toEqual({ tenantId, erasure: "running" });
    expect((await get(key, "k1")).status).toBe(401);
    const again = await ask("POST", "/v1/tenants", { ...root, body: { tenantId } });
    expect(again.status, again.text).toBe(201);
    const newKeyText = again.json.data.apiKey;
    expect(newKeyText).not.toBe(key);
    expect(await directory().lookupTenant(tenantId)).toBeGreaterThan(tenant);
    expect((await get(newKeyText, "k1")).json).toMatchObject({ code: "notFound", details: {} });
    expect((await get(key, "k1")).status).toBe(401);
    await erased(tenant);
    expect((await get(key, "k1")).status).toBe(401);
    expect((await put(newKeyText, "k1", "new")).status).toBe(200);
    const samples = await directory().metrics();
    expect(samples['jade_directory_tenants{state="deleting"}']).toBe(0);
  });

  it("[AC-9] repeated with its Idempotency-Key gets its answer again, without it 404", async () => {
    const { tenantId } = await newTenant();
    const headers = { "idempotency-key": `delete-${tenantId}` };
    const first = await ask("DELETE", `/v1/tenants/${tenantId}`, { ...root, headers });
    const second = await ask("DELETE", `/v1/tenants/${tenantId}`, { ...root, headers });
    expect([first.status, second.status]).toEqual([200, 200]);
    expect((await ask("DELETE", `/v1/tenants/${tenantId}`, root)).status).toBe(404);
  });
});
