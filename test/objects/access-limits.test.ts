// Rate limits, quotas and bounds on real objects: several gateways and sessions against one tenant.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { TenantStore } from "../../objects/tenant-store.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import type { SessionAnswer, SessionRequest } from "../../src/wire/session.ts";
import { accept, askOf, exchangeAll, newGateway, openSession, pause } from "./access-support.ts";
import { type Answer, ask, directory, newTenant, ROOT_KEY, tenantObject } from "./gateway-support.ts";

const root = { key: ROOT_KEY };

const get = (gateway: Gateway, key: string): Promise<Answer> => askOf(gateway, "GET", "/v1/key-value?key=a", { key });

/** Reads as fast as it may through a gateway until the time is up; the counts of what it got. */
async function hammer(gateway: Gateway, key: string, { untilMs, gapMs }: { untilMs: number; gapMs: number }) {
  const counts = { admitted: 0, refused: 0 };
  while (Date.now() < untilMs) {
    const answer = await get(gateway, key);
    if (answer.status === 404) counts.admitted++;
    else {
      expect([answer.status, answer.json.code]).toEqual([429, "rateLimited"]);
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      counts.refused++;
    }
    await pause(gapMs);
  }
  return counts;
}

const read = (id: number): SessionRequest => ({ id, op: "get", key: "a" });

function verdicts(answers: readonly SessionAnswer[]) {
  const admitted = answers.filter(({ kind }) => kind === "notFound").length;
  const refused = answers.filter((answer) => answer.kind === "error" && answer.code === "rateLimited").length;
  return { admitted, refused };
}

