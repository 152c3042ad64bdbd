// /v1/config over the real Worker: keys, conditions, ranges, transactions, leases, compaction.

import { evictDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { type Answer, type Ask, ask, directory, newKey, newTenant } from "./gateway-support.ts";

let tenantId = "";
let key = "";
let reader = "";
let spaces = 0;

beforeAll(async () => {
  ({ tenantId, key } = await newTenant());
  reader = await newKey(tenantId, { scope: "read-only" });
});

/** Requests to a namespace of its own. */
function keyspace(name = `n${spaces++}`) {
  const send = (method: string, path: string, more: Ask = {}): Promise<Answer> => {
    const query = path.includes("?") ? "&" : "?";
    return ask(method, `/v1/config${path}${query}namespace=${name}`, { key, ...more });
  };
  return {
    name,
    send,
    put: (path: string, body: object, more: Ask = {}) => send("PUT", `/keys/${path}`, { body, ...more }),
    get: (path: string, more: Ask = {}) => send("GET", `/keys/${path}`, more),
    del: (path: string, more: Ask = {}) => send("DELETE", `/keys/${path}`, more),
  };
}

async function fill(space: ReturnType<typeof keyspace>, keys: readonly string[]): Promise<void> {
  for (const name of keys) expect((await space.put(encodeURIComponent(name), { value: name })).status).toBe(201);
}

const itemsOf = (answer: Answer) => (answer.json.data["items"] as { key: string }[]).map((item) => item.key);

describe("[CF-80] one key", () => {
  it("is created, changed, read and deleted, each answer with its revision", async () => {
    const { put, get, del } = keyspace();
    const created = await put("payment/rate-limit", { value: { limit: 2000 } });
    expect(created.status, created.text).toBe(201);
    expect(created.json.data).toEqual({
      ...{ key: "payment/rate-limit", revision: 2, createRevision: 2, modRevision: 2, version: 1 },
    });
    const changed = await put("payment/rate-limit", { value: 5, prevKv: true });
    expect(changed.status).toBe(200);
    expect(changed.json.data).toMatchObject({ revision: 3, createRevision: 2, version: 2 });
    expect(changed.json.data["prevKv"]).toMatchObject({ modRevision: 2, value: { limit: 2000 } });
    const read = await get("payment/rate-limit");
    expect(read.json.data).toEqual({
      ...{ key: "payment/rate-limit", value: 5, revision: 3, createRevision: 2, modRevision: 3, version: 2 },
    });
    expect((await get("payment/rate-limit?revision=2")).json.data).toMatchObject({
      value: { limit: 2000 },
      version: 1,
    });
    const deleted = await del("payment/rate-limit?prevKv=true");
    expect(deleted.json.data).toMatchObject({ deleted: 1, revision: 4, prevKv: { value: 5 } });
    const gone = await get("payment/rate-limit");
    expect([gone.status, gone.json.code, gone.json.details["revision"]]).toEqual([404, "notFound", 4]);
    expect((await del("payment/rate-limit")).json).toMatchObject({ code: "notFound", details: { revision: 4 } });
  });

  it("takes any key: by path, by query, with slashes, in any script, of any bytes", async () => {
    const { send, put, get } = keyspace();
    for (const path of ["a", "/a", "a/", "a//b", "%2Fa%2Fb", "%C3%A9/%F0%9F%98%80", "a%20b%3F%23%26", "a+b", "%00"]) {
      expect((await put(path, { value: path })).status, path).toBe(201);
      const read = await get(path);
      expect(read.json.data, path).toMatchObject({ key: decodeURIComponent(path), value: path });
      const byQuery = `/keys?key=${encodeURIComponent(decodeURIComponent(path))}`;
      expect((await send("GET", byQuery)).json.data, path).toMatchObject({ value: path });
    }
    expect((await send("PUT", "/keys?key=..%2Fx", { body: { value: 1 } })).json.data).toMatchObject({ key: "../x" });
    // 0xff: no UTF-8 anywhere
    const bytes = await send("PUT", "/keys/%2Fw%3D%3D?keyEncoding=base64", { body: { value: 7 } });
    expect(bytes.json.data).toMatchObject({ key: "/w==", keyEncoding: "base64" });
    expect((await send("GET", "/keys?key=_w&keyEncoding=base64")).json.data).toMatchObject({ value: 7 });
    const all = await send("GET", "/range?start=%F0%9F%98%80");
    expect(all.json.data["items"]).toMatchObject([{ key: "/w==", keyEncoding: "base64", value: 7 }]);
    expect((await send("GET", "/range?prefix=YQ&keyEncoding=base64&limit=1")).json.data).toMatchObject({
      items: [{ key: "YQ==", keyEncoding: "base64" }],
    });
  });

  it("gives values back byte for byte, as JSON, text, base64 or bytes", async () => {
    const { name, send, put, get } = keyspace();
    const exact = '{ "b": 9007199254740993, "a": 1.0, "e":"\\u00e9 ü" }';
    await put("exact", {}, { raw: `{"value":${exact}}` });
    expect((await get("exact")).text).toContain(`"value":${exact},`.slice(0, -1));
    expect((await get("exact?valueEncoding=text")).json.data).toMatchObject({ value: exact, valueEncoding: "text" });
    expect(atob((await get("exact?valueEncoding=base64")).json.data["value"] as string)).toHaveLength(
      new TextEncoder().encode(exact).length,
    );
    await put("bytes", { value: "/wA=", valueEncoding: "base64" });
    expect((await get("bytes")).json.data).toMatchObject({ value: "/wA=", valueEncoding: "base64" });
    expect((await get("bytes?valueEncoding=text")).json.data).toMatchObject({ value: "/wA=", valueEncoding: "base64" });
    await put("text", { value: "hello", valueEncoding: "text" });
    expect((await get("text?valueEncoding=text")).json.data["value"]).toBe("hello");
    expect((await get("text")).json.data).toMatchObject({ value: btoa("hello"), valueEncoding: "base64" });
    const headers = { "content-type": "application/octet-stream" };
    const raw = new Uint8Array([0, 255, 10, 13]);
    expect((await send("PUT", "/keys/raw", { raw, headers })).status).toBe(201);
    const response = await exports.default.fetch(`http://jade.test/v1/config/keys/raw?namespace=${name}`, {
      headers: { authorization: `Bearer ${key}`, accept: "application/octet-stream" },
    });
    expect([...new Uint8Array(await response.arrayBuffer())]).toEqual([...raw]);
    expect(response.headers.get("jade-version")).toBe("1");
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    expect((await put("empty", { value: "", valueEncoding: "base64" })).status).toBe(201);
    expect((await get("empty")).json.data).toMatchObject({ value: "", valueEncoding: "base64" });
  });

  it("is read without its value, and accepts snake_case names", async () => {
    const { send, put, get } = keyspace();
    await put("a", { value: 1, if_absent: true });
    expect((await get("a?keysOnly=true")).json.data).not.toHaveProperty("value");
    expect((await get("a?keys_only=true")).json.data).not.toHaveProperty("value");
    expect((await put("a", { value: 2, if_mod_revision: 2, prev_kv: true })).json.data["prevKv"]).toMatchObject({
      value: 1,
    });
    expect((await put("a", { value: 3, if_value: 2 })).status).toBe(200);
    expect((await send("DELETE", "/keys/a?if_version=3")).status).toBe(200);
  });
});

describe("[CF-81] conditions", () => {
  it("hold or leave everything as it is, and show the key", async () => {
    const { put, get, del } = keyspace();
    expect((await put("a", { value: 1, ifAbsent: true })).status).toBe(201);
    const refused = await put("a", { value: 2, ifAbsent: true });
    expect(refused.status).toBe(412);
    expect(refused.json.code).toBe("preconditionFailed");
    expect(refused.json.details).toEqual({
      revision: 2,
      current: { key: "a", value: 1, createRevision: 2, modRevision: 2, version: 1 },
    });
    expect((await put("a", { value: 2, ifModRevision: 2 })).json.data).toMatchObject({ revision: 3 });
    expect((await put("a", { value: 3, ifModRevision: 2 })).status).toBe(412);
    expect((await put("a", { value: 3, ifVersion: 2, ifValue: 2 })).status).toBe(200);
    expect((await put("a", { value: 4, ifVersion: 3, ifValue: 2 })).status).toBe(412);
    expect((await put("b", { value: 1, ifAbsent: false })).json.details).toEqual({ revision: 4, current: null });
    expect((await put("b", { value: 1, ifModRevision: 0 })).status).toBe(201);
    expect((await put("c", { value: 1, ifVersion: 0 })).status).toBe(201);
    expect((await del("a?ifModRevision=2")).status).toBe(412);
    expect((await del("a?ifValue=4")).status).toBe(412);
    expect((await get("a")).json.data).toMatchObject({ value: 3, modRevision: 4 });
    expect((await del("a?ifValue=3&ifModRevision=4")).json.data).toMatchObject({ deleted: 1 });
    expect((await del("a?ifModRevision=4")).json).toMatchObject({
      code: "preconditionFailed",
      details: { current: null },
    });
  });

  it("on a value compare bytes, and show it exactly", async () => {
    const { put, get } = keyspace();
    await put("a", {}, { raw: '{"value":9007199254740993}' });
    const refused = await put("a", { value: 1, ifValue: "9007199254740993" });
    expect(refused.text).toContain('"value":9007199254740993}}');
    expect((await put("a", {}, { raw: '{"value":1,"ifValue":9007199254740992}' })).status).toBe(412);
    expect((await put("a", {}, { raw: '{"value":{"x": 1},"ifValue":9007199254740993}' })).status).toBe(200);
    expect((await put("a", { value: 2, ifValue: { x: 1 } })).status).toBe(412);
    expect((await put("a?valueEncoding=base64", { value: "/w==", ifValue: btoa('{"x": 1}') })).status).toBe(200);
    expect((await get("a")).json.data).toMatchObject({ value: "/w==", valueEncoding: "base64" });
  });

  it("one of many writers at once gets through", async () => {
    const { put, get } = keyspace();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => put("lock", { value: n, ifAbsent: true })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array.from({ length: 19 }, () => 412)]);
    expect((await get("lock")).json.data["version"]).toBe(1);
  });

  it("[CF-15] a repeated write gets its first answer, a refused one is a new try", async () => {
    const { put, del } = keyspace();
    const headers = { "idempotency-key": "once" };
    const first = await put("a", { value: 1 }, { headers });
    await put("a", { value: 2 });
    const again = await put("a", { value: 1 }, { headers });
    expect([again.status, again.json.data]).toEqual([201, first.json.data]);
    expect(again.headers.get("jade-write-id")).toBe(first.headers.get("jade-write-id"));
    expect((await put("a", { value: 3 }, { headers })).json.code).toBe("idempotencyKeyReused");
    expect((await del("a", { headers })).json.code).toBe("idempotencyKeyReused");
    const long = { value: "x".repeat(100_000) };
    await put("long", long);
    const condition = { headers: { "idempotency-key": "condition" } };
    for (let i = 0; i < 2; i++) expect((await put("long", { value: 1, ifVersion: 9 }, condition)).status).toBe(412);
    await Promise.all(Array.from({ length: 8 }, (_, i) => put("long", { value: i })));
    expect((await put("long", { value: 1, ifVersion: 9 }, condition)).json.data).toMatchObject({ version: 10 });
  });
});

