// Webhooks inside workerd: routes, tenancy, the sender's storage. Receivers are real servers in test/e2e/webhooks.test.ts.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { MAX_WEBHOOKS_PER_TENANT } from "../../src/config/limits.ts";
import { type Answer, ask, directory, newKey, newTenant, tenantObject } from "./gateway-support.ts";

/** A name that never resolves: every request fails. */
const URL_NOWHERE = "https://receiver.invalid/hook";

const hooks = (key: string, method: string, path = "", body?: object, headers = {}): Promise<Answer> =>
  ask(method, `/v1/webhooks${path}`, body ? { key, body, headers } : { key, headers });

async function created(key: string, more: object = { prefix: "" }): Promise<{ id: string; secret: string }> {
  const answer = await hooks(key, "POST", "", { url: URL_NOWHERE, ...more });
  expect(answer.status, answer.text).toBe(201);
  return answer.json.data as unknown as { id: string; secret: string };
}

const numberOf = async (tenantId: string): Promise<number> => (await directory().lookupTenant(tenantId))!;
const senderStub = (tenant: number, id: string): DurableObjectStub =>
  env.WEBHOOK_SENDER.get(env.WEBHOOK_SENDER.idFromName(`w${tenant}/${id}`)) as unknown as DurableObjectStub;
const tablesOf = (stub: DurableObjectStub): Promise<number> =>
  runInDurableObject(
    stub,
    (_, { storage }) =>
      storage.sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM sqlite_master WHERE name LIKE 'webhook%'").one().n,
  );

/** A sender always has something under way: waiting for it to be idle would last. */
const restart = (stub: DurableObjectStub): Promise<void> =>
  runInDurableObject(stub, (_, state) => state.abort("restart")).catch(() => undefined);