describe("rate limits", () => {
  it("[AC-24] gateways and sessions with unlike demand admit the tenant's limit together, within 10 %", async () => {
    const rateLimit = { requestsPerSecond: 100, burst: 100 };
    const { key } = await newTenant({ rateLimit });
    const gateways = Array.from({ length: 4 }, () => newGateway());
    const startMs = Date.now();
    const untilMs = startMs + 6000;
    const overHttp = Promise.all(
      gateways.map((gateway, index) => hammer(gateway, key, { untilMs, gapMs: [0, 4, 15, 60][index]! })),
    );
    const socket = accept(await openSession(gateways[0]!, key));
    let [inSession, refusedInSession] = [0, 0];
    for (let id = 1; Date.now() < untilMs; id += 10) {
      const { admitted, refused } = verdicts(
        await exchangeAll(
          socket,
          Array.from({ length: 10 }, (_, n) => read(id + n)),
        ),
      );
      inSession += admitted;
      refusedInSession += refused;
      await pause(20);
    }
    socket.close();
    const counts = await overHttp;
    const seconds = (Date.now() - startMs) / 1000;
    const admitted = inSession + counts.reduce((sum, count) => sum + count.admitted, 0);
    const allowed = rateLimit.burst + rateLimit.requestsPerSecond * seconds;
    expect(admitted / allowed).toBeGreaterThan(0.9);
    expect(admitted / allowed).toBeLessThan(1.1);
    expect(inSession).toBeGreaterThan(0);
    expect(refusedInSession).toBeGreaterThan(0);
    for (const count of counts.slice(0, 3)) expect(count.refused).toBeGreaterThan(0);
  }, 30_000);

  it("[AC-25] a key's own limit holds beside the tenant's, and names itself", async () => {
    const { tenantId, key } = await newTenant();
    const body = { rateLimit: { requestsPerSecond: 2, burst: 3 } };
    const made = await ask("POST", `/v1/tenants/${tenantId}/keys`, { key, body });
    expect(made.json.data, made.text).toMatchObject(body);
    const gateway = newGateway();
    const statuses: number[] = [];
    let last: Answer | undefined;
    for (let i = 0; i < 8; i++) {
      last = await get(gateway, made.json.data.apiKey);
      statuses.push(last.status);
    }
    expect(statuses.slice(0, 3)).toEqual([404, 404, 404]);
    expect(statuses.slice(3)).toContain(429);
    expect(last!.json.details).toEqual({ limitOf: "key", requestsPerSecond: 2, burst: 3, retryAfterSeconds: 1 });
    expect((await get(gateway, key)).status).toBe(404);
    await pause(1100);
    expect((await get(gateway, made.json.data.apiKey)).status).toBe(404);
  });

  it("[AC-26] a batch counts once for each operation; over the burst it is refused for good, and nothing is written", async () => {
    const { key } = await newTenant({ rateLimit: { requestsPerSecond: 5, burst: 10 } });
    const gateway = newGateway();
    const batch = (count: number) =>
      askOf(gateway, "POST", "/v1/key-value/batch", {
        key,
        body: { operations: Array.from({ length: count }, (_, n) => ({ op: "put", key: `k${n}`, value: n })) },
      });
    const large = await batch(11);
    expect([large.status, large.json.code]).toEqual([400, "invalidRequest"]);
    expect(large.json.message).toBe("11 operations at once; the tenant's burst is 10");
    expect((await batch(9)).status).toBe(200);
    expect((await batch(2)).status).toBe(429);
    expect((await askOf(gateway, "GET", "/v1/key-value?key=k10", { key: (await newTenant()).key })).status).toBe(404);
  });

  it("[AC-24] over a session each operation counts, in the order it was sent, and is told when to come again", async () => {
    const { key } = await newTenant({ rateLimit: { requestsPerSecond: 20, burst: 20 } });
    const socket = accept(await openSession(newGateway(), key));
    const value = (n: number) => new TextEncoder().encode(String(n));
    const writes = Array.from({ length: 15 }, (_, n): SessionRequest => {
      const writeId = crypto.getRandomValues(new Uint8Array(16));
      return { id: n + 1, op: "put", key: "same", value: value(n), writeId };
    });
    expect((await exchangeAll(socket, writes)).map(({ kind }) => kind)).toEqual(writes.map(() => "written"));
    const answers = await exchangeAll(
      socket,
      Array.from({ length: 40 }, (_, n) => read(n + 100)),
    );
    expect(verdicts(answers).refused).toBeGreaterThan(20);
    const refused = answers.find((answer) => answer.kind === "error");
    expect(refused).toMatchObject({ code: "rateLimited", details: { limitOf: "tenant", retryAfterSeconds: 1 } });
    await pause(1000);
    const [last] = await exchangeAll(socket, [{ id: 1, op: "get", key: "same" }]);
    expect(new TextDecoder().decode((last as { value: Uint8Array }).value)).toBe("14");
    socket.close();
  });

  it("[AC-28] limits are set by the root key alone, checked, shown, changed at once and lifted", async () => {
    const { tenantId, key } = await newTenant();
    const path = `/v1/tenants/${tenantId}`;
    const gateway = newGateway();
    const patch = (body: object, by = ROOT_KEY) => askOf(gateway, "PATCH", path, { key: by, body });
    expect((await patch({ rateLimit: { requestsPerSecond: 1 } }, key)).json.details).toEqual({ requiredScope: "root" });
    expect((await patch({ quotas: { keys: 1 } }, key)).json.details).toEqual({ requiredScope: "root" });
    const wrong = await patch({ rateLimit: { requestsPerSecond: 10, burst: 9 } });
    expect([wrong.status, wrong.json.message]).toEqual([400, "rateLimit.burst must be at least requestsPerSecond"]);
    expect((await patch({ rateLimit: { requestsPerSecond: 1 } })).json.data).toMatchObject({
      rateLimit: { requestsPerSecond: 1, burst: 1 },
    });
    expect([(await get(gateway, key)).status, (await get(gateway, key)).status]).toEqual([404, 429]);
    expect((await patch({ rateLimit: null })).json.data).toMatchObject({ rateLimit: null });
    for (let i = 0; i < 5; i++) expect((await get(gateway, key)).status).toBe(404);
  });

  it("[AC-28] changed limits reach open sessions within five seconds, and are lifted there too", async () => {
    const { tenantId, key } = await newTenant();
    const gateway = newGateway();
    const socket = accept(await openSession(gateway, key));
    const burst = async () =>
      verdicts(
        await exchangeAll(
          socket,
          Array.from({ length: 10 }, (_, n) => read(n + 1)),
        ),
      );
    const change = (rateLimit: object | null) =>
      askOf(gateway, "PATCH", `/v1/tenants/${tenantId}`, { ...root, body: { rateLimit } });
    const until = async (isReached: (refused: number) => boolean): Promise<number> => {
      const startMs = Date.now();
      while (!isReached((await burst()).refused) && Date.now() - startMs < 9000) await pause(50);
      return Date.now() - startMs;
    };
    expect((await burst()).refused).toBe(0);
    await change({ requestsPerSecond: 1 });
    expect(await until((refused) => refused > 5)).toBeLessThan(5000);
    await change(null);
    expect(await until((refused) => refused === 0)).toBeLessThan(5000);
    expect((await burst()).refused).toBe(0);
    socket.close();
  }, 30_000);

  it("[AC-28] the deployment's defaults hold for tenants and keys without their own", async () => {
    // The defaults are the objects' settings; here they are asked of the store itself.
    const { tenantId } = await newTenant();
    const view = await tenantObject((await directory().lookupTenant(tenantId))!).view();
    const stub = env.TENANT.get(env.TENANT.idFromName(`t${view.tenant}`)) as never;
    const defaults = {
      tenantRate: { requestsPerSecond: 7, burst: 8 },
      keyRate: { requestsPerSecond: 3, burst: 3 },
      quotas: { storedBytes: 9, keys: null, apiKeys: null },
    };
    const seen = (await runInDurableObject(stub, ((_: unknown, state: DurableObjectState) => {
      const store = new TenantStore(state.storage, defaults);
      return { view: store.view(), quotas: store.quotas() };
    }) as never)) as { view: typeof view; quotas: object };
    expect(seen.view.rateLimit).toEqual(defaults.tenantRate);
    expect(seen.view.keys[0]!.rateLimit).toEqual(defaults.keyRate);
    expect(seen.quotas).toEqual(defaults.quotas);
  });
});

