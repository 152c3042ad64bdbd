// Signed tokens through the whole gateway: what they open, what they do not, and when it ends.
import { beforeAll, expect, it } from "vitest";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { accept, askOf, newGateway, newIssuer, openSession, pause, type TokenMaker } from "./access-support.ts";
import { ask, newTenant, ROOT_KEY } from "./gateway-support.ts";

let issuer: TokenMaker;
let gateway: Gateway;
let tenant: { tenantId: string; key: string };

beforeAll(async () => {
  issuer = await newIssuer();
  gateway = newGateway(issuer.settings);
  tenant = await newTenant();
});

const put = (key: string, name = "a") =>
  askOf(gateway, "POST", "/v1/key-value", { key, body: { key: name, value: 1 } });
const get = (key: string, name = "a") => askOf(gateway, "GET", `/v1/key-value?key=${name}`, { key });

it("[AC-16] a token reads and writes its tenant's data, as an API key does", async () => {
  const token = await issuer.make({ tenant: tenant.tenantId });
  expect((await put(token)).status).toBe(200);
  expect((await ask("GET", "/v1/key-value?key=a", { key: tenant.key })).status).toBe(200);
  expect((await askOf(gateway, "GET", `/v1/tenants/${tenant.tenantId}`, { key: token })).json.details).toEqual({
    requiredScope: "admin",
  });
  const reader = await issuer.make({ tenant: tenant.tenantId, scope: "jade:read-only" });
  expect((await get(reader)).status).toBe(200);
  expect((await put(reader)).json.code).toBe("forbidden");
  const admin = await issuer.make({ tenant: tenant.tenantId, scope: "jade:admin" });
  expect((await askOf(gateway, "GET", `/v1/tenants/${tenant.tenantId}`, { key: admin })).status).toBe(200);
  expect((await askOf(gateway, "GET", "/v1/tenants", { key: admin })).json.details).toEqual({ requiredScope: "root" });
});

it("[AC-23] the second request with a token verifies no signature", async () => {
  const own = newGateway(issuer.settings);
  const token = await issuer.make({ tenant: tenant.tenantId });
  const ready = () => own.services.authenticator.authenticate(token, () => undefined);
  expect(ready()).toBeInstanceOf(Promise);
  await ready();
  expect(ready()).not.toBeInstanceOf(Promise);
});

it("[AC-2] [AC-19] every token that opens nothing gets the answer that a wrong key gets", async () => {
  const wrong = await get("jdb.absent.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  const other = await newIssuer();
  const good = await issuer.make({ tenant: tenant.tenantId });
  const forged = [
    await issuer.make({ tenant: "absent-tenant" }),
    await issuer.make({}),
    await issuer.make({ tenant: tenant.tenantId, scope: "openid" }),
    await issuer.make({ tenant: tenant.tenantId, exp: 1 }),
    await issuer.make({ tenant: tenant.tenantId, aud: "x" }),
    await other.make({ tenant: tenant.tenantId }),
    await issuer.make({ tenant: tenant.tenantId, padding: "x".repeat(9000) }),
    `${good}A`,
    `${good}.A`,
  ];
  for (const token of forged) {
    const answer = await get(token);
    expect([answer.status, answer.json.code, answer.json.message, answer.json.details]).toEqual([
      401,
      wrong.json.code,
      wrong.json.message,
      wrong.json.details,
    ]);
    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="jade"');
  }
  expect((await get(good, "absent")).status).toBe(404);
});

it("[AC-16] without an issuer in the configuration no token opens anything", async () => {
  const token = await issuer.make({ tenant: tenant.tenantId });
  expect((await ask("GET", "/v1/key-value?key=a", { key: token })).status).toBe(401);
});

it("[AC-18] a token in the gateway's memory is refused from the moment it expires", async () => {
  const settings = structuredClone(issuer.settings);
  const own = newGateway({ auth: { ...settings.auth, tokenClockToleranceSeconds: 0 } });
  const exp = Math.floor(Date.now() / 1000) + 2;
  const token = await issuer.make({ tenant: tenant.tenantId, exp });
  const read = () => askOf(own, "GET", "/v1/key-value?key=a", { key: token });
  expect((await read()).status).toBe(200);
  await pause(exp * 1000 - Date.now() + 5);
  expect((await read()).status).toBe(401);
});

it("[AC-21] tokens issued before tokensValidAfter are refused, younger ones are not", async () => {
  const own = await newTenant();
  const iat = Math.floor(Date.now() / 1000);
  const old = await issuer.make({ tenant: own.tenantId, iat: iat - 100 });
  const silent = await issuer.make({ tenant: own.tenantId, iat: undefined });
  const young = await issuer.make({ tenant: own.tenantId, iat });
  for (const token of [old, silent, young]) expect((await put(token)).status).toBe(200);
  const tokensValidAfter = new Date((iat - 50) * 1000).toISOString();
  const path = `/v1/tenants/${own.tenantId}`;
  const changed = await askOf(gateway, "PATCH", path, { key: own.key, body: { tokensValidAfter } });
  expect(changed.json.data, changed.text).toMatchObject({ tokensValidAfter });
  expect([(await put(old)).status, (await put(silent)).status, (await put(young)).status]).toEqual([401, 401, 200]);
  await askOf(gateway, "PATCH", path, { key: own.key, body: { tokensValidAfter: null } });
  expect((await put(old)).status).toBe(200);
});

it("[AC-21] a session ends when the token that opened it expires", async () => {
  const exp = Math.floor(Date.now() / 1000) + 2;
  const own = newGateway({ auth: { ...issuer.settings.auth, tokenClockToleranceSeconds: 0 } });
  const token = await issuer.make({ tenant: tenant.tenantId, exp });
  const socket = accept(await openSession(own, token));
  const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
  expect((await closed).code).toBe(1008);
  const lateMs = Date.now() - exp * 1000;
  expect(lateMs).toBeGreaterThanOrEqual(-50);
  expect(lateMs).toBeLessThan(2500);
});

it("[AC-10] a deleted tenant's tokens are refused at once", async () => {
  const own = await newTenant();
  const token = await issuer.make({ tenant: own.tenantId });
  expect((await put(token)).status).toBe(200);
  expect((await askOf(gateway, "DELETE", `/v1/tenants/${own.tenantId}`, { key: ROOT_KEY })).status).toBe(200);
  expect((await put(token)).status).toBe(401);
});

it("[AC-8] forged tokens cost a bounded number of verifications, known ones go on", async () => {
  const own = newGateway(issuer.settings);
  const token = await issuer.make({ tenant: tenant.tenantId });
  const read = (key: string) => askOf(own, "GET", "/v1/key-value?key=a", { key });
  expect((await read(token)).status).toBe(200);
  const codes = new Set<string | undefined>();
  for (let i = 0; i < 1600 && !codes.has("rateLimited"); i++) {
    const forged = await Promise.all(Array.from({ length: 50 }, (_, n) => read(`${token.slice(0, -6)}${i}x${n}A`)));
    for (const { json } of forged) codes.add(json.code);
  }
  expect(codes).toEqual(new Set(["unauthenticated", "rateLimited"]));
  expect((await read(token)).status).toBe(200);
});
