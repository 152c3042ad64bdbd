// Bad input over every route: a 4xx that names what is wrong, and nothing written.

import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { createGateway } from "../../src/gateway/gateway.ts";
import { type Ask, ask, newKey, newTenant, ROOT_KEY, writtenSoFar } from "./gateway-support.ts";

interface Case extends Ask {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly code: string;
  /** A field that the answer must name. */
  readonly names?: string;
}

let tenantId = "";
let other = "";
let keys: Record<string, string> = {};

beforeAll(async () => {
  const tenant = await newTenant();
  tenantId = tenant.tenantId;
  other = (await newTenant()).tenantId;
  keys = {
    admin: tenant.key,
    reader: await newKey(tenantId, { scope: "read-only" }),
    writer: await newKey(tenantId, { scope: "read-write" }),
    root: ROOT_KEY,
  };
});

const KV = "/v1/key-value";
const long = "k".repeat(1025);
const bytes = (...parts: (string | number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...new TextEncoder().encode(part)] : part)));
const invalid = { status: 400, code: "invalidRequest" };
const malformed = { status: 400, code: "malformedJson" };
const badClock = { status: 400, code: "malformedClock" };
const text = { headers: { "content-type": "text/plain" } };

const put = (name: string, body: unknown, expected: object = invalid): Case =>
  ({ name: `put: ${name}`, method: "POST", path: KV, key: "writer", body, ...expected }) as Case;
const putRaw = (name: string, raw: BodyInit, expected: object = malformed): Case =>
  ({ name: `put: ${name}`, method: "POST", path: KV, key: "writer", raw, ...expected }) as Case;
const query = (method: string, search: string, expected: object = invalid): Case =>
  ({ name: `${method} ${search.slice(0, 60)}`, method, path: `${KV}?${search}`, key: "writer", ...expected }) as Case;
const batch = (name: string, body: unknown, expected: object = invalid): Case =>
  ({ name: `batch: ${name}`, method: "POST", path: `${KV}/batch`, key: "writer", body, ...expected }) as Case;
const admin = (method: string, path: string, body: unknown, expected: object = invalid, key = "root"): Case =>
  ({
    name: `${method} ${path} ${JSON.stringify(body)?.slice(0, 60)} by ${key}`,
    method,
    path,
    body,
    key,
    ...expected,
  }) as Case;