describe("[CF-82] ranges", () => {
  it("by prefix, from a key on, before a key, all; limited, counted, without values, sorted", async () => {
    const space = keyspace();
    await fill(space, ["a", "b/1", "b/2", "b/3", "b0", "c"]);
    const range = (query: string) => space.send("GET", `/range?${query}`);
    expect(itemsOf(await range("prefix=b/"))).toEqual(["b/1", "b/2", "b/3"]);
    expect(itemsOf(await range("start=b/2&end=c"))).toEqual(["b/2", "b/3", "b0"]);
    expect(itemsOf(await range("start=b0"))).toEqual(["b0", "c"]);
    expect(itemsOf(await range("end=b/2"))).toEqual(["a", "b/1"]);
    expect(itemsOf(await range(""))).toHaveLength(6);
    expect(itemsOf(await range("prefix="))).toHaveLength(6);
    expect(itemsOf(await range("end=%00"))).toEqual([]);
    expect((await range("prefix=b/&countOnly=true")).json.data).toMatchObject({ items: [], count: 3, more: false });
    const limited = await range("prefix=b&limit=2");
    expect(limited.json.data).toMatchObject({ more: true, revision: 7 });
    expect(limited.json.data).not.toHaveProperty("count");
    expect((await range("prefix=b&limit=2&withCount=true")).json.data).toMatchObject({ more: true, count: 4 });
    expect((await range("prefix=b/&keysOnly=true")).text).not.toContain('"value"');
    expect(itemsOf(await range("prefix=b/&order=desc"))).toEqual(["b/3", "b/2", "b/1"]);
    await space.put("b/1", { value: 0 });
    expect(itemsOf(await range("prefix=b/&sort=modRevision&order=desc"))).toEqual(["b/1", "b/3", "b/2"]);
    expect(itemsOf(await range("prefix=b/&sort=value"))).toEqual(["b/2", "b/3", "b/1"]);
    expect(itemsOf(await range("prefix=b/&minModRevision=5"))).toEqual(["b/1", "b/3"]);
    expect(itemsOf(await range("prefix=b/&maxCreateRevision=4"))).toEqual(["b/1", "b/2"]);
    expect((await range("prefix=b/1&revision=7")).json.data).toMatchObject({ revision: 7, items: [{ value: "b/1" }] });
    expect((await range("prefix=b/1&consistency=serializable&maxStalenessMs=5")).status).toBe(200);
  });

  it("one level of a hierarchy", async () => {
    const space = keyspace();
    await fill(space, ["s/a", "s/b/1", "s/b/2", "s/c/x/y", "s/d", "t"]);
    const level = await space.send("GET", "/range?prefix=s/&delimiter=/");
    expect(itemsOf(level)).toEqual(["s/a", "s/d"]);
    expect(level.json.data["commonPrefixes"]).toEqual(["s/b/", "s/c/"]);
    const seen: string[] = [];
    let cursor = "";
    for (let page = 0; page < 9 && cursor !== "null"; page++) {
      const answer = await space.send("GET", `/range?prefix=s/&delimiter=/&limit=1${cursor && `&cursor=${cursor}`}`);
      expect(answer.status, answer.text).toBe(200);
      seen.push(...itemsOf(answer), ...(answer.json.data["commonPrefixes"] as string[]));
      cursor = String(answer.json.data["cursor"]);
    }
    expect(seen).toEqual(["s/a", "s/b/", "s/c/", "s/d"]);
  });

  it("page by page at one revision, whatever is written meanwhile, up and down", async () => {
    const space = keyspace();
    const names = Array.from({ length: 9 }, (_, i) => `k${i}`);
    await fill(space, names);
    for (const order of ["asc", "desc"] as const) {
      const before = (await space.send("GET", "/status")).json.data["revision"];
      const seen: string[] = [];
      let cursor: unknown;
      do {
        const more: string = cursor === undefined ? "" : `&cursor=${String(cursor)}`;
        const page = await space.send("GET", `/range?prefix=k&limit=4&order=${order}${more}`);
        expect(page.json.data["revision"]).toBe(before);
        seen.push(...itemsOf(page));
        cursor = page.json.data["cursor"];
        await space.put(`k${seen.length}x${order}`, { value: 1 });
        await space.del(`k${seen.length}x${order}`);
      } while (cursor !== null);
      expect(seen).toEqual(order === "asc" ? names : [...names].reverse());
    }
  });

  it("are deleted in one revision, never by leaving the range out", async () => {
    const space = keyspace();
    await fill(space, ["a/1", "a/2", "b"]);
    expect((await space.send("DELETE", "/range")).json).toMatchObject({ code: "invalidRequest" });
    expect((await space.send("DELETE", "/range?prefix=a/")).json.data).toEqual({ deleted: 2, revision: 5 });
    expect((await space.send("DELETE", "/range?start=a&end=%00")).json.data).toEqual({ deleted: 0, revision: 5 });
    expect((await space.send("DELETE", "/range?prefix=")).json.data).toEqual({ deleted: 1, revision: 6 });
  });
});

