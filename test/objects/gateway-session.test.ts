// WebSocket sessions through the gateway: authentication of the upgrade, and frames through to the replicas.
import { exports } from "cloudflare:workers";
import { beforeAll, expect, it } from "vitest";
import { ByteWriter } from "../../src/wire/bytes.ts";
import { readAnswers, type SessionAnswer, type SessionRequest, writeRequest } from "../../src/wire/session.ts";
import { ask, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";

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