const keyValueCases: readonly Case[] = [
  put("no key", { value: 1 }, { ...invalid, names: "key" }),
  put("no value", { key: "a" }, { ...invalid, names: "value" }),
  put("empty key", { key: "", value: 1 }, { ...invalid, names: "key" }),
  put("number as key", { key: 7, value: 1 }, { ...invalid, names: "key" }),
  put("null as key", { key: null, value: 1 }, { ...invalid, names: "key" }),
  put("over-long key", { key: long, value: 1 }, { ...invalid, names: "1024" }),
  put("over-long key in UTF-8", { key: "€".repeat(342), value: 1 }, { ...invalid, names: "1026" }),
  put("half a surrogate pair", { key: "a\ud800", value: 1 }, { ...invalid, names: "surrogate" }),
  put("unknown field", { key: "a", value: 1, ttl: 3 }, { ...invalid, names: "ttl" }),
  putRaw("__proto__", '{"key":"a","value":1,"__proto__":{"x":1}}', { ...invalid, names: "__proto__" }),
  put("unknown consistency", { key: "a", value: 1, consistency: "most" }, { ...invalid, names: "consistency" }),
  put("consistency of a wrong type", { key: "a", value: 1, consistency: 2 }, { ...invalid, names: "consistency" }),
  put(
    "both spellings",
    { key: "a", value: 1, vectorClock: {}, vector_clock: {} },
    { ...invalid, names: "vector_clock" },
  ),
  put("clock as text", { key: "a", value: 1, vectorClock: "x" }, badClock),
  put("clock null", { key: "a", value: 1, vectorClock: null }, badClock),
  put("clock as array", { key: "a", value: 1, vectorClock: [] }, badClock),
  put("clock of an unknown name", { key: "a", value: 1, vectorClock: { x: 1 } }, badClock),
  put("clock with a negative counter", { key: "a", value: 1, vectorClock: { "n1.1": -1 } }, badClock),
  put("clock with a fraction", { key: "a", value: 1, vectorClock: { "n1.1": 1.5 } }, badClock),
  put("clock out of order", { key: "a", value: 1, vectorClock: { "n1.1": [5, 3] } }, badClock),
  put("clock with 2^53", { key: "a", value: 1, vectorClock: { "n1.1": 2 ** 53 } }, badClock),
  put(
    "value over 1 MiB",
    { key: "a", value: "x".repeat(1024 * 1024) },
    { status: 413, code: "payloadTooLarge", names: "1048576" },
  ),
  put(
    "body over its limit",
    { key: "a", value: "x".repeat(2 * 1024 * 1024) },
    { status: 413, code: "payloadTooLarge" },
  ),
  putRaw("empty body", ""),
  putRaw("cut in the middle", '{"key":"a","value":{"b":1'),
  putRaw("cut behind the value", '{"key":"a","value":1'),
  putRaw("trailing text", '{"key":"a","value":1} x'),
  putRaw("a byte order mark", bytes([0xef, 0xbb, 0xbf], '{"key":"a","value":1}')),
  putRaw("invalid UTF-8 in the value", bytes('{"key":"a","value":"', [0xff], '"}')),
  putRaw("invalid UTF-8 in the key", bytes('{"key":"', [0xc3], '","value":1}')),
  putRaw("an encoded surrogate", bytes('{"key":"a","value":"', [0xed, 0xa0, 0x80], '"}')),
  putRaw("NaN", '{"key":"a","value":NaN}'),
  putRaw("an array", "[1]", invalid),
  putRaw("null", "null", invalid),
  putRaw("a string", '"a"', invalid),
  { ...put("text/plain", { key: "a", value: 1 }, { status: 415, code: "unsupportedMediaType" }), ...text },
  {
    ...put("another charset", { key: "a", value: 1 }, { status: 415, code: "unsupportedMediaType" }),
    headers: { "content-type": "application/json; charset=latin1" },
  },
  {
    ...put("a compressed body", { key: "a", value: 1 }, { status: 415, code: "unsupportedMediaType", names: "gzip" }),
    headers: { "content-encoding": "gzip" },
  },
  {
    ...put("idempotency key with a space", { key: "a", value: 1 }, { ...invalid, names: "Idempotency-Key" }),
    headers: { "idempotency-key": "a b" },
  },
  {
    ...put("over-long idempotency key", { key: "a", value: 1 }, { ...invalid, names: "255" }),
    headers: { "idempotency-key": "a".repeat(256) },
  },
  { ...put("a field in the query", { key: "a", value: 1 }), path: `${KV}?consistency=all`, names: "consistency" },
  {
    ...batch("a field in the query", { operations: [{ op: "delete", key: "a" }] }),
    path: `${KV}/batch?x=1`,
    names: "x",
  },
  ...["AAAA", "AAAAAAAAAAABYQAA", "!"].map((cursor) => ({
    ...query("GET", "", { ...invalid, names: "cursor" }),
    ...{ name: `export: cursor ${cursor}`, path: `${KV}/export?cursor=${cursor}` },
  })),
  query("GET", "", { ...invalid, names: "key" }),
  query("GET", "key=", { ...invalid, names: "key" }),
  query("GET", "key=%FF", { ...invalid, names: "key" }),
  query("GET", "key=%ED%A0%80", { ...invalid, names: "key" }),
  query("GET", "key=%", { ...invalid, names: "key" }),
  query("GET", "key=a&key=b", { ...invalid, names: "more than once" }),
  query("GET", `key=${long}`, { ...invalid, names: "1024" }),
  query("GET", "key=a&consistency=most", { ...invalid, names: "consistency" }),
  query("GET", "key=a&consistancy=one", { ...invalid, names: "consistancy" }),
  query("DELETE", "", { ...invalid, names: "key" }),
  query("DELETE", "key=a&vectorClock=%7B", badClock),
  query("DELETE", "key=a&vectorClock=7", badClock),
  query("DELETE", "key=a&foo=1", { ...invalid, names: "foo" }),
  { ...query("DELETE", "key=a", { ...invalid, names: "key" }), body: { key: "b" } },
  { ...query("DELETE", "", malformed), raw: '{"key":' },
  batch("no operations", {}, { ...invalid, names: "operations" }),
  batch("empty", { operations: [] }, { ...invalid, names: "operations" }),
  batch("an object", { operations: { op: "get", key: "a" } }, { ...invalid, names: "operations" }),
  batch("null operation", { operations: [null] }, { ...invalid, names: "operations[0]" }),
  batch("unknown op", { operations: [{ op: "incr", key: "a" }] }, { ...invalid, names: "operations[0].op" }),
  batch(
    "a bad one among good ones",
    {
      operations: [
        { op: "put", key: "ok", value: 1 },
        { op: "put", key: "", value: 1 },
      ],
    },
    { ...invalid, names: "operations[1].key" },
  ),
  batch(
    "a put without value",
    {
      operations: [
        { op: "put", key: "ok", value: 1 },
        { op: "put", key: "b" },
      ],
    },
    { ...invalid, names: "operations[1].value" },
  ),
  batch(
    "a get with value",
    { operations: [{ op: "get", key: "a", value: 1 }] },
    { ...invalid, names: "operations[0].value" },
  ),
  batch(
    "a value over 1 MiB",
    {
      operations: [
        { op: "put", key: "ok", value: 1 },
        { op: "put", key: "b", value: "x".repeat(1024 * 1024) },
      ],
    },
    { status: 413, code: "payloadTooLarge", names: "operations[1].value" },
  ),
  batch(
    "a malformed clock",
    {
      operations: [
        { op: "put", key: "ok", value: 1 },
        { op: "delete", key: "b", vectorClock: 1 },
      ],
    },
    badClock,
  ),
];