describe("[CF-83] transactions", () => {
  it("take one branch under one revision and answer each operation", async () => {
    const space = keyspace();
    await fill(space, ["a", "b/1"]);
    const txn = await space.send("POST", "/txn", {
      body: {
        compare: [
          { key: "a", target: "modRevision", value: 2 },
          { key: "a", target: "value", value: "a" },
          { key: "x", target: "version", result: "equal", value: 0 },
          { prefix: "b/", target: "createRevision", result: "greater", value: 1 },
          { key: "a", target: "leaseId", value: "" },
        ],
        success: [
          { op: "put", key: "c", value: { n: 1 }, prevKv: true },
          { op: "get", key: "c" },
          { op: "get", key: "nothing" },
          { op: "range", prefix: "b/", keysOnly: true },
          { op: "delete", prefix: "b/", prevKv: true },
          {
            op: "txn",
            compare: [{ key: "a", target: "version", value: 9 }],
            failure: [{ op: "put", key: "d", value: 1 }],
          },
        ],
        failure: [{ op: "get", key: "a" }],
      },
    });
    expect(txn.status, txn.text).toBe(200);
    const meta = { createRevision: 4, modRevision: 4, version: 1 };
    expect(txn.json.data).toEqual({
      succeeded: true,
      revision: 4,
      responses: [
        { op: "put", key: "c", ...meta },
        { op: "get", found: true, key: "c", ...meta, value: { n: 1 } },
        { op: "get", key: "nothing", found: false },
        {
          ...{ op: "range", count: 1, more: false },
          items: [{ key: "b/1", createRevision: 3, modRevision: 3, version: 1 }],
        },
        {
          ...{ op: "delete", deleted: 1 },
          prevKvs: [{ key: "b/1", createRevision: 3, modRevision: 3, version: 1, value: "b/1" }],
        },
        { op: "txn", succeeded: false, responses: [{ op: "put", key: "d", ...meta }] },
      ],
    });
    const other = await space.send("POST", "/txn", {
      body: { compare: [{ key: "a", target: "version", value: 5 }], failure: [{ op: "get", key: "a" }] },
    });
    expect(other.json.data).toMatchObject({ succeeded: false, revision: 4, responses: [{ found: true, value: "a" }] });
  });

  it("keep exact values, also of inner ones, in snake_case too", async () => {
    const space = keyspace();
    const raw = `{"success": [
      {"op":"put","key":"a","value": 1.0 },
      {"op":"txn","success":[{"op":"put","key":"b","value":[ 9007199254740993 ]},{"op":"put","key":"c","value":"/w=="}]}]}`;
    expect((await space.send("POST", "/txn", { raw })).status).toBe(200);
    const all = await space.send("GET", "/range");
    expect(all.text).toContain('"value":1.0}');
    expect(all.text).toContain('"value":[ 9007199254740993 ]}');
    const snake = await space.send("POST", "/txn?value_encoding=base64", {
      body: { success: [{ op: "txn", success: [{ op: "put", key: "d", value: "/w==", prev_kv: true }] }] },
    });
    expect(snake.status, snake.text).toBe(200);
    expect((await space.get("d")).json.data).toMatchObject({ value: "/w==", valueEncoding: "base64" });
  });

  it("a read-only key may run one that only reads", async () => {
    const space = keyspace();
    await fill(space, ["a"]);
    const read = { success: [{ op: "get", key: "a" }] };
    expect((await space.send("POST", "/txn", { key: reader, body: read })).json.data).toMatchObject({
      succeeded: true,
    });
    const write = { success: [], failure: [{ op: "txn", failure: [{ op: "delete", key: "a" }] }] };
    expect((await space.send("POST", "/txn", { key: reader, body: write })).json.code).toBe("forbidden");
  });
});

