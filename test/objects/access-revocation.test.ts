// Revocation through one gateway, watched from others and from open sessions: how long it takes, measured.
import { expect, it } from "vitest";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { accept, askOf, newGateway, newIssuer, openSession, pause } from "./access-support.ts";
import { newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";

/** The promise of the documentation. Ms. */
const WITHIN_MS = 5000;

interface Watch {
  /** Ms until every gateway refused. */
  readonly refused: Promise<number[]>;
  readonly closed: Promise<number[]>;
}

/** Uses the credential through each gateway without a pause, so that all caches are warm, and counts from `startMs()` on. */
function watch(gateways: readonly Gateway[], token: string, startMs: () => number): Watch {
  const refused = gateways.map(async (gateway) => {
    for (;;) {
      const { status } = await askOf(gateway, "GET", "/v1/key-value?key=a", { key: token });
      if (status === 401) return Date.now() - startMs();
      expect(status).toBe(404);
      await pause(25);
      if (startMs() > 0 && Date.now() - startMs() > 2 * WITHIN_MS) return Number.POSITIVE_INFINITY;
    }
  });
  const closed = gateways.map(async (gateway) => {
    const socket = accept(await openSession(gateway, token));
    const event = await new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
    expect(event.code).toBe(1008);
    return Date.now() - startMs();
  });
  return { refused: Promise.all(refused), closed: Promise.all(closed) };
}

const cases: [string, (tenantId: string, key: string, gateway: Gateway) => Promise<unknown>][] = [
  [
    "a revoked key",
    (tenantId, key, g) => askOf(g, "DELETE", `/v1/tenants/${tenantId}/keys/${key.split(".")[2]}`, { key: ROOT_KEY }),
  ],
  ["a deleted tenant's key", (tenantId, _, g) => askOf(g, "DELETE", `/v1/tenants/${tenantId}`, { key: ROOT_KEY })],
];

it("[AC-89] while requests come a question waits at the tenant's owner: what changes is known by no clock of the gateway", async () => {
  let nowMs = Date.now();
  const gateway = newGateway({}, () => nowMs);
  const { tenantId } = await newTenant();
  const key = await newKey(tenantId, {});
  const ask = () => askOf(gateway, "GET", "/v1/key-value?key=a", { key });
  expect((await ask()).status).toBe(404);
  // Old enough to be asked for again behind a request, far from too old to be used.
  nowMs += 500;
  expect((await ask()).status).toBe(404);
  await askOf(newGateway(), "DELETE", `/v1/tenants/${tenantId}/keys/${key.split(".")[2]}`, { key: ROOT_KEY });
  const startMs = nowMs;
  for (let nextMs = Date.now() + 1500; (await ask()).status !== 401; await pause(20)) {
    if (Date.now() < nextMs) continue;
    // The question ended before the revocation came: another one, while the view could still be used.
    nowMs += 301;
    nextMs += 1500;
    expect(nowMs - startMs).toBeLessThan(1000);
  }
});

it.each(cases)(
  "[AC-22] %s is refused by every gateway, and its open sessions end, within five seconds",
  async (_, revoke) => {
    const gateways = Array.from({ length: 4 }, () => newGateway());
    const { tenantId } = await newTenant();
    const key = await newKey(tenantId, {});
    let startMs = 0;
    const { refused, closed } = watch(gateways, key, () => startMs);
    await pause(1500);
    startMs = Date.now();
    await revoke(tenantId, key, gateways[0]!);
    for (const tookMs of await refused) expect(tookMs).toBeLessThan(WITHIN_MS);
    for (const tookMs of await closed) expect(tookMs).toBeLessThan(WITHIN_MS);
  },
  30_000,
);

it("[AC-22] so are all signed tokens after tokensValidAfter", async () => {
  const issuer = await newIssuer();
  const gateways = Array.from({ length: 3 }, () => newGateway(issuer.settings));
  const { tenantId, key } = await newTenant();
  const iat = Math.floor(Date.now() / 1000) - 10;
  const token = await issuer.make({ tenant: tenantId, iat });
  let startMs = 0;
  const { refused, closed } = watch(gateways, token, () => startMs);
  await pause(1500);
  startMs = Date.now();
  const body = { tokensValidAfter: new Date(startMs).toISOString() };
  expect((await askOf(gateways[0]!, "PATCH", `/v1/tenants/${tenantId}`, { key, body })).status).toBe(200);
  for (const tookMs of await refused) expect(tookMs).toBeLessThan(WITHIN_MS);
  for (const tookMs of await closed) expect(tookMs).toBeLessThan(WITHIN_MS);
}, 30_000);