const t = () => `/v1/tenants/${tenantId}`;
const adminCases: readonly (() => Case)[] = [
  () => admin("POST", "/v1/tenants", {}, { ...invalid, names: "tenantId" }),
  () => admin("POST", "/v1/tenants", { tenantId: "" }, { ...invalid, names: "tenantId" }),
  () => admin("POST", "/v1/tenants", { tenantId: "UPPER" }, { ...invalid, names: "tenantId" }),
  () => admin("POST", "/v1/tenants", { tenantId: "a".repeat(64) }, { ...invalid, names: "tenantId" }),
  () => admin("POST", "/v1/tenants", { tenantId: 7 }, { ...invalid, names: "tenantId" }),
  () =>
    admin("POST", "/v1/tenants", { tenantId: "x", replicationFactor: 0 }, { ...invalid, names: "replicationFactor" }),
  () => admin("POST", "/v1/tenants", { tenantId: "x", replicationFactor: 4 }, { ...invalid, names: "the limit is 3" }),
  () =>
    admin("POST", "/v1/tenants", { tenantId: "x", replicationFactor: 1.5 }, { ...invalid, names: "replicationFactor" }),
  () =>
    admin("POST", "/v1/tenants", { tenantId: "x", replicationFactor: "3" }, { ...invalid, names: "replicationFactor" }),
  () =>
    admin("POST", "/v1/tenants", { tenantId: "x", conflictPolicy: "coin" }, { ...invalid, names: "conflictPolicy" }),
  () => admin("POST", "/v1/tenants", { tenantId: "x", quota: 1 }, { ...invalid, names: "quota" }),
  ...[
    [{ rateLimit: 5 }, "rateLimit"],
    [{ rateLimit: {} }, "rateLimit.requestsPerSecond"],
    [{ rateLimit: { requestsPerSecond: 0 } }, "rateLimit.requestsPerSecond"],
    [{ rateLimit: { requestsPerSecond: 1.5 } }, "rateLimit.requestsPerSecond"],
    [{ rateLimit: { requestsPerSecond: 1_000_001 } }, "1000000"],
    [{ rateLimit: { requestsPerSecond: 5, burst: 4 } }, "rateLimit.burst"],
    [{ rateLimit: { requestsPerSecond: 5, brust: 9 } }, "rateLimit.brust"],
    [{ quotas: { storedBytes: -1 } }, "quotas.storedBytes"],
    [{ quotas: { keys: "7" } }, "quotas.keys"],
    [{ quotas: { apiKeys: 1001 } }, "1000"],
    [{ quotas: { bytes: 1 } }, "quotas.bytes"],
    [{ tokensValidAfter: "2026-01-01T00:00:00Z" }, "tokensValidAfter"],
  ].map(
    ([fields, names]) =>
      () =>
        admin("POST", "/v1/tenants", { tenantId: "x", ...(fields as object) }, { ...invalid, names: names as string }),
  ),
  () => admin("POST", "/v1/tenants", { tenantId }, { status: 409, code: "alreadyExists" }),
  () => admin("POST", "/v1/tenants", { tenantId: "x" }, { status: 403, code: "forbidden", names: "root" }, "admin"),
  () => admin("GET", "/v1/tenants", undefined, { status: 403, code: "forbidden", names: "root" }, "admin"),
  () => admin("GET", "/v1/tenants?limit=0", undefined, { ...invalid, names: "limit" }),
  () => admin("GET", "/v1/tenants?limit=1001", undefined, { ...invalid, names: "1000" }),
  () => admin("GET", "/v1/tenants?limit=x", undefined, { ...invalid, names: "limit" }),
  ...["1e2", "0x10", "1.0", "+5", "%205", "5%20", "", "9".repeat(16), "Infinity"].map(
    (limit) => () => admin("GET", `/v1/tenants?limit=${limit}`, undefined, { ...invalid, names: "limit" }),
  ),
  () => admin("GET", "/v1/tenants?cursor=!!", undefined, { ...invalid, names: "cursor" }),
  () => admin("GET", "/v1/tenants?cursor=AAAA", undefined, { ...invalid, names: "cursor" }),
  () => admin("GET", "/v1/tenants?offset=3", undefined, { ...invalid, names: "offset" }),
  () => admin("GET", "/v1/tenants/UPPER", undefined, { ...invalid, names: "id" }),
  () => admin("GET", "/v1/tenants/absent", undefined, { status: 404, code: "notFound" }),
  () => admin("GET", `/v1/tenants/${other}`, undefined, { status: 403, code: "forbidden" }, "admin"),
  () => admin("GET", "/v1/tenants/absent", undefined, { status: 403, code: "forbidden" }, "admin"),
  () => admin("GET", t(), undefined, { status: 403, code: "forbidden", names: "admin" }, "writer"),
  () => admin("PATCH", t(), { replicationFactor: 4 }, { ...invalid, names: "replicationFactor" }),
  () => admin("PATCH", t(), { replicationFactor: 3 }, { status: 403, code: "forbidden" }, "admin"),
  () => admin("PATCH", t(), { tenantId: "y" }, { ...invalid, names: "tenantId" }),
  () => admin("PATCH", t(), { defaultConsistency: "two" }, { ...invalid, names: "defaultConsistency" }),
  () => admin("PATCH", t(), { displayName: "x".repeat(201) }, { ...invalid, names: "200" }),
  () => admin("DELETE", "/v1/tenants/absent", undefined, { status: 404, code: "notFound" }),
  () => admin("DELETE", t(), undefined, { status: 403, code: "forbidden", names: "root" }, "admin"),
  () => admin("POST", `${t()}/keys`, { scope: "god" }, { ...invalid, names: "scope" }),
  () => admin("POST", `${t()}/keys`, { name: 3 }, { ...invalid, names: "name" }),
  () => admin("POST", `${t()}/keys`, { expiresInSeconds: 0 }, { ...invalid, names: "expiresInSeconds" }),
  () => admin("POST", `${t()}/keys`, { expiresAt: "tomorrow" }, { ...invalid, names: "expiresAt" }),
  () => admin("POST", `${t()}/keys`, { expiresAt: "2020-01-01T00:00:00Z" }, { ...invalid, names: "past" }),
  () =>
    admin(
      "POST",
      `${t()}/keys`,
      { expiresAt: "2099-01-01T00:00:00Z", expiresInSeconds: 5 },
      { ...invalid, names: "expiresAt" },
    ),
  () => admin("POST", `${t()}/keys`, {}, { status: 403, code: "forbidden", names: "admin" }, "writer"),
  () => admin("POST", `/v1/tenants/${other}/keys`, {}, { status: 403, code: "forbidden" }, "admin"),
  () => admin("POST", "/v1/tenants/absent/keys", {}, { status: 404, code: "notFound" }),
  () => admin("GET", `${t()}/keys?limit=-1`, undefined, { ...invalid, names: "limit" }),
  () => admin("DELETE", `${t()}/keys/zz`, undefined, { ...invalid, names: "key" }),
  () => admin("DELETE", `${t()}/keys/0123456789abcdef`, undefined, { status: 404, code: "notFound" }),
  () => admin("GET", "/v1/storage-nodes", undefined, { status: 403, code: "forbidden" }, "admin"),
  () => admin("GET", "/v1/storage-nodes?cursor=MTpuMQ", undefined, { ...invalid, names: "cursor" }),
  () => admin("GET", "/v1/health?x=1", undefined, { ...invalid, names: "x" }),
  () => admin("GET", "/v1/session", undefined, { status: 426, code: "upgradeRequired" }, "writer"),
  () => ({
    ...put("with a read-only key", { key: "a", value: 1 }, { status: 403, code: "forbidden", names: "read-write" }),
    key: "reader",
  }),
  () => ({ ...put("with the root key", { key: "a", value: 1 }, { status: 403, code: "forbidden" }), key: "root" }),
  () => ({ ...query("DELETE", "key=a", { status: 403, code: "forbidden", names: "read-write" }), key: "reader" }),
];