describe("[CF-84] leases", () => {
  it("are granted, kept alive, looked at, listed and revoked with their keys", async () => {
    const space = keyspace();
    const granted = await space.send("POST", "/leases", { body: { ttlSeconds: 60 } });
    expect(granted.status, granted.text).toBe(201);
    const leaseId = String(granted.json.data["leaseId"]);
    expect(granted.json.data).toMatchObject({ leaseId: expect.stringMatching(/^[1-9][0-9]{0,18}$/), ttlSeconds: 60 });
    expect((await space.send("POST", "/leases", { body: { ttl_seconds: 9, leaseId: "7" } })).json.data).toMatchObject({
      leaseId: "7",
    });
    expect((await space.send("POST", "/leases", { body: { ttlSeconds: 9, leaseId: "7" } })).json.code).toBe(
      "leaseExists",
    );
    expect((await space.put("a", { value: 1, leaseId })).json.data).toMatchObject({ leaseId });
    const node = await space.put("node-", { value: 1, leaseId, sequential: true });
    expect(node.json.data["key"]).toBe("node-0000000000000003");
    expect((await space.get("a")).json.data).toMatchObject({ leaseId });
    expect((await space.put("a", { ignoreValue: true, leaseId: "7" })).json.data).toMatchObject({
      leaseId: "7",
      version: 2,
    });
    expect((await space.put("a", { value: 2, ignoreLease: true })).json.data).toMatchObject({
      leaseId: "7",
      version: 3,
    });
    expect((await space.send("POST", `/leases/${leaseId}/keep-alive`)).json.data).toMatchObject({
      leaseId,
      ttlSeconds: 60,
    });
    const look = await space.send("GET", `/leases/${leaseId}?keys=true`);
    expect(look.json.data).toMatchObject({ leaseId, grantedTtlSeconds: 60, keys: ["node-0000000000000003"] });
    expect((await space.send("GET", "/leases/7")).json.data).not.toHaveProperty("keys");
    const ids = async (query: string) => {
      const { data } = (await space.send("GET", `/leases${query}`)).json;
      return { ids: (data["items"] as { leaseId: string }[]).map((item) => item.leaseId), cursor: data["cursor"] };
    };
    const first = await ids("?limit=1");
    expect(first.ids).toEqual(["7"]);
    expect(await ids(`?limit=1&cursor=${String(first.cursor)}`)).toEqual({ ids: [leaseId], cursor: null });
    expect((await space.send("DELETE", `/leases/${leaseId}`)).json.data).toMatchObject({ leaseId });
    expect((await space.get("node-0000000000000003")).status).toBe(404);
    for (const [method, path] of [
      ["DELETE", ""],
      ["POST", "/keep-alive"],
      ["GET", ""],
    ] as const) {
      const absent = await space.send(method, `/leases/${leaseId}${path}`);
      expect([absent.status, absent.json.code, absent.json.details["leaseId"]]).toEqual([
        404,
        "leaseNotFound",
        leaseId,
      ]);
    }
    expect((await space.put("a", { value: 1, leaseId })).json.code).toBe("leaseNotFound");
  });
});

