// WebSocket sessions through the gateway: authentication of the upgrade, and frames through to the replicas.
import { exports } from "cloudflare:workers";
import { beforeAll, expect, it } from "vitest";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, type SessionAnswer, type SessionRequest, writeRequest } from "../../src/wire/session.ts";
import {
  readVectorSessionAnswer,
  type VectorSessionCall,
  writeVectorSessionCall,
} from "../../src/wire/vector-session.ts";
import { ask, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { Db } from "./vector-support.ts";

let tenantId = "";
let key = "";

beforeAll(async () => {
  ({ tenantId, key } = await newTenant());
});

const open = (headers: Record<string, string>) =>
  exports.default.fetch("http://jade.test/v1/session", { headers: { upgrade: "websocket", ...headers } });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Sends one request and waits for its answer. */
function exchange(socket: WebSocket, request: SessionRequest): Promise<SessionAnswer> {
  const writer = new ByteWriter();
  writeRequest(writer, request);
  return new Promise((resolve, reject) => {
    socket.addEventListener("message", (event) => resolve(readAnswers(new Uint8Array(event.data as ArrayBuffer))[0]!), {
      once: true,
    });
    socket.addEventListener("close", (event) => reject(new Error(`closed ${event.code}`)), { once: true });
    socket.send(writer.take());
  });
}

async function accepted(headers: Record<string, string>): Promise<{ socket: WebSocket; response: Response }> {
  const response = await open(headers);
  expect(response.status).toBe(101);
  const socket = response.webSocket!;
  socket.binaryType = "arraybuffer";
  socket.accept();
  return { socket, response };
}

const put = (id: number): SessionRequest => ({
  id,
  op: "put",
  key: "from-session",
  value: new TextEncoder().encode("[1.0]"),
  writeId: crypto.getRandomValues(new Uint8Array(16)),
});

it("[GW-15] a header opens a session that shares its data with HTTP", async () => {
  const { socket } = await accepted(bearer(key));
  expect(await exchange(socket, put(7))).toMatchObject({ id: 7, kind: "written" });
  const answer = await ask("GET", "/v1/key-value?key=from-session", { key });
  expect(answer.text).toContain('"value":[1.0],');
  socket.close();
});

it("[GW-15] a browser sends the key as a subprotocol and gets jade.v1 back, not the key", async () => {
  const encoded = btoa(key).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const { socket, response } = await accepted({ "sec-websocket-protocol": `jade.v1, jade.bearer.${encoded}` });
  expect(response.headers.get("sec-websocket-protocol")).toBe("jade.v1");
  expect(await exchange(socket, { id: 1, op: "ping", key: "" })).toEqual({ id: 1, kind: "pong" });
  socket.close();
});

it("[GW-15] a forged caller is dropped: a read-only key stays read-only and in its tenant", async () => {
  const other = await newTenant();
  const reader = await newKey(tenantId, { scope: "read-only" });
  const forged = {
    tenant: 1,
    canWrite: true,
    replicationFactor: 3,
    defaultConsistency: "quorum",
    conflictPolicy: "siblings",
  };
  const { socket } = await accepted({ ...bearer(reader), "jade-caller": JSON.stringify(forged) });
  expect(await exchange(socket, put(1))).toMatchObject({ kind: "error", code: "forbidden" });
  socket.close();
  expect((await ask("GET", "/v1/key-value?key=from-session", { key: other.key })).status).toBe(404);
});

it("[GW-15] without an upgrade, with a wrong key or the root key there is no session", async () => {
  expect((await ask("GET", "/v1/session", { key })).status).toBe(426);
  expect((await open(bearer(`${key}x`))).status).toBe(401);
  expect((await open({ "sec-websocket-protocol": "jade.v1, jade.bearer.%%%" })).status).toBe(401);
  expect((await open(bearer(ROOT_KEY))).status).toBe(403);
});

it("[GW-15] a value that is not complete UTF-8 JSON is refused, as over HTTP, and nothing is written", async () => {
  const { socket } = await accepted(bearer(key));
  const bad = ["}{", "", "NaN", '1,"x":2', "\ufeff1"].map((text) => new TextEncoder().encode(text));
  for (const [index, value] of [...bad, Uint8Array.of(0x22, 0xff, 0x22)].entries()) {
    const request = { ...put(index + 1), key: "not-json", value };
    expect(await exchange(socket, request)).toMatchObject({ id: index + 1, kind: "error", code: "malformedJson" });
  }
  expect((await ask("GET", "/v1/key-value?key=not-json", { key })).status).toBe(404);
  socket.close();
});

it("[AC-6] an open session ends with its key", async () => {
  const short = await newKey(tenantId, { scope: "read-write", expiresInSeconds: 1 });
  const { socket } = await accepted(bearer(short));
  expect((await exchange(socket, put(1))).kind).toBe("written");
  const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
  expect((await closed).code).toBe(1008);
}, 15_000);

it("[VE-271] a vector call that is malformed, forbidden or not paid for is refused alone, with its code; others go on", async () => {
  const own = await newTenant();
  await Db.create(own.key, { databaseId: "db", vectorDimension: 2 });
  const { socket } = await accepted(bearer(own.key));
  const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
  const random = () => crypto.getRandomValues(new Uint8Array(16));
  const bytesOf = (call: Partial<VectorSessionCall>) =>
    writeVectorSessionCall({ operation: "count", databaseId: "db", options: "", items: [], ...call });
  const send = async (to: WebSocket, value: Uint8Array, namespace = "default") => {
    const answer = await exchange(to, { id: 1, op: "vector", key: namespace, value });
    if (answer.kind === "error") return `${answer.code}: ${answer.message}`;
    expect(answer.kind).toBe("vector");
    return readVectorSessionAnswer((answer as { body: Uint8Array }).body).answer;
  };
  const store = bytesOf({ operation: "upsert", writeId: random(), items: [{ id: "a", values: floats(1, 2) }] });
  expect(await send(socket, store)).toMatchObject({ kind: "written", results: [{ version: 1 }] });
  const refused: readonly (readonly [Uint8Array, RegExp, string?])[] = [
    [new Uint8Array(0), /^invalidRequest: malformed call/],
    [Uint8Array.of(99, 0), /^invalidRequest: malformed call: vector operation 99/],
    [store.subarray(0, store.length - 3), /^invalidRequest: malformed call/],
    [bytesOf({}), /^invalidRequest: namespace/, "No Name"],
    [bytesOf({ databaseId: "" }), /^invalidRequest/],
    [bytesOf({ databaseId: "nobody" }), /^notFound/],
    [bytesOf({ options: "[1]" }), /^invalidRequest: options/],
    [bytesOf({ options: '{"limit": 3}' }), /^invalidRequest/],
    [bytesOf({ operation: "upsert", items: [{ id: "b", values: floats(1, 2) }] }), /^invalidRequest: writeId/],
    [bytesOf({ operation: "search", items: [] }), /^invalidRequest: items are 0/],
    [bytesOf({ operation: "search", items: [{ id: "", values: floats(1) }] }), /vectorDimension 2/],
    [bytesOf({ operation: "search", items: [{ id: "", values: Uint8Array.of(1, 2, 3) }] }), /^invalidRequest/],
    [bytesOf({ operation: "search", items: [{ id: "", values: floats(Number.NaN, 1) }] }), /finite/],
    [
      bytesOf({ operation: "get", options: '{"token": "x!"}', items: [{ id: "a" }] }),
      /^invalidRequest: jade-vector-token/,
    ],
  ];
  for (const [value, pattern, namespace] of refused) expect(await send(socket, value, namespace)).toMatch(pattern);
  expect(await send(socket, bytesOf({}))).toMatchObject({ kind: "count", count: 1 });

  const reader = await newKey(own.tenantId, { scope: "read-only" });
  const reading = (await accepted(bearer(reader))).socket;
  expect(await send(reading, store)).toMatch(/^forbidden/);
  expect(await send(reading, bytesOf({}))).toMatchObject({ count: 1 });
  reading.close();

  await ask("PATCH", `/v1/tenants/${own.tenantId}`, {
    key: ROOT_KEY,
    body: { rateLimit: { requestsPerSecond: 1, burst: 20 } },
  });
  const limited = (await accepted(bearer(own.key))).socket;
  const items = Array.from({ length: 15 }, (_, n) => ({ id: `n${n}`, values: floats(1, n) }));
  const batch = () => bytesOf({ operation: "batch", writeId: random(), items });
  expect(await send(limited, batch())).toMatchObject({ kind: "written" });
  expect(await send(limited, batch())).toMatch(/^rateLimited/);
  limited.close();
  socket.close();
});
