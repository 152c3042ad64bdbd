// Locks and elections over HTTP.
import { beforeAll, describe, expect, it } from "vitest";
import { ask, newKey, newTenant } from "./gateway-support.ts";

let key = "";
let tenantId = "";
beforeAll(async () => {
  ({ key, tenantId } = await newTenant());
}, 30_000);

async function grant(ttlSeconds = 60): Promise<string> {
  const answer = await ask("POST", "/v1/config/leases", { key, body: { ttlSeconds } });
  return answer.json.data["leaseId"] as string;
}

describe("locks", () => {
  it("[CF-100][CF-101][CF-104] are held by one, passed on in order, and given back by the holder only", async () => {
    const path = "/v1/config/locks/inventory/sku-12345";
    const [one, two] = [await grant(), await grant()];
    const first = await ask("POST", path, { key, body: { leaseId: one } });
    expect(first.status, first.text).toBe(200);
    expect(first.json.data).toMatchObject({ leaseId: one, key: `inventory/sku-12345/${BigInt(one).toString(16)}` });
    const refused = await ask("POST", path, { key, body: { leaseId: two } });
    expect([refused.status, refused.json.code]).toEqual([409, "lockNotAcquired"]);
    expect(refused.json.details).toEqual({ fencingToken: first.json.data["fencingToken"] });
    const waiting = ask("POST", path, { key, body: { lease_id: two, wait_seconds: 20 } });
    await expect.poll(async () => (await ask("GET", path, { key })).json.data["waiting"]).toBe(1);
    expect((await ask("DELETE", path, { key, body: { leaseId: two } })).json.code).toBe("notOwner");
    const released = await ask("DELETE", `${path}?fencingToken=${first.json.data["fencingToken"]}`, { key });
    expect(released.status, released.text).toBe(200);
    const second = await waiting;
    expect(second.json.data["fencingToken"]).toBeGreaterThan(first.json.data["fencingToken"] as number);
    await ask("DELETE", `/v1/config/leases/${two}`, { key });
    expect((await ask("GET", path, { key })).status).toBe(404);
  });

  it("[CF-103] a wait ends by its time", async () => {
    const path = "/v1/config/locks/short";
    await ask("POST", path, { key, body: { leaseId: await grant() } });
    const waited = await ask("POST", path, { key, body: { leaseId: await grant(), waitSeconds: 0.2 } });
    expect(waited.json.code).toBe("lockNotAcquired");
    expect((await ask("GET", path, { key })).json.data["waiting"]).toBe(0);
  });

  it("[CF-103] a wait whose keyspace is deleted is told that nobody knows, not that it is our fault", async () => {
    const namespace = "?namespace=gone";
    await ask("PUT", `/v1/config/keys/a${namespace}`, { key, body: { value: 1 } });
    const leases = await Promise.all(
      [1, 2].map(async () => {
        const answer = await ask("POST", `/v1/config/leases${namespace}`, { key, body: { ttlSeconds: 60 } });
        return answer.json.data["leaseId"] as string;
      }),
    );
    const path = `/v1/config/locks/l${namespace}`;
    await ask("POST", path, { key, body: { leaseId: leases[0] } });
    const waiting = ask("POST", path, { key, body: { leaseId: leases[1], waitSeconds: 20 } });
    await expect.poll(async () => (await ask("GET", path, { key })).json.data["waiting"]).toBe(1);
    expect((await ask("DELETE", `/v1/config/namespaces${namespace}`, { key })).status).toBe(200);
    const { status, json } = await waiting;
    expect([status, json.code]).toEqual([503, "unknownOutcome"]);
  });

  it("[CF-150] a wait that is to keep its place goes on in it", async () => {
    const path = "/v1/config/locks/kept";
    const [one, two, three] = [await grant(), await grant(), await grant()];
    await ask("POST", path, { key, body: { leaseId: one } });
    const kept = await ask("POST", path, { key, body: { leaseId: two, waitSeconds: 0.2, keepPlace: true } });
    expect(kept.json.code).toBe("lockNotAcquired");
    expect((await ask("GET", path, { key })).json.data["waiting"]).toBe(1);
    await ask("DELETE", path, { key, body: { leaseId: one } });
    const late = await ask("POST", path, { key, body: { leaseId: three, waitSeconds: 0.2 } });
    expect(late.json.code).toBe("lockNotAcquired");
    expect((await ask("POST", path, { key, body: { leaseId: two } })).status).toBe(200);
  });

  it("[CF-86] bad input names the field, and a read-only key takes no lock", async () => {
    const path = "/v1/config/locks/bad";
    const leaseId = await grant();
    const bad: [object, string][] = [
      [{}, "leaseId"],
      [{ leaseId: 5 }, "leaseId"],
      [{ leaseId, waitSeconds: 51 }, "waitSeconds"],
      [{ leaseId, waitSeconds: -1 }, "waitSeconds"],
      [{ leaseId, value: 1 }, "value"],
      [{ leaseId, keepPlace: "yes" }, "keepPlace"],
    ];
    for (const [body, field] of bad) {
      const answer = await ask("POST", path, { key, body });
      expect(answer.status, answer.text).toBe(400);
      expect(JSON.stringify(answer.json.details)).toContain(field);
    }
    expect((await ask("POST", `/v1/config/locks/${"x".repeat(1001)}`, { key, body: { leaseId } })).status).toBe(400);
    expect((await ask("POST", "/v1/config/locks/%ff", { key, body: { leaseId } })).status).toBe(400);
    expect((await ask("POST", path, { key, body: { leaseId: "4242" } })).json.code).toBe("leaseNotFound");
    expect((await ask("DELETE", path, { key })).status).toBe(400);
    const reader = await newKey(tenantId, { scope: "read-only" });
    expect((await ask("POST", path, { key: reader, body: { leaseId } })).status).toBe(403);
    expect((await ask("GET", path, { key: reader })).status).toBe(404);
  });
});

describe("elections", () => {
  it("[CF-100][CF-104] the leader says who it is; only it proclaims and resigns", async () => {
    const path = "/v1/config/elections/scheduler";
    const [one, two] = [await grant(), await grant()];
    const first = await ask("POST", path, { key, body: { leaseId: one, value: { host: "a", n: 1.0 } } });
    expect(first.status, first.text).toBe(200);
    expect((await ask("GET", path, { key })).json.data["value"]).toEqual({ host: "a", n: 1 });
    const next = ask("POST", path, { key, body: { leaseId: two, value: { host: "b" }, waitSeconds: 20 } });
    await expect.poll(async () => (await ask("GET", path, { key })).json.data["waiting"]).toBe(1);
    expect((await ask("PUT", path, { key, body: { leaseId: two, value: 1 } })).json.code).toBe("notOwner");
    expect((await ask("PUT", path, { key, body: { leaseId: one, value: { host: "a2" } } })).status).toBe(200);
    expect((await ask("GET", path, { key })).json.data).toMatchObject({ leaseId: one, value: { host: "a2" } });
    await ask("DELETE", path, { key, body: { leaseId: one } });
    expect((await next).status).toBe(200);
    expect((await ask("GET", path, { key })).json.data).toMatchObject({ leaseId: two, value: { host: "b" } });
  });
});
