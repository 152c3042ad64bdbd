// Access on the real server: signed tokens with keys from a real issuer, rate limits over the SDK, bounds, and who may see the metrics.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { JadeClient, type JadeError } from "../../src/client/index.ts";
import { removeDir, ServeProcess, temporaryDir } from "./serve-process.ts";

const ISSUER = "https://issuer.test/";
/** A little over `tokenKeysRefreshSeconds`. */
const KEYS_REFRESH_MS = 10_100;

let dir: string;
let server: ServeProcess;
let issuer: Server;
let keys: Awaited<ReturnType<typeof generateKeyPair>>[] = [];
let published: object[] = [];
let rootKey = "";
let url = "";

async function publish(kid: string): Promise<void> {
  const pair = await generateKeyPair("ES256", { extractable: true });
  keys.push(pair);
  published = [{ ...(await exportJWK(pair.publicKey)), kid }];
}

function token(claims: object, kid: string, pair = keys.at(-1)!): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  const payload = { iss: ISSUER, aud: "jade", iat, exp: iat + 300, scope: "jade:read-write", ...claims };
  return new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid }).sign(pair.privateKey);
}

beforeAll(async () => {
  keys = [];
  await publish("first");
  issuer = createServer((_, response) => response.end(JSON.stringify({ keys: published })));
  await new Promise<void>((resolve) => issuer.listen(0, "127.0.0.1", resolve));
  dir = temporaryDir();
  const config = join(dir, "jade.yaml");
  const jwksUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks.json`;
  writeFileSync(
    config,
    `auth:
  tokenKeysRefreshSeconds: 10
  tokenIssuers:
    - issuer: ${ISSUER}
      audience: jade
      jwksUrl: ${jwksUrl}
limits:
  maxSessions: 5
  maxSessionsPerTenant: 3
  maxRequestsInFlight: 8
  maxBatchBytes: 1048576
  maxBodyMiBInFlight: 2
`,
  );
  server = await ServeProcess.ready(join(dir, "data"), {
    args: ["--config", config],
    env: { JADE_METRICS_ACCESS: "root" },
  });
  rootKey = server.rootKey!;
  url = server.url!;
});

afterAll(async () => {
  await ServeProcess.endAll();
  await new Promise((resolve) => issuer.close(resolve));
  removeDir(dir);
});

const admin = () => new JadeClient({ url, apiKey: rootKey });

/** Of the key that the issuer no longer publishes. */
let first: { readonly apiKey: string } | undefined;
let publishedMs = 0;

describe("signed tokens", () => {
  it("[AC-16] [AC-20] over HTTP and a session, with keys from the issuer", async () => {
    await admin().tenants.create({ tenantId: "jwt" });
    const apiKey = await token({ tenant: "jwt" }, "first");
    for (const transport of ["http", "session"] as const) {
      const client = new JadeClient({ url, apiKey, transport, WebSocket });
      await client.kv.put(transport, 1);
      expect(await client.kv.get(transport)).toMatchObject({ value: 1 });
      client.close();
    }
    expect(server.stdout + server.stderr).not.toContain(apiKey.split(".")[1]);
    first = { apiKey };
    await publish("second");
    publishedMs = performance.now();
  });
});

describe("rate limits", () => {
  it("[AC-24] the SDK waits as it is told and gets everything through, over both transports", async () => {
    const rateLimit = { requestsPerSecond: 40, burst: 40 };
    const { apiKey } = await admin().tenants.create({ tenantId: "slow", rateLimit });
    for (const transport of ["http", "session"] as const) {
      const client = new JadeClient({ url, apiKey, transport, WebSocket, retries: { attempts: 20 } });
      const startMs = Date.now();
      if (transport === "http") for (let i = 0; i < 100; i++) await client.kv.put(`k${i}`, i);
      else await Promise.all(Array.from({ length: 100 }, (_, i) => client.kv.put(`s${i}`, i)));
      const seconds = (Date.now() - startMs) / 1000;
      expect((40 + 40 * seconds) / 100).toBeGreaterThan(0.9);
      client.close();
    }
  });
});

describe("bounds", () => {
  const open = (apiKey: string): Promise<WebSocket | number> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/v1/session`, {
        headers: { authorization: `Bearer ${apiKey}` },
      });
      socket.once("open", () => resolve(socket));
      socket.once("unexpected-response", (_, response) => {
        expect(response.headers["retry-after"]).toBe("1");
        resolve(response.statusCode ?? 0);
      });
      socket.once("error", reject);
    });

  it("[GW-19] sessions are bounded for each tenant (429) and in all (503), and a closed one makes room", async () => {
    const [one, two] = [
      await admin().tenants.create({ tenantId: "one" }),
      await admin().tenants.create({ tenantId: "two" }),
    ];
    const sockets = [await open(one.apiKey), await open(one.apiKey), await open(one.apiKey)];
    expect(await open(one.apiKey)).toBe(429);
    sockets.push(await open(two.apiKey), await open(two.apiKey));
    expect(await open(two.apiKey)).toBe(503);
    for (const socket of sockets) (socket as WebSocket).close();
    await sleep(300);
    const again = await open(one.apiKey);
    expect(again).toBeInstanceOf(WebSocket);
    (again as WebSocket).close();
  });

  /** A put that sends its headers and half a body. */
  function stalled(apiKey: string, bytes: number) {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined);
    const head = `POST /v1/key-value/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\n`;
    socket.write(`${head}content-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n{`);
    return socket;
  }

  const statusOf = (path: string, apiKey: string, body?: string): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
      const sent = httpRequest(url + path, { method: body ? "POST" : "GET", headers }, (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.once("error", reject);
      sent.end(body);
    });

  it("[GW-20] stalled requests and their bodies fill the bounds and no more: 503, probes answer, and leaving clients make room", async () => {
    const { apiKey } = await admin().tenants.create({ tenantId: "stall" });
    const get = "/v1/key-value?key=a";
    expect((await statusOf(get, apiKey)).status).toBe(404);
    const bodies = [stalled(apiKey, 1_000_000), stalled(apiKey, 1_000_000)];
    await sleep(500);
    const refused = await statusOf("/v1/key-value", apiKey, JSON.stringify({ key: "a", value: "x".repeat(200_000) }));
    expect(refused.status, refused.text).toBe(503);
    expect(refused.text).toContain("bodies of 2000000 bytes are under way here");
    const small = JSON.stringify({ key: "a", value: 1 });
    expect((await statusOf("/v1/key-value", apiKey, small)).status).toBe(200);
    const more = Array.from({ length: 6 }, () => stalled(apiKey, 100));
    await sleep(500);
    const full = await statusOf(get, apiKey);
    expect([full.status, full.text.includes("8 requests are under way here, the limit is 8")]).toEqual([503, true]);
    expect((await statusOf("/v1/health", apiKey)).status).toBe(200);
    expect((await statusOf("/v1/ready", apiKey)).status).toBe(200);
    for (const socket of [...bodies, ...more]) socket.destroy();
    const startMs = Date.now();
    while ((await statusOf(get, apiKey)).status !== 200) {
      if (Date.now() - startMs > 70_000) throw new Error("the bounds stay full");
      await sleep(100);
    }
  });
});

