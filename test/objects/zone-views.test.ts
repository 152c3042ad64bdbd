// A zone whose Directory and Tenants are away: what was seen before goes on, also in a process that has just started.
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { Env } from "../../objects/env.ts";
import type { ZoneViewsRpc } from "../../objects/rpc.ts";
import { createGateway, type Gateway } from "../../src/gateway/gateway.ts";
import { askOf, newGateway, pause } from "./access-support.ts";
import { newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";

const objects = env as unknown as Env;
const zone = objects.ZONE_VIEWS.get(objects.ZONE_VIEWS.idFromName("z1"));
const away = (name: string) => () => Promise.reject(new Error(`injected: ${name} is away`));
const STALE_MS = 15 * 60_000;

/** A process that starts while no Directory and no Tenant answers. */
function startedAlone(now: () => number = Date.now): Gateway {
  const owner = new Proxy({}, { get: (_, name) => away(String(name)) });
  const nowhere = { idFromName: (name: string) => name, get: () => owner };
  const alone = { ...objects, DIRECTORY: nowhere, TENANT: nowhere, JADE_CONFIG: "{}" } as unknown as Env;
  return createGateway(alone, { write: () => undefined, now });
}

/** Requests until the zone has kept what they were admitted by. */
async function seen(tenantId: string, key: string): Promise<void> {
  const gateway = newGateway();
  await vi.waitFor(
    async () => {
      expect((await askOf(gateway, "GET", "/v1/key-value?key=a", { key })).status).toBeLessThan(500);
      await pause(50);
      expect((await zone.tenant(tenantId))?.view.tenantId).toBe(tenantId);
    },
    { timeout: 20_000, interval: 100 },
  );
}

describe("a zone without the control plane", () => {
  it("[AC-90] a process that starts there admits known keys, for key-value and configuration, until what it knows is too old", async () => {
    const { tenantId, key } = await newTenant();
    const before = newGateway();
    await askOf(before, "POST", "/v1/key-value", { key, body: { key: "a", value: 1 } });
    await askOf(before, "PUT", "/v1/config/keys/a", { key, body: { value: 2 } });
    await seen(tenantId, key);
    const alone = startedAlone();
    const value = await askOf(alone, "GET", "/v1/key-value?key=a", { key });
    expect([value.status, value.json]).toMatchObject([200, { data: { value: 1 } }]);
    expect((await askOf(alone, "POST", "/v1/key-value", { key, body: { key: "b", value: 3 } })).status).toBe(200);
    for (const query of ["", "?consistency=serializable"]) {
      const config = await askOf(alone, "GET", `/v1/config/keys/a${query}`, { key });
      expect([config.status, config.json]).toMatchObject([200, { data: { value: 2 } }]);
    }
    // Nobody knows whether this one is one.
    const unknown = key.replace(/.$/, (last: string) => (last === "A" ? "B" : "A"));
    expect([401, 503]).toContain((await askOf(alone, "GET", "/v1/key-value?key=a", { key: unknown })).status);
    const late = startedAlone(() => Date.now() + STALE_MS + 1000);
    expect((await askOf(late, "GET", "/v1/key-value?key=a", { key })).status).toBe(503);
  });

  it("[CL-147] a disk that knows no deployment learns it from the Directory's view, and keeps what it knew", async () => {
    const late = objects.ZONE_VIEWS.get(objects.ZONE_VIEWS.idFromName("z9"));
    await late.keepDirectory({ revision: 1, nodes: [], deployment: "first" }, Date.now());
    await late.keepDirectory({ revision: 2, nodes: [], deployment: "other" }, Date.now());
    expect(await late.claimDeployment("new")).toBe("first");
  });

  it("[AC-90] a key that was revoked through this zone is refused there", async () => {
    const { tenantId } = await newTenant();
    const key = await newKey(tenantId, {});
    await seen(tenantId, key);
    await askOf(newGateway(), "DELETE", `/v1/tenants/${tenantId}/keys/${key.split(".")[2]}`, { key: ROOT_KEY });
    expect((await askOf(startedAlone(), "GET", "/v1/key-value?key=a", { key })).status).not.toBe(404);
  });

  it("[AC-90] the copy: the newest of what was seen, nothing damaged, nothing that is too old", async () => {
    const { tenantId, key } = await newTenant();
    await seen(tenantId, key);
    const kept = (await zone.tenant(tenantId))!;
    await zone.keepTenant({ ...kept.view, revision: 0 }, kept.asOfMs - 1);
    expect((await zone.tenant(tenantId))!.view.revision).toBe(kept.view.revision);
    expect((await zone.directory())!.view.nodes.length).toBeGreaterThan(0);
    const stub = zone as unknown as DurableObjectStub & ZoneViewsRpc;
    await runInDurableObject(stub, (_, state) => {
      state.storage.sql.exec("UPDATE kept_views SET view = replace(view, 'revision', 'revisiom')");
    });
    expect(await zone.tenant(tenantId)).toBeNull();
    await zone.keepTenant(kept.view, Date.now() - STALE_MS);
    expect(await zone.tenant(tenantId)).toBeNull();
  });
});
