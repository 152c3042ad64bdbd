// Bytes changed in each table of a Tenant: refused, never served; rows of earlier builds are sealed.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { DirectoryAdminRpc } from "../../objects/tenancy-rpc.ts";
import { askOf, newGateway } from "./access-support.ts";
import { newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";

const WAIT = { timeout: 10_000, interval: 100 };

async function objectOf(tenantId: string): Promise<DurableObjectStub> {
  const directory = env.DIRECTORY.get(env.DIRECTORY.idFromName("system")) as unknown as DirectoryAdminRpc;
  const number = await directory.lookupTenant(tenantId);
  return env.TENANT.get(env.TENANT.idFromName(`t${number}`)) as unknown as DurableObjectStub;
}

/** Changes what is stored; what is in memory goes with a crash. */
async function change({ id }: DurableObjectStub, statement: string): Promise<void> {
  const stub = env.TENANT.get(id) as unknown as DurableObjectStub;
  await runInDurableObject(stub, async (_, { storage }) => {
    storage.sql.exec(statement).toArray();
    await storage.sync();
  });
  await runInDurableObject(stub, (_, state) => state.abort("injected: crash")).catch(() => undefined);
}

const config = (gateway: ReturnType<typeof newGateway>, key: string, namespace = "default") =>
  askOf(gateway, "PUT", `/v1/config/keys/a?namespace=${namespace}`, { key, body: { value: 1 } });

describe("damage in a Tenant", () => {
  it("[AC-88] a damaged row of the tenant itself opens nothing, with any of its keys", async () => {
    const { tenantId, key } = await newTenant();
    expect((await config(newGateway(), key)).status).toBe(201);
    await change(await objectOf(tenantId), "UPDATE tenant SET replication_factor = 1");
    expect((await config(newGateway(), key)).status).toBeGreaterThanOrEqual(401);
    const shown = await askOf(newGateway(), "GET", `/v1/tenants/${tenantId}`, { key: ROOT_KEY });
    expect(shown.status).toBeGreaterThanOrEqual(500);
  });

  it("[AC-88] a damaged API key opens nothing, whatever its row says; others do, and it can be revoked", async () => {
    const { tenantId, key } = await newTenant();
    const reader = await newKey(tenantId, { scope: "read-only" });
    const keyId = reader.split(".")[2]!;
    await change(await objectOf(tenantId), `UPDATE api_keys SET scope = 'admin' WHERE key_id = '${keyId}'`);
    expect((await config(newGateway(), reader)).status).toBe(401);
    expect((await config(newGateway(), key)).status).toBe(201);
    const revoked = await askOf(newGateway(), "DELETE", `/v1/tenants/${tenantId}/keys/${keyId}`, { key: ROOT_KEY });
    expect(revoked.status).toBe(200);
    expect((await askOf(newGateway(), "GET", `/v1/tenants/${tenantId}/keys`, { key: ROOT_KEY })).status).toBe(200);
  });

  it("[AC-88] a damaged namespace is refused, not passed over; it goes with its tenant", async () => {
    const { tenantId, key } = await newTenant();
    expect((await config(newGateway(), key, "one")).status).toBe(201);
    await change(await objectOf(tenantId), "UPDATE namespaces SET state = 'activf' WHERE namespace = 'one'");
    const list = await askOf(newGateway(), "GET", "/v1/config/namespaces", { key });
    expect(list.status).toBeGreaterThanOrEqual(500);
    expect((await config(newGateway(), key, "two")).status).toBe(201);
    // What is damaged goes with its tenant all the same.
    const object = await objectOf(tenantId);
    await askOf(newGateway(), "DELETE", `/v1/tenants/${tenantId}`, { key: ROOT_KEY });
    const tables = () =>
      runInDurableObject(object, (_, { storage }) =>
        storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'tenant'").toArray(),
      );
    await vi.waitFor(async () => expect(await tables()).toEqual([]), WAIT);
  });

  it("[AC-88] a damaged webhook and a damaged write record are refused", async () => {
    const { tenantId, key } = await newTenant();
    const body = { url: "https://example.com/hook", prefix: "" };
    const headers = { "idempotency-key": "0123456789abcdef0123456789abcdef" };
    const create = () => askOf(newGateway(), "POST", "/v1/webhooks", { key, body, headers });
    expect((await create()).status).toBe(201);
    const object = await objectOf(tenantId);
    await change(object, "UPDATE webhooks SET namespace = 'other'");
    expect((await askOf(newGateway(), "GET", "/v1/webhooks", { key })).status).toBeGreaterThanOrEqual(500);
    await change(object, "UPDATE webhooks SET namespace = 'default'");
    expect((await askOf(newGateway(), "GET", "/v1/webhooks", { key })).status).toBe(200);
    await change(object, "UPDATE write_records SET body_hash = 'x' || body_hash");
    expect((await create()).status).toBeGreaterThanOrEqual(500);
    expect((await askOf(newGateway(), "GET", "/v1/webhooks", { key })).json.data["items"]).toHaveLength(1);
  });

  it("[AC-88] rows that earlier builds wrote are sealed at the first start", async () => {
    const { tenantId, key } = await newTenant();
    await config(newGateway(), key);
    const object = await objectOf(tenantId);
    for (const table of ["tenant", "api_keys", "namespaces"]) await change(object, `UPDATE ${table} SET crc = NULL`);
    expect((await config(newGateway(), key, "next")).status).toBe(201);
    const left = await runInDurableObject(env.TENANT.get(object.id) as unknown as DurableObjectStub, (_, { storage }) =>
      ["tenant", "api_keys", "namespaces"].map(
        (table) => storage.sql.exec(`SELECT 1 FROM ${table} WHERE crc IS NULL`).toArray().length,
      ),
    );
    expect(left).toEqual([0, 0, 0]);
  });
});