it("[AC-17] a wrong issuer in the file is named with its place", async () => {
  const file = join(dir, "wrong.yaml");
  writeFileSync(
    file,
    "auth: { tokenIssuers: [{ issuer: i, audience: a, jwksUrl: 'http://issuer.test/k', tenent: x }] }\n",
  );
  const refused = new ServeProcess({ args: ["--check", "--config", file] });
  expect(await refused.exited).toBe(2);
  expect(refused.stderr).toContain('auth.tokenIssuers.0.tenent = "x": unknown field; did you mean `tenants`?');
  const mended = new ServeProcess({ args: ["--check", "--config", join(dir, "jade.yaml")] });
  expect(await mended.exited).toBe(0);
});

const cli = (...args: string[]): Promise<{ code: number | null; text: string }> =>
  new Promise((resolve) => {
    const command = fileURLToPath(new URL("../../bin/jade-db.mjs", import.meta.url));
    const env = { ...process.env, JADE_URL: url, JADE_ROOT_KEY: rootKey };
    const child = spawn(process.execPath, [command, ...args, "--output", "json"], { env });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
    }
    child.once("close", (code) => resolve({ code, text }));
  });

it("[AC-28] the CLI and the SDK set limits and show usage", async () => {
  const made = await cli("tenant", "create", "cli", "--quota-keys", "7", "--rate", "50");
  expect(made.code, made.text).toBe(0);
  expect(JSON.parse(made.text)).toMatchObject({
    quotas: { keys: 7 },
    rateLimit: { requestsPerSecond: 50, burst: 50 },
  });
  const key = await cli("tenant", "key", "create", "cli", "--rate", "9", "--burst", "20");
  expect(JSON.parse(key.text)).toMatchObject({ rateLimit: { requestsPerSecond: 9, burst: 20 } });
  expect((await cli("tenant", "update", "cli", "--burst", "20")).code).toBe(2);
  const client = admin();
  await client.tenants.update("cli", { rateLimit: null, quotas: { storedBytes: 100 } });
  expect(await client.tenants.get("cli")).toMatchObject({ rateLimit: null, quotas: { keys: 7, storedBytes: 100 } });
  const refused = await client.tenants.keys
    .create("cli", { rateLimit: { requestsPerSecond: 0 } })
    .catch((error: JadeError) => error);
  expect(refused).toMatchObject({ code: "invalidRequest" });
  const usage = await cli("tenant", "usage", "cli");
  expect(JSON.parse(usage.text)).toMatchObject({ storedBytes: 0, keys: 0, apiKeys: 2, quotas: { keys: 7 } });
});

it("[AC-20] keys that the issuer rotated: the new one opens, the old one no more", async () => {
  // For so long nobody asks the issuer again; the other tests ran meanwhile.
  await sleep(Math.max(0, publishedMs + KEYS_REFRESH_MS - performance.now()));
  const next = new JadeClient({ url, apiKey: await token({ tenant: "jwt" }, "second") });
  expect(await next.kv.get("http")).toMatchObject({ value: 1 });
  const old = new JadeClient({ url, apiKey: first!.apiKey });
  await expect(old.kv.get("http")).rejects.toMatchObject({ code: "unauthenticated" });
  expect(server.stdout + server.stderr).not.toContain(first!.apiKey.split(".")[1]);
});

it("[GW-13] JADE_METRICS_ACCESS=root keeps the metrics from those without the root key", async () => {
  expect((await fetch(`${url}/metrics`)).status).toBe(401);
  const text = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${rootKey}` } })).text();
  expect(text).toContain("jade_rate_limited_total");
  expect(text).toMatch(/jade_requests_refused_total\{bound="sessions"\} 2/);
  expect(text).toMatch(/jade_auth_tokens_refused_total\{reason="key"\} \d/);
});