describe("[CF-85] compaction and status", () => {
  it("a compacted revision is gone, a future one is not there yet", async () => {
    const space = keyspace();
    for (let i = 0; i < 4; i++) await space.put("a", { value: i });
    expect((await space.send("POST", "/compact", { body: { revision: 4 } })).json.data).toEqual({
      compactedRevision: 4,
      revision: 5,
    });
    expect((await space.get("a?revision=4")).json.data["value"]).toBe(2);
    const gone = await space.get("a?revision=3");
    expect([gone.status, gone.json.code, gone.json.details["compactedRevision"]]).toEqual([410, "compacted", 4]);
    expect((await space.send("POST", "/compact", { body: { revision: 4 } })).json.code).toBe("compacted");
    expect((await space.send("POST", "/compact", { body: { revision: 6 } })).json).toMatchObject({
      code: "futureRevision",
      details: { revision: 5 },
    });
    expect((await space.get("a?revision=6")).json.code).toBe("futureRevision");
    const status = (await space.send("GET", "/status")).json.data;
    expect(status).toMatchObject({ namespace: space.name, revision: 5, compactedRevision: 4, keys: 1, leases: 0 });
    expect(status["databaseBytes"]).toBeGreaterThan(0);
  });

  it("is the same after the owner's restart", async () => {
    const space = keyspace();
    await fill(space, ["a"]);
    const { term } = (await space.send("GET", "/status")).json.data as unknown as { term: number };
    const tenant = await directory().lookupTenant(tenantId);
    const id = env.CONFIG_KEYSPACE.idFromName(`c${tenant}/${space.name}`);
    await evictDurableObject(env.CONFIG_KEYSPACE.get(id) as unknown as DurableObjectStub);
    expect((await space.get("a")).json.data).toMatchObject({ value: "a", revision: 2 });
    expect((await space.put("a", { value: 2 })).json.data).toMatchObject({ revision: 3, version: 2 });
    expect((await space.send("GET", "/status")).json.data["term"]).toBeGreaterThan(term);
  });
});