describe("quotas", () => {
  const put = (gateway: Gateway, key: string, name: string, value: unknown) =>
    askOf(gateway, "POST", "/v1/key-value", { key, body: { key: name, value } });

  /** How long until it holds, polled. */
  async function until(check: () => Promise<boolean>): Promise<number> {
    const startMs = Date.now();
    while (!(await check())) {
      if (Date.now() - startMs > 10_000) throw new Error("not in 10 s");
      await pause(100);
    }
    return Date.now() - startMs;
  }

  it("[AC-29] stored bytes over the quota stop writes within five seconds; reads and deletes go on, and free it again", async () => {
    const { tenantId, key } = await newTenant({ quotas: { storedBytes: 5000 } });
    const gateway = newGateway();
    for (let i = 0; i < 8; i++) expect((await put(gateway, key, `k${i}`, "x".repeat(996))).status).toBe(200);
    const socket = accept(await openSession(gateway, key));
    let refused: Answer | undefined;
    const tookMs = await until(async () => {
      refused = await put(gateway, key, "k0", 1);
      return refused.status !== 200;
    });
    expect(tookMs).toBeLessThan(5000);
    expect([refused!.status, refused!.json.code]).toEqual([403, "quotaExceeded"]);
    const { quota, used, limit } = refused!.json.details as { quota: string; used: number; limit: number };
    expect([quota, limit]).toEqual(["storedBytes", 5000]);
    expect(used).toBeGreaterThan(6900);
    expect(used).toBeLessThan(8100);
    const usage = await askOf(gateway, "GET", `/v1/tenants/${tenantId}/usage`, { key });
    expect(usage.json.data).toMatchObject({ keys: 8, apiKeys: 1, quotas: { storedBytes: 5000, keys: null } });
    await until(async () => {
      const writeId = crypto.getRandomValues(new Uint8Array(16));
      const value = new TextEncoder().encode("1");
      const [answer] = await exchangeAll(socket, [{ id: 1, op: "put", key: "s", value, writeId }]);
      return answer!.kind === "error" && answer!.code === "quotaExceeded";
    });
    socket.close();
    expect((await askOf(gateway, "GET", "/v1/key-value?key=k1", { key })).status).toBe(200);
    for (let i = 1; i < 8; i++)
      expect((await askOf(gateway, "DELETE", `/v1/key-value?key=k${i}`, { key })).status).toBe(200);
    expect(await until(async () => (await put(gateway, key, "k1", 1)).status === 200)).toBeLessThan(5000);
  }, 40_000);

  it("[AC-81] the first view behind a pause shows what was stored in it", async () => {
    const { tenantId, key } = await newTenant({ quotas: { keys: 2 } });
    const tenant = tenantObject((await directory().lookupTenant(tenantId))!);
    expect((await tenant.view()).excess).toBeNull();
    for (const name of ["one", "two"]) expect((await put(newGateway(), key, name, 1)).status).toBe(200);
    await pause(600);
    expect((await tenant.view()).excess).toEqual({ quota: "keys", used: 2, limit: 2 });
    await askOf(newGateway(), "DELETE", "/v1/key-value?key=one", { key });
    await pause(600);
    expect((await tenant.view()).excess).toBeNull();
  });

  it("[AC-29] keys are counted once whatever is written under them, deleted ones not at all", async () => {
    const { tenantId, key } = await newTenant({ quotas: { keys: 3 } });
    const gateway = newGateway();
    const keys = async () => (await askOf(gateway, "GET", `/v1/tenants/${tenantId}/usage`, { key })).json.data["keys"];
    for (let i = 0; i < 4; i++) await put(gateway, key, "one", i);
    await put(gateway, key, "two", 1);
    expect(await keys()).toBe(2);
    await askOf(gateway, "DELETE", "/v1/key-value?key=two", { key });
    await askOf(gateway, "DELETE", "/v1/key-value?key=absent", { key });
    expect(await keys()).toBe(1);
    for (let i = 0; i < 3; i++) await put(gateway, key, `more${i}`, 1);
    let refused: Answer | undefined;
    await until(async () => {
      refused = await put(gateway, key, "one", 5);
      return refused.status !== 200;
    });
    expect(refused!.json.details).toEqual({ quota: "keys", used: 4, limit: 3 });
    // Raised by the root key: it holds again at once where it was raised, everywhere within five seconds.
    await askOf(gateway, "PATCH", `/v1/tenants/${tenantId}`, { ...root, body: { quotas: { keys: null } } });
    expect(await until(async () => (await put(gateway, key, "one", 6)).status === 200)).toBeLessThan(5000);
  }, 40_000);

  it("[AC-31] [ST-121] figures are of one copy, survive a restart of the storage nodes and a damaged row, and are gone with the tenant", async () => {
    const { tenantId, key } = await newTenant();
    const gateway = newGateway();
    for (let i = 0; i < 5; i++) await put(gateway, key, `k${i}`, "y".repeat(98));
    const usage = async () => (await askOf(gateway, "GET", `/v1/tenants/${tenantId}/usage`, { key })).json.data;
    const expected = { storedBytes: 5 * 102, keys: 5, apiKeys: 1 };
    await until(async () => (await usage())["storedBytes"] === expected.storedBytes);
    await pause(1200);
    const node = (id: string) => env.KEY_VALUE_REPLICA.get(env.KEY_VALUE_REPLICA.idFromName(id));
    for (const id of ["n1", "n2", "n3"]) await evictDurableObject(node(id) as never);
    expect(await usage()).toMatchObject(expected);
    const tenant = (await directory().lookupTenant(tenantId))!;
    expect(await node("n1").tenantUsage(tenant)).toEqual({ storedBytes: 510, keys: 5 });
    // A row that is damaged is not believed, nor is another tenant's whose number it may have.
    await runInDurableObject(node("n1") as never, (_, { storage }: DurableObjectState) => {
      storage.sql.exec("UPDATE tenant_usage SET key_count = 4000 WHERE tenant = ?", tenant);
    });
    await evictDurableObject(node("n1") as never);
    await until(
      async () =>
        (await node("n1")
          .tenantUsage(tenant)
          .catch(() => undefined)) !== undefined,
    );
    expect(await node("n1").tenantUsage(tenant)).toEqual({ storedBytes: 510, keys: 5 });
    await evictDurableObject(node("n1") as never);
    expect(await node("n1").tenantUsage(tenant), "stored again").toEqual({ storedBytes: 510, keys: 5 });
    await ask("DELETE", `/v1/tenants/${tenantId}`, root);
    await until(async () => (await node("n1").tenantUsage(tenant)).keys === 0);
  }, 40_000);

  it("[AC-30] the number of API keys has a quota, at most the product's bound", async () => {
    const { tenantId, key } = await newTenant({ quotas: { apiKeys: 2 } });
    const path = `/v1/tenants/${tenantId}/keys`;
    expect((await ask("POST", path, { key, body: {} })).status).toBe(201);
    const refused = await ask("POST", path, { key, body: {} });
    expect([refused.status, refused.json.code, refused.json.details]).toEqual([
      403,
      "quotaExceeded",
      { quota: "apiKeys", used: 2, limit: 2 },
    ]);
    const over = await ask("PATCH", `/v1/tenants/${tenantId}`, { ...root, body: { quotas: { apiKeys: 1001 } } });
    expect([over.status, over.json.message]).toEqual([400, "quotas.apiKeys is over the limit of 1000"]);
  });
});