describe("webhooks", () => {
  it("a subscription is made, shown, listed, changed and deleted", async () => {
    const { key } = await newTenant();
    const first = await created(key, { prefix: "app/", events: ["put"], batchEvents: 7 });
    expect(first.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const second = await created(key, { start: "a", end: "c", secret: `whsec_${btoa("x".repeat(32))}` });
    expect(second.secret).toBeUndefined();
    const third = await created(key, { prefix: "/w==", keyEncoding: "base64" });
    const shown = await hooks(key, "GET", `/${first.id}`);
    expect(shown.json.data).toMatchObject({
      ...{ id: first.id, namespace: "default", prefix: "app/", events: ["put"], url: URL_NOWHERE, batchEvents: 7 },
      ...{ state: "active", nextRevision: 2, maxAttempts: 20, onDeadLetter: "pause", deadLetters: 0 },
    });
    expect(shown.text).not.toContain("whsec_");
    expect((await hooks(key, "GET", `/${second.id}`)).json.data).toMatchObject({ start: "a", end: "c" });
    const base64 = (await hooks(key, "GET", `/${third.id}`)).json.data;
    expect(base64).toMatchObject({ prefix: "/w==", keyEncoding: "base64" });
    const ids = [first.id, second.id, third.id].sort();
    const one = (await hooks(key, "GET", "?limit=2")).json.data as unknown as {
      items: { id: string }[];
      cursor: string;
    };
    const two = (await hooks(key, "GET", `?cursor=${one.cursor}`)).json.data as unknown as {
      items: { id: string }[];
      cursor: null;
    };
    expect([...one.items, ...two.items].map(({ id }) => id)).toEqual(ids);
    expect(two.cursor).toBeNull();
    const changed = await hooks(key, "PATCH", `/${first.id}`, { state: "paused", maxAttempts: 3 });
    expect(changed.json.data).toMatchObject({ state: "paused", pauseReason: "asked", maxAttempts: 3 });
    expect((await hooks(key, "PATCH", `/${first.id}`, { state: "active" })).json.data).toMatchObject({
      state: "active",
    });
    expect((await hooks(key, "PATCH", `/${first.id}`, { skipDeadLetter: true })).json.code).toBe("conflict");
    expect((await hooks(key, "DELETE", `/${first.id}`)).json.data).toEqual({ id: first.id });
    expect((await hooks(key, "GET", `/${first.id}`)).json.code).toBe("notFound");
    expect((await hooks(key, "DELETE", `/${first.id}`)).json.code).toBe("notFound");
    expect((await hooks(key, "PATCH", `/${first.id}`, { state: "paused" })).json.code).toBe("notFound");
  });

  it("[CF-129] a repeated creation or rotation is one, and shows the same secret again", async () => {
    const { key } = await newTenant();
    const body = { url: URL_NOWHERE, prefix: "" };
    const headers = { "idempotency-key": "make" };
    const one = await hooks(key, "POST", "", body, headers);
    const two = await hooks(key, "POST", "", body, headers);
    expect(two.json.data["id"]).toBe(one.json.data["id"]);
    expect(two.json.data["secret"]).toBe(one.json.data["secret"]);
    expect((await hooks(key, "POST", "", { ...body, prefix: "x" }, headers)).json.code).toBe("idempotencyKeyReused");
    const path = `/${String(one.json.data["id"])}`;
    const rotate = () => hooks(key, "PATCH", path, { rotateSecret: true }, { "idempotency-key": "turn" });
    const [first, again] = [await rotate(), await rotate()];
    expect(first.json.data["secret"]).toMatch(/^whsec_/);
    expect(first.json.data["secret"]).not.toBe(one.json.data["secret"]);
    expect(again.json.data["secret"]).toBe(first.json.data["secret"]);
    expect(first.json.data["oldSecretValidUntil"]).toBeDefined();
  });

  it("[CF-130] a URL that names a private, local or reserved address in any form is refused", async () => {
    const { key } = await newTenant();
    const hosts = [
      ...["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "10.1.2.3", "169.254.169.254", "192.168.0.1"],
      ...["[::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[fd00:ec2::254]", "[fe80::1]"],
      ...[
        "localhost",
        "a.localhost",
        "metadata.google.internal",
        "printer.local",
        "router",
        "127.0.0.1.",
        "localhost.",
      ],
      ...["0.0.0.0", "0", "100.64.0.1", "%31%32%37.0.0.1", "１２７.0.0.1"],
    ];
    for (const host of hosts) {
      const answer = await hooks(key, "POST", "", { url: `http://${host}/x`, prefix: "" });
      expect([host, answer.status, answer.json.code]).toEqual([host, 400, "invalidRequest"]);
      expect((answer.json.details["issues"] as { path: string }[])[0]!.path).toBe("url");
    }
    for (const url of [
      "ftp://example.com",
      "https://u:p@example.com",
      "nonsense",
      `https://example.com/${"x".repeat(2048)}`,
    ])
      expect((await hooks(key, "POST", "", { url, prefix: "" })).status).toBe(400);
    const { id } = await created(key);
    expect((await hooks(key, "PATCH", `/${id}`, { url: "http://127.0.0.1/" })).status).toBe(400);
  });

  it("bad input is refused by field; a secret is never shown back", async () => {
    const { key } = await newTenant();
    const url = URL_NOWHERE;
    const pathOf = (answer: Answer) => (answer.json.details["issues"] as { path: string }[])[0]!.path;
    for (const [body, path] of [
      [{ url }, "prefix"],
      [{ url, prefix: "", key: "a" }, "prefix"],
      [{ url, prefix: "", events: [] }, "events"],
      [{ url, prefix: "", batchEvents: 0 }, "batchEvents"],
      [{ url, prefix: "", secret: "whsec_YWJj" }, "secret"],
      [{ url, prefix: "", secret: "topsecret" }, "secret"],
      [{ url, prefix: "", startRevision: 0 }, "startRevision"],
    ] as const) {
      const answer = await hooks(key, "POST", "", body);
      expect([answer.status, pathOf(answer)]).toEqual([400, path]);
      expect(answer.text).not.toContain("topsecret");
    }
    expect((await hooks(key, "GET", "/wh_1")).status).toBe(400);
    expect((await hooks(key, "GET", "/wh_0000000000000000")).json.code).toBe("notFound");
    for (let n = 0; n < 3; n++) await ask("PUT", "/v1/config/keys/a", { key, body: { value: n } });
    await ask("POST", "/v1/config/compact", { key, body: { revision: 3 } });
    const early = await hooks(key, "POST", "", { url, prefix: "", startRevision: 2 });
    expect([early.status, early.json.code, early.json.details]).toEqual([410, "compacted", { compactedRevision: 3 }]);
    const { id } = await created(key);
    expect((await hooks(key, "POST", `/${id}/replay`, { fromRevision: 2 })).json.code).toBe("compacted");
    expect((await hooks(key, "POST", `/${id}/replay`, { fromRevision: 3 })).json.data).toMatchObject({
      nextRevision: 3,
    });
  });

  it("[CF-257] one that would begin behind the next revision is refused", async () => {
    const { key } = await newTenant();
    await ask("PUT", "/v1/config/keys/a", { key, body: { value: 1 } });
    const tooLate = await hooks(key, "POST", "", { url: URL_NOWHERE, prefix: "", startRevision: 4 });
    expect([tooLate.status, tooLate.json.code, tooLate.json.details]).toEqual([400, "futureRevision", { revision: 2 }]);
    const { id } = await created(key);
    expect((await hooks(key, "POST", `/${id}/replay`, { fromRevision: 50 })).json.code).toBe("futureRevision");
    const { json } = await hooks(key, "POST", `/${id}/replay`, { fromRevision: 3 });
    expect(json.data["nextRevision"]).toBe(3);
  });

  it("[CF-132] a webhook is its tenant's alone, and asks for an admin key", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const { id } = await created(one.key);
    expect((await hooks(two.key, "GET", `/${id}`)).json.code).toBe("notFound");
    expect((await hooks(two.key, "DELETE", `/${id}`)).json.code).toBe("notFound");
    expect((await hooks(two.key, "GET")).json.data["items"]).toEqual([]);
    const writer = await newKey(one.tenantId, { scope: "read-write" });
    for (const [method, path] of [
      ["GET", ""],
      ["GET", `/${id}`],
      ["DELETE", `/${id}`],
    ] as const)
      expect((await hooks(writer, method, path)).json.code).toBe("forbidden");
  });

  it("[CF-132] it ends with its namespace and with its tenant; a start that comes late brings nothing back", async () => {
    const { key, tenantId } = await newTenant();
    const tenant = await numberOf(tenantId);
    const there = await created(key, { namespace: "x", prefix: "" });
    const stays = await created(key);
    expect((await ask("DELETE", "/v1/config/namespaces?namespace=x", { key })).json.data["erasure"]).toBe("done");
    expect(await tablesOf(senderStub(tenant, there.id))).toBe(0);
    expect((await hooks(key, "GET")).json.data["items"]).toMatchObject([{ id: stays.id }]);
    await tenantObject(tenant).beginErasure();
    expect(await tenantObject(tenant).eraseNamespaces()).toBe(true);
    const stub = senderStub(tenant, stays.id);
    expect(await tablesOf(stub)).toBe(0);
    const target = {
      url: URL_NOWHERE,
      maxAttempts: 1,
      maxAgeSeconds: 1,
      batchEvents: 1,
      timeoutMs: 100,
      retryBaseMs: 10,
    };
    const range = { key: "\0", rangeEnd: "\0", events: ["put" as const], onDeadLetter: "pause" as const };
    const subscription = { id: stays.id, namespace: "default", ...target, ...range };
    const late = env.WEBHOOK_SENDER.get(env.WEBHOOK_SENDER.idFromName(`w${tenant}/${stays.id}`));
    await late.start({ subscription, startRevision: 2, secret: "whsec_", createdAtMs: 1 }).catch(() => undefined);
    await expect.poll(() => tablesOf(senderStub(tenant, stays.id)).catch(() => -1)).toBe(0);
  });

  it("a tenant has so many webhooks at most", async () => {
    const { key, tenantId } = await newTenant();
    await runInDurableObject(
      tenantObject(await numberOf(tenantId)) as unknown as DurableObjectStub,
      (_, { storage }) => {
        for (let n = 0; n < MAX_WEBHOOKS_PER_TENANT; n++)
          storage.sql.exec("INSERT INTO webhooks VALUES (?, 'default', 'active', 0, '', 0)", `n${n}`);
      },
    );
    const refused = await hooks(key, "POST", "", { url: URL_NOWHERE, prefix: "" });
    expect([refused.status, refused.json.code]).toEqual([403, "quotaExceeded"]);
    expect(refused.json.details).toEqual({ quota: "webhooks", used: 100, limit: 100 });
  });

  it("[CF-123] [CF-131] what fails becomes a dead letter, over restarts; it can be resumed, skipped, replayed", async () => {
    const { key, tenantId } = await newTenant();
    const { id } = await created(key, {
      ...{ url: "https://dead.invalid", prefix: "", maxAttempts: 2, retryBaseMs: 10, batchEvents: 1 },
    });
    const tenant = await numberOf(tenantId);
    await ask("PUT", "/v1/config/keys/a", { key, body: { value: 1 } });
    await ask("PUT", "/v1/config/keys/b", { key, body: { value: 1 } });
    await restart(senderStub(tenant, id));
    await runDurableObjectAlarm(senderStub(tenant, id));
    const state = async () => (await hooks(key, "GET", `/${id}`)).json.data;
    await expect
      .poll(state, { timeout: 20_000 })
      .toMatchObject({ state: "paused", pauseReason: "deadLetter", attempts: 2 });
    const letters = async () => (await hooks(key, "GET", `/${id}/dead-letters?limit=1`)).json.data;
    const { items } = (await letters()) as unknown as { items: readonly object[] };
    expect(items).toMatchObject([
      { id: `${id}.1.2.0`, eventCount: 1, attempts: 2, events: [{ type: "put", key: "a" }] },
    ]);
    expect((await state())["nextRevision"]).toBe(2);
    const skip = await hooks(key, "PATCH", `/${id}`, { state: "active", skipDeadLetter: true });
    expect(skip.json.data).toMatchObject({ state: "active", nextRevision: 3 });
    await expect
      .poll(state, { timeout: 20_000 })
      .toMatchObject({ pauseReason: "deadLetter", nextRevision: 3, deadLetters: 2 });
    const page = (await letters()) as unknown as { items: { id: string }[]; cursor: string };
    expect(page.items.map((letter) => letter.id)).toEqual([`${id}.1.3.0`]);
    const next = await hooks(key, "GET", `/${id}/dead-letters?cursor=${page.cursor}`);
    expect((next.json.data["items"] as { id: string }[]).map((letter) => letter.id)).toEqual([`${id}.1.2.0`]);
  }, 90_000);

  it("[CF-133] a changed byte of its rows is refused", async () => {
    const { key, tenantId } = await newTenant();
    const { id } = await created(key);
    const stub = senderStub(await numberOf(tenantId), id);
    await runInDurableObject(stub, (_, { storage }) => {
      storage.sql.exec(
        "UPDATE webhook_facts SET value = replace(value, 'receiver', 'attacker') WHERE name = 'subscription'",
      );
    });
    await restart(stub);
    expect((await hooks(key, "GET", `/${id}`)).json.code).toBe("dataCorrupt");
    expect((await hooks(key, "PATCH", `/${id}`, { state: "active" })).json.code).toBe("dataCorrupt");
    expect((await hooks(key, "DELETE", `/${id}`)).json.data).toEqual({ id });
  });
});
