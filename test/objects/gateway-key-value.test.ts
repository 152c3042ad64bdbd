// The data path over HTTP, from the gateway to the replicas and back.
import { beforeAll, describe, expect, it } from "vitest";
import { type Answer, type Ask, ask, newKey, newTenant } from "./gateway-support.ts";

const PATH = "/v1/key-value";
let tenantId = "";
let key = "";

beforeAll(async () => {
  ({ tenantId, key } = await newTenant());
});

const put = (body: object, extra: Ask = {}) => ask("POST", PATH, { key, body, ...extra });
const get = (name: string, query = "") => ask("GET", `${PATH}?key=${encodeURIComponent(name)}${query}`, { key });

/** The raw text of `value` in an answer, found by its known neighbours. */
function rawValue(text: string): string {
  return text.slice(text.indexOf(',"value":') + 9, text.indexOf(',"vectorClock":'));
}

describe("values", () => {
  const values = [
    "9007199254740993",
    "1.0",
    "-0",
    "1E400",
    '{"b":1, "a":2, "b":3}',
    '"\\ud800 \\u0041 é 😀"',
    "[ 1,\n 2 ]",
    "null",
    '""',
    `"${"x".repeat(5000)}"`,
    `${"[".repeat(5000)}${"]".repeat(5000)}`,
  ];
  it.each(values)("[GW-2] come back byte for byte: %.40s", async (value) => {
    const stored = await put({}, { raw: `{"value": ${value} ,"key":"bytes"}` });
    expect(stored.status, stored.text).toBe(200);
    const answer = await get("bytes");
    expect(answer.status).toBe(200);
    expect(rawValue(answer.text)).toBe(value);
  });

  it("[GW-2] of duplicate and escaped members the last counts", async () => {
    const raw = '{"value":1,"key":"wrong","v\\u0061lue":2,"k\\u0065y":"dup"}';
    expect((await put({}, { raw })).json.data).toMatchObject({ key: "dup" });
    expect(rawValue((await get("dup")).text)).toBe("2");
    expect((await get("wrong")).status).toBe(404);
  });

  it("[GW-1] are found under /api/v1 too, and snake_case clocks are taken", async () => {
    const first = await ask("POST", "/api/v1/key-value", { key, body: { key: "mirror", value: 1 } });
    const vector_clock = first.json.data["vectorClock"];
    expect((await put({ key: "mirror", value: 2, vector_clock })).status).toBe(200);
    const answer = await ask("GET", "/api/v1/key-value?key=mirror", { key });
    expect(answer.json).toMatchObject({ status: "success", data: { key: "mirror", value: 2 } });
    expect(Date.parse(answer.json.timestamp)).toBeGreaterThan(0);
  });

  it("[GW-4] may have keys of 1024 bytes and values of 1 MiB, and not one byte more", async () => {
    const longest = "é".repeat(512);
    const value = "x".repeat(1024 * 1024 - 2);
    expect((await put({ key: longest, value })).status).toBe(200);
    expect((await get(longest)).text).toContain(value);
    const tooLong = await put({ key: `${longest}a`, value: 1 });
    expect(tooLong.status).toBe(400);
    expect(tooLong.json.details["issues"]).toMatchObject([{ path: "key", limit: 1024 }]);
    const tooLarge = await put({ key: "large", value: `${value}y` });
    expect([tooLarge.status, tooLarge.json.code]).toEqual([413, "payloadTooLarge"]);
    expect(tooLarge.json.message).toContain("1048577");
    expect(tooLarge.json.message).toContain("1048576");
  });
});

describe("deletes and conflicts", () => {
  it("[GW-9] a deleted key is 404 with the context; the clock goes in query or body", async () => {
    const clock = (await put({ key: "gone", value: 1 })).json.data["vectorClock"];
    const query = `?key=gone&vectorClock=${encodeURIComponent(JSON.stringify(clock))}&consistency=all`;
    const deleted = await ask("DELETE", PATH + query, { key });
    expect(deleted.status, deleted.text).toBe(200);
    const answer = await get("gone");
    expect(answer.status).toBe(404);
    expect(answer.json.details["vectorClock"]).toEqual(deleted.json.data["vectorClock"]);
    const again = await ask("DELETE", PATH, {
      key,
      body: { key: "gone", vectorClock: deleted.json.data["vectorClock"] },
    });
    expect(again.status).toBe(200);
    expect((await get("never")).json.details).toEqual({});
  });

  it("[GW-9] concurrent versions show conflict, all siblings raw, and a deleted sibling as such", async () => {
    const base = (await put({ key: "split", value: 0 })).json.data["vectorClock"];
    await put({}, { raw: `{"key":"split","value":1.0,"vectorClock":${JSON.stringify(base)}}` });
    await put({}, { raw: `{"key":"split","value":2.0,"vectorClock":${JSON.stringify(base)}}` });
    await ask("DELETE", `${PATH}?key=split&vectorClock=${encodeURIComponent(JSON.stringify(base))}`, { key });
    const answer = await get("split", "&consistency=all");
    expect(answer.status).toBe(200);
    const data = answer.json.data as unknown as {
      conflict: boolean;
      siblings: Record<string, unknown>[];
      vectorClock: object;
    };
    expect(data.conflict).toBe(true);
    expect(data.siblings).toHaveLength(3);
    expect(data.siblings.filter((sibling) => sibling["deleted"] === true)).toHaveLength(1);
    expect(answer.text).toContain('{"value":1.0,"vectorClock"');
    const merged = await put({ key: "split", value: 3, vectorClock: data.vectorClock });
    expect(merged.status).toBe(200);
    expect((await get("split")).json.data).toMatchObject({ value: 3 });
    expect((await get("split")).json.data).not.toHaveProperty("conflict");
  });
});

