// Bad input over /v1/config: a 4xx that names field, value and limit, and nothing written.

import { beforeAll, describe, expect, it } from "vitest";
import { type Ask, ask, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";

interface Case extends Ask {
  readonly method: string;
  readonly path: string;
  readonly code?: string;
  /** What the answer must name. */
  readonly names?: string;
}

let keys: Record<string, string> = {};

beforeAll(async () => {
  const { tenantId, key } = await newTenant();
  keys = { writer: key, reader: await newKey(tenantId, { scope: "read-only" }), root: ROOT_KEY };
  await ask("PUT", "/v1/config/keys/a", { key, body: { value: 1 } });
  await ask("POST", "/v1/config/leases", { key, body: { ttlSeconds: 600, leaseId: "5" } });
  // The first request of an isolate takes its time on a busy machine.
}, 60_000);

const MIB = 1024 * 1024;
const put = (body: object, names: string, path = "/keys/a"): Case => ({ method: "PUT", path, body, names });
const get = (path: string, names: string): Case => ({ method: "GET", path, names });
const txn = (body: object, names: string): Case => ({ method: "POST", path: "/txn", body, names });
const one = (operation: object, names: string): Case => txn({ success: [operation] }, names);
const post = (path: string, body: object, names: string): Case => ({ method: "POST", path, body, names });
const del = (path: string, names: string): Case => ({ method: "DELETE", path, names });

const zipped = (type: string): Case => ({
  ...{ method: "PUT", path: "/keys/a", raw: new Uint8Array([0x1f, 0x8b, 8, 0]), code: "unsupportedMediaType" },
  ...{
    headers: { "content-type": type, "content-encoding": "gzip" },
    names: "Content-Encoding gzip; send it uncompressed",
  },
});

function nested(depth: number): object {
  let inner: object = { op: "get", key: "a" };
  for (let i = 0; i < depth; i++) inner = { op: "txn", success: [inner] };
  return inner;
}

const CASES: readonly Case[] = [
  put({}, "value"),
  put({ value: 1, ttl: 3 }, "ttl"),
  put({ value: 1, ifAbsent: "yes" }, "ifAbsent"),
  put({ value: 1, ifModRevision: -1 }, "ifModRevision"),
  put({ value: 1, ifModRevision: 1.5 }, "ifModRevision"),
  put({ value: 1, ifVersion: "1" }, "ifVersion"),
  put({ value: 1, leaseId: 7 }, "leaseId"),
  put({ value: 1, leaseId: "0" }, "leaseId"),
  put({ value: 1, leaseId: "9223372036854775808" }, "9223372036854775807"),
  { ...put({ value: 1, leaseId: "6" }, "6"), code: "leaseNotFound" },
  put({ value: 1, valueEncoding: "base64" }, "value"),
  put({ value: "%%", valueEncoding: "base64" }, "value is not base64"),
  put({ value: "a", valueEncoding: "hex" }, "valueEncoding"),
  put({ value: "\ud800", valueEncoding: "text" }, "surrogate"),
  put({ value: "a", valueEncoding: "text" }, "valueEncoding is given in the query", "/keys/a?valueEncoding=text"),
  put({ value: 1, ifAbsent: true }, "ifAbsent is given", "/keys/a?ifAbsent=true"),
  put({ value: 1, prevKv: true, prev_kv: true }, "prev_kv"),
  put({ value: 1, ifValue: 1, ifAbsent: 1 }, "ifAbsent"),
  put({ value: 1, ifAbsent: true, sequential: true }, "sequential"),
  put({ value: 1, ignoreValue: true }, "value must be empty with ignoreValue"),
  put({ value: 1, ignoreLease: true, leaseId: "5" }, "leaseId"),
  { ...put({ ignoreValue: true }, "ignoreValue", "/keys/nothing"), code: "keyNotFound" },
  { ...put({ value: "x".repeat(MIB) }, String(MIB)), code: "payloadTooLarge" },
  { ...put({ value: "x".repeat(5 * MIB) }, String(4 * MIB)), code: "payloadTooLarge" },
  { ...put({ value: 1 }, "the key is not as", "/keys/a?ifValue=2"), code: "preconditionFailed" },
  put({ value: 1 }, "ifValue is not JSON", "/keys/a?ifValue=x"),
  put({ value: 1 }, "key", "/keys"),
  put({ value: 1 }, "key", "/keys?key="),
  put({ value: 1 }, "in the path and in the query", "/keys/a?key=a"),
  put({ value: 1 }, "1025", `/keys/${"k".repeat(1025)}`),
  put({ value: 1 }, "1026", `/keys/${encodeURIComponent("é".repeat(513))}`),
  put({ value: 1, sequential: true }, "1008", `/keys/${"k".repeat(1010)}`),
  put({ value: 1 }, "keyEncoding=base64", "/keys/%ff"),
  put({ value: 1 }, "base64", "/keys/a*?keyEncoding=base64"),
  put({ value: 1 }, "keyEncoding", "/keys/a?keyEncoding=hex"),
  put({ value: 1 }, "namespace", "/keys/a?namespace=UPPER"),
  put({ value: 1 }, "namespace", "/keys/a?namespace="),
  put({ value: 1 }, "namespace", `/keys/a?namespace=${"n".repeat(64)}`),
  put({ value: 1 }, "more than once", "/keys/a?namespace=a&namespace=b"),
  { method: "PUT", path: "/keys/a", raw: '{"value":', code: "malformedJson" },
  { method: "PUT", path: "/keys/a", raw: "1", headers: { "content-type": "text/plain" }, code: "unsupportedMediaType" },
  zipped("application/json"),
  zipped("application/octet-stream"),
  { ...put({ value: 1 }, "read-write"), key: "reader", code: "forbidden" },
  { ...put({ value: 1 }, "root"), key: "root", code: "forbidden" },
  get("/keys/a?revision=0", "revision"),
  get("/keys/a?revision=1e1", "revision"),
  { ...get("/keys/a?revision=99", "99"), code: "futureRevision" },
  get("/keys/a?consistency=quorum", "consistency"),
  get("/keys/a?maxStalenessMs=5", "maxStalenessMs"),
  get("/keys/a?consistency=serializable&maxStalenessMs=-1", "maxStalenessMs is under the least of 0"),
  get("/keys/a?consistency=serializable&maxStalenessMs=1e12", "maxStalenessMs must be a whole number from 0 to 9007"),
  get("/keys/a?value=1", "value"),
  get("/keys?key=", 'key must not be empty: it has 1 to 1024 bytes"'),
  del("/keys/a?ifAbsent=true", "ifAbsent"),
  del("/keys/a?ifModRevision=", "ifModRevision"),
  get("/range?prefix=a&start=b", "prefix"),
  get("/range?key=a", "key"),
  get(`/range?prefix=${"k".repeat(1025)}`, "1024"),
  get(`/range?end=${"k".repeat(1026)}`, "1025"),
  get("/range?limit=0", "limit"),
  get("/range?limit=100001", "100000"),
  get("/range?keysOnly=1", "keysOnly"),
  get("/range?sort=name", "sort"),
  get("/range?order=up", "order"),
  get("/range?delimiter=", "delimiter"),
  get("/range?delimiter=/&sort=value", "delimiter"),
  get("/range?cursor=x", "cursor"),
  get("/range?cursor=1.0.k.YQ", "cursor"),
  get("/range?cursor=1.9007199254740993.k.YQ", "cursor"),
  get("/range?cursor=1.2.k.YQ&sort=value", "cursor"),
  get("/range?cursor=1.2.k.YQ&revision=1", "revision"),
  { ...get("/range?cursor=1.99.k.YQ", "99"), code: "futureRevision" },
  del("/range", "prefix"),
  del("/range?limit=5", "limit"),
  txn({ compare: {} }, "compare"),
  txn({ compares: [] }, "compares"),
  txn({ compare: [{ target: "version", value: 1 }] }, "compare[0].key"),
  txn({ compare: [{ key: "a", target: "mod", value: 1 }] }, "compare[0].target"),
  txn({ compare: [{ key: "a", target: "version", value: "1" }] }, "compare[0].value"),
  txn({ compare: [{ key: "a", target: "version" }] }, "compare[0].value"),
  txn({ compare: [{ key: "a", target: "value" }] }, "compare[0].value"),
  txn({ compare: [{ key: "a", target: "leaseId", value: 1 }] }, "compare[0].value"),
  txn({ compare: [{ key: "a", target: "version", result: "=", value: 1 }] }, "compare[0].result"),
  one({ op: "increment", key: "a" }, "success[0].op"),
  one({ op: "put", key: "", value: 1 }, "success[0].key"),
  one({ op: "put", key: "a" }, "success[0].value"),
  one({ op: "put", key: "a", value: 1, leaseId: "x" }, "success[0].leaseId"),
  one({ op: "get", prefix: "a" }, "success[0]"),
  one({ op: "delete" }, "success[0].key"),
  one({ op: "range", prefix: "a", start: "b" }, "success[0].prefix cannot be given together with start: give a key"),
  one({ key: "a" }, "success[0].op is required: one of put, get, range, delete, txn"),
  one({ op: "set", key: "a" }, "success[0].op must be one of put, get, range, delete, txn"),
  one({ op: "range", prefix: "a", limit: -1 }, "success[0].limit"),
  one({ op: "txn", success: [{ op: "put", key: 7, value: 1 }] }, "success[0].success[0].key"),
  one({ op: "txn", success: [{ op: "put", key: "a" }] }, "success[0].success[0].value"),
  one({ op: "txn", success: { op: "get" } }, "success[0].success"),
  one(nested(9), "deeper than 8"),
  one(nested(5000), "deeper than 8"),
  {
    ...txn(
      {
        success: [
          { op: "put", key: "b", value: 1 },
          { op: "delete", prefix: "b" },
        ],
      },
      "success[1] and success[0] write the key",
    ),
    code: "duplicateKey",
  },
  txn({ success: Array.from({ length: 129 }, () => ({ op: "get", key: "a" })) }, "128"),
  {
    ...txn(
      {
        success: [
          { op: "txn", success: Array(100).fill({ op: "get", key: "a" }) },
          ...Array(29).fill({ op: "get", key: "a" }),
        ],
      },
      "128",
    ),
    code: "tooManyOperations",
  },
  { ...one({ op: "put", key: "b", value: 1, leaseId: "6" }, "6"), code: "leaseNotFound" },
  {
    ...txn(
      { success: Array.from({ length: 9 }, (_, n) => ({ op: "put", key: `${n}`, value: "x".repeat(MIB - 10) })) },
      String(8 * MIB),
    ),
    code: "payloadTooLarge",
  },
  post("/leases", {}, "ttlSeconds"),
  post("/leases", { ttlSeconds: 0 }, "ttlSeconds"),
  post("/leases", { ttlSeconds: 1.5 }, "ttlSeconds"),
  post("/leases", { ttlSeconds: 9_000_000_001 }, "9000000000"),
  post("/leases", { ttlSeconds: 1e18 }, 'ttlSeconds is over the limit of 9000000000"'),
  post("/leases", { ttlSeconds: 5, leaseId: "-1" }, "leaseId"),
  { ...post("/leases", { ttlSeconds: 5, leaseId: "5" }, "5"), code: "leaseExists" },
  get("/leases/x", "lease"),
  get("/leases/0", "lease"),
  get("/leases?limit=1001", "1000"),
  get("/leases?cursor=!", "cursor"),
  { ...post("/leases/6/keep-alive", {}, "6"), code: "leaseNotFound" },
  { ...del("/leases/6", "6"), code: "leaseNotFound" },
  post("/compact", {}, "revision"),
  post("/compact", { revision: 0 }, "revision"),
  { ...post("/compact", { revision: 99 }, "99"), code: "futureRevision" },
  get("/status?verbose=true", "verbose"),
  get("/namespaces?namespace=a", "namespace"),
  del("/namespaces", "namespace"),
  { ...del("/namespaces?namespace=absent", "absent"), code: "notFound" },
  { method: "PATCH", path: "/keys/a", code: "methodNotAllowed" },
  { method: "PATCH", path: "/keys/a/b", code: "methodNotAllowed" },
  { method: "GET", path: "/keysx", code: "notFound" },
];

describe("bad input to /v1/config", () => {
  it("[CF-86] is refused by name and writes nothing", async () => {
    const state = async () => {
      const [status, all, spaces] = await Promise.all(
        ["status", "range", "namespaces"].map((path) => ask("GET", `/v1/config/${path}`, { key: keys["writer"] })),
      );
      return [status!.json.data["revision"], status!.json.data["leases"], all!.json.data, spaces!.json.data];
    };
    const before = await state();
    for (const { method, path, code = "invalidRequest", names, key = "writer", ...rest } of CASES) {
      const answer = await ask(method, `/v1/config${path}`, { ...rest, key: keys[key] });
      const about = `${method} ${path.slice(0, 80)} ${JSON.stringify(rest.body)?.slice(0, 80)}: ${answer.text.slice(0, 300)}`;
      expect(answer.json.code, about).toBe(code);
      expect([answer.status >= 400, answer.status < 500], about).toEqual([true, true]);
      if (names !== undefined) expect(answer.text, about).toContain(names);
      expect(answer.text.length, about).toBeLessThan(3000);
    }
    expect(await state()).toEqual(before);
  });
});