async function expectRefused(input: Case): Promise<void> {
  const { name, method, path, key, status, code, names, ...rest } = input;
  const answer = await ask(method, path, { ...rest, key: keys[key ?? ""] });
  expect([answer.status, answer.json.status, answer.json.code], `${name}: ${answer.text.slice(0, 300)}`).toEqual([
    status,
    "error",
    code,
  ]);
  if (names !== undefined) expect(answer.text).toContain(names);
  expect(answer.text.length, "the answer repeats the input").toBeLessThan(3000);
  expect(answer.text).not.toContain("x".repeat(101));
}

describe("bad input", () => {
  it("[GW-3] [GW-4] [GW-5] [GW-6] on the data path is refused by name and writes nothing", async () => {
    const before = await writtenSoFar(tenantId);
    for (const input of keyValueCases) await expectRefused(input);
    expect(await writtenSoFar(tenantId)).toBe(before);
  });

  it("[GW-3] [GW-6] [AC-3] [AC-4] on administration routes is refused by name and changes nothing", async () => {
    const before = await writtenSoFar(tenantId);
    for (const input of adminCases) await expectRefused(input());
    expect(await writtenSoFar(tenantId)).toBe(before);
  });

  it("[GW-5] every route with a body refuses cut, ill-encoded and ill-typed ones", async () => {
    const before = await writtenSoFar(tenantId);
    const { routes } = createGateway(env);
    for (const route of routes.filter((candidate) => candidate.body !== undefined)) {
      // A vector's id is in the query where it is not in the path, and is asked for before the body is read.
      const query = route.path.endsWith("/vector") ? "?id=x" : "";
      const path = route.path.replace("{id}", tenantId) + query;
      const who = route.access === "data" ? "admin" : "root";
      const base = { name: route.path, method: route.method.toUpperCase(), path, key: who };
      await expectRefused({ ...base, ...malformed, raw: '{"tenantId":"cut' });
      await expectRefused({ ...base, ...malformed, raw: bytes('{"a":"', [0x80], '"}') });
      await expectRefused({ ...base, ...malformed, raw: "" });
      await expectRefused({ ...base, ...invalid, raw: "[]" });
      await expectRefused({ ...base, ...invalid, body: { surprise: 1 }, names: "surprise" });
      await expectRefused({ ...base, status: 415, code: "unsupportedMediaType", body: {}, ...text });
    }
    expect(await writtenSoFar(tenantId)).toBe(before);
  });

  it("[AC-2] every route with a key refuses all wrong credentials with one answer", async () => {
    const { routes } = createGateway(env);
    const expired = await newKey(tenantId, { expiresInSeconds: 1 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const secret = keys["writer"]!.split(".").at(-1)!;
    const wrong = [
      undefined,
      "",
      "nonsense",
      expired,
      `${keys["writer"]}x`,
      keys["writer"]!.slice(0, -1) + (keys["writer"]!.endsWith("A") ? "E" : "A"),
      `jdb.absent.${keys["writer"]!.split(".")[2]}.${secret}`,
      `jdb.${other}.${keys["writer"]!.split(".")[2]}.${secret}`,
      "k".repeat(5000),
    ];
    const before = await writtenSoFar(tenantId);
    const messages = new Set<string>();
    for (const route of routes.filter((candidate) => candidate.access !== "open")) {
      const path = route.path.replace("{id}", tenantId).replace("{key}", "0123456789abcdef");
      for (const key of wrong) {
        const headers: Record<string, string> = route.path === "/v1/session" ? { upgrade: "websocket" } : {};
        const answer = await ask(route.method.toUpperCase(), path, { key, headers });
        expect([answer.status, answer.json.code], `${route.path} ${key?.slice(0, 20)}`).toEqual([
          401,
          "unauthenticated",
        ]);
        expect(answer.headers.get("www-authenticate")).toContain("Bearer");
        messages.add(answer.json.message);
      }
    }
    expect(messages.size).toBe(1);
    expect(await writtenSoFar(tenantId)).toBe(before);
  });
});