describe("write ids", () => {
  it("[GW-7] an Idempotency-Key applies once; another body is 422; the answered id works as a key", async () => {
    const headers = { "idempotency-key": `order-${tenantId}` };
    const first = await put({ key: "once", value: 1 }, { headers });
    const writeId = first.headers.get("jade-write-id")!;
    expect(writeId).toMatch(/^[0-9a-f]{32}$/);
    await put({ key: "once", value: 2 });
    const repeated = await put({ key: "once", value: 1 }, { headers });
    expect(repeated.status).toBe(200);
    expect((await get("once")).json.data).toMatchObject({ value: 2 });
    const other = await put({ key: "once", value: 9 }, { headers });
    expect([other.status, other.json.code]).toEqual([422, "idempotencyKeyReused"]);
    expect(other.headers.get("jade-write-id")).toBe(writeId);
    const byId = await put({ key: "once", value: 1 }, { headers: { "idempotency-key": writeId } });
    expect(byId.status).toBe(200);
    expect((await get("once")).json.data).toMatchObject({ value: 2 });
  });

  it("[GW-7] an SDK's first and later attempts are one write", async () => {
    const id = crypto.randomUUID().replaceAll("-", "");
    const attempt = (number: string, value: unknown) =>
      put({ key: "sdk", value }, { headers: { "idempotency-key": id, "jade-attempt": number } });
    expect((await attempt("1", 1)).headers.get("jade-write-id")).toBe(id);
    await put({ key: "sdk", value: 2 });
    expect((await attempt("2", 1)).status).toBe(200);
    expect((await get("sdk")).json.data).toMatchObject({ value: 2 });
    expect((await attempt("x", 1)).status).toBe(400);
  });

  it("[GW-7] without a header each write has an id of its own, on errors too", async () => {
    const ids = new Set<string | null>();
    for (let i = 0; i < 300; i++) ids.add((await put({ key: "own", value: i })).headers.get("jade-write-id"));
    expect(ids.size).toBe(300);
    expect((await put({ key: "" })).headers.get("jade-write-id")).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("batches", () => {
  const batch = (body: unknown, extra: Ask = {}) => ask("POST", `${PATH}/batch`, { key, body, ...extra });
  const resultsOf = (answer: Answer) => answer.json.data["results"] as Record<string, unknown>[];

  it("[GW-8] give one result an operation, in order, values raw", async () => {
    const raw =
      '{"operations":[{"op":"put","key":"b1","value": 1.0 },{"op":"get","key":"b-none"},{"value":[2.50],"key":"b2","op":"put","consistency":"all"}]}';
    const answer = await batch(undefined, { raw });
    expect(answer.status, answer.text).toBe(200);
    expect(resultsOf(answer)).toMatchObject([
      { op: "put", status: "success", key: "b1" },
      { op: "get", status: "error", code: "notFound", httpStatus: 404, key: "b-none" },
      { op: "put", status: "success", key: "b2" },
    ]);
    const read = await batch({
      consistency: "one",
      operations: [
        { op: "get", key: "b2" },
        { op: "delete", key: "b1" },
      ],
    });
    expect(read.text).toContain('"value":[2.50],');
    expect((await get("b1")).status).toBe(404);
  });

  it("[GW-8] repeat as a whole under one Idempotency-Key, and another body writes nothing at all", async () => {
    const headers = { "idempotency-key": `batch-${tenantId}` };
    const operations = Array.from({ length: 30 }, (_, index) => ({ op: "put", key: `r${index}`, value: index }));
    expect((await batch({ operations }, { headers })).status).toBe(200);
    await put({ key: "r3", value: "later" });
    const again = await batch({ operations }, { headers });
    expect(again.status).toBe(200);
    expect(resultsOf(again).every((result) => result["status"] === "success")).toBe(true);
    expect((await get("r3")).json.data).toMatchObject({ value: "later" });
    const other = [...operations, { op: "put", key: "r-extra", value: 1 }];
    const refused = await batch({ operations: other }, { headers });
    expect([refused.status, refused.json.code]).toEqual([422, "idempotencyKeyReused"]);
    expect((await get("r-extra")).status).toBe(404);
  });

  it("[GW-8] are bounded and need read-write only when they write", async () => {
    const readOnly = await newKey(tenantId, { scope: "read-only" });
    expect((await batch({ operations: [{ op: "get", key: "b2" }] }, { key: readOnly })).status).toBe(200);
    const refused = await batch({ operations: [{ op: "put", key: "b2", value: 1 }] }, { key: readOnly });
    expect([refused.status, refused.json.details]).toEqual([403, { requiredScope: "read-write" }]);
    const many = Array.from({ length: 1001 }, () => ({ op: "get", key: "a" }));
    const tooMany = await batch({ operations: many });
    expect(tooMany.status).toBe(400);
    expect(tooMany.json.details["issues"]).toMatchObject([{ path: "operations", limit: 1000 }]);
  });
});
