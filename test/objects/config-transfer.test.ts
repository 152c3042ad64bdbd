// /v1/config/export and /v1/config/import over the real Worker.
import { beforeAll, describe, expect, it } from "vitest";
import { type Answer, type Ask, ask, newKey, newTenant } from "./gateway-support.ts";

let key = "";
let reader = "";
let spaces = 0;

beforeAll(async () => {
  const tenant = await newTenant();
  key = tenant.key;
  reader = await newKey(tenant.tenantId, { scope: "read-only" });
});

function keyspace() {
  const name = `transfer${spaces++}`;
  const send = (method: string, path: string, more: Ask = {}): Promise<Answer> =>
    ask(method, `/v1/config${path}${path.includes("?") ? "&" : "?"}namespace=${name}`, { key, ...more });
  return {
    send,
    put: (name: string, body: object) => send("PUT", `/keys/${encodeURIComponent(name)}`, { body }),
    importPage: (lines: readonly (object | string)[], query = "", headers: Record<string, string> = {}) =>
      send("POST", `/import${query}`, {
        raw: lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n"),
        headers: { "content-type": "application/x-ndjson", ...headers },
      }),
    revision: async () => (await send("GET", "/status")).json.data["revision"],
  };
}

interface Line {
  readonly key: string;
  readonly cursor?: string | null;
  readonly revision?: number;
  readonly [field: string]: unknown;
}

function linesOf(answer: Answer): { lines: readonly Line[]; cursor: string | null; revision: number } {
  expect(answer.status, answer.text).toBe(200);
  const lines = answer.text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
  const { cursor, revision } = lines.pop()!;
  return { lines, cursor: cursor!, revision: revision! };
}

async function exportAll(space: ReturnType<typeof keyspace>, query = "limit=2") {
  const lines: Line[] = [];
  let page = linesOf(await space.send("GET", `/export?${query}`));
  const { revision } = page;
  for (;;) {
    lines.push(...page.lines);
    expect(page.revision).toBe(revision);
    if (page.cursor === null) return { lines, revision };
    page = linesOf(await space.send("GET", `/export?${query}&cursor=${page.cursor}`));
  }
}

const content = (lines: readonly Line[]) =>
  lines.map(({ key, keyEncoding, value, valueEncoding, leaseId }) => ({
    key,
    keyEncoding,
    value,
    valueEncoding,
    leaseId,
  }));

describe("export", () => {
  it("[CF-140] all pages show the first page's revision, whatever is written meanwhile", async () => {
    const space = keyspace();
    for (const name of ["a", "b", "c", "d", "e"]) await space.put(name, { value: name });
    const first = linesOf(await space.send("GET", "/export?limit=2"));
    expect(first.lines.map((line) => line.key)).toEqual(["a", "b"]);
    await space.put("c", { value: "later" });
    await space.put("cc", { value: "later" });
    await space.send("DELETE", "/keys/d");
    const second = linesOf(await space.send("GET", `/export?limit=2&cursor=${first.cursor}`));
    expect(second.lines).toMatchObject([
      { key: "c", value: "c", createRevision: 4, modRevision: 4, version: 1 },
      { key: "d", value: "d" },
    ]);
    const third = linesOf(await space.send("GET", `/export?limit=2&cursor=${second.cursor}`));
    expect([third.lines.map((line) => line.key), third.cursor, third.revision]).toEqual([["e"], null, first.revision]);
    expect((await exportAll(space)).lines.map((line) => line.value)).toEqual(["a", "b", "later", "later", "e"]);
    expect((await exportAll(space, "limit=1&prefix=c")).lines.map((line) => line.key)).toEqual(["c", "cc"]);
  });

  it("[CF-141] tells when its revision is compacted", async () => {
    const space = keyspace();
    for (const name of ["a", "b", "c"]) await space.put(name, { value: name });
    const { cursor } = linesOf(await space.send("GET", "/export?limit=1"));
    await space.put("a", { value: 2 });
    await space.send("POST", "/compact", { body: { revision: 5 } });
    const refused = await space.send("GET", `/export?cursor=${cursor}`);
    expect([refused.status, refused.json.code]).toEqual([410, "compacted"]);
    expect(refused.json.details).toEqual({ compactedRevision: 5 });
  });

  it("[CF-142] a page is much less than what an import takes, however large the values are", async () => {
    const space = keyspace();
    const value = "x".repeat(1024 * 1024 - 2);
    for (let i = 0; i < 9; i++) expect((await space.put(`big${i}`, { value })).status).toBe(201);
    const copy = keyspace();
    const keys: unknown[] = [];
    for (let cursor: unknown = ""; cursor !== null; ) {
      const answer = await space.send("GET", `/export${cursor === "" ? "" : `?cursor=${cursor}`}`);
      // What is held for a page is bounded, too: one large value, or a megabyte of small ones.
      expect(answer.text.length).toBeLessThanOrEqual(2 * 1024 * 1024);
      const page = linesOf(answer);
      keys.push(...page.lines.map((line) => line.key));
      expect((await copy.importPage([answer.text])).json.data).toMatchObject({ lines: 1, created: 1 });
      ({ cursor } = page);
    }
    expect(keys).toEqual(Array.from({ length: 9 }, (_, i) => `big${i}`));
  });
});

describe("bad input to an export", () => {
  it("[CF-86] is refused by name; a key that may only read exports", async () => {
    const space = keyspace();
    const cases = {
      "limit=1001": "1000",
      "limit=0": "limit",
      "cursor=!": "cursor",
      "verbose=1": "verbose",
      "start=a": "start",
    };
    for (const [query, named] of Object.entries(cases)) {
      const answer = await space.send("GET", `/export?${query}`);
      expect([answer.status, answer.json.code], query).toEqual([400, "invalidRequest"]);
      expect(answer.json.message).toContain(named);
    }
    const ahead = await space.send("GET", "/export?cursor=1.99.k.YQ");
    expect([ahead.status, ahead.json.code]).toEqual([400, "futureRevision"]);
    expect(linesOf(await space.send("GET", "/export", { key: reader }))).toEqual({
      lines: [],
      cursor: null,
      revision: 1,
    });
  });
});

describe("import", () => {
  it("[CF-143] what was exported is there again, byte for byte: any keys, any values", async () => {
    const space = keyspace();
    const exact = '{ "b": 9007199254740993,\n "a": 1.0,\r\n "e":"\\u00e9 ü\u2028" }';
    await space.send("PUT", "/keys/exact", { raw: `{"value":${exact}}` });
    await space.send("PUT", "/keys/%2Fw%3D%3D?keyEncoding=base64", {
      body: { value: "/w==", valueEncoding: "base64" },
    });
    await space.put("text", { value: "no\njson", valueEncoding: "text" });
    await space.put("empty", { value: "", valueEncoding: "text" });
    await space.put('quo"te\n', { value: null });
    const all = await exportAll(space);
    expect(all.lines).toHaveLength(5);
    const copy = keyspace();
    const answer = await copy.importPage(all.lines);
    expect(answer.json.data, answer.text).toMatchObject({ lines: 5, created: 5, overwritten: 0, skipped: 0 });
    const copied = await exportAll(copy);
    expect(content(copied.lines)).toEqual(content(all.lines));
    const raw = await copy.send("GET", "/keys/exact", { headers: { accept: "application/octet-stream" } });
    expect(raw.text).toBe(exact);
    expect((await copy.importPage(['{"cursor":null,"revision":7}', ""])).json.data).toMatchObject({
      ...{ lines: 0, revision: await copy.revision() },
    });
  });

  it("[CF-144] a bad line is named, and nothing of its page is written", async () => {
    const space = keyspace();
    const good = { key: "good", value: 1 };
    const cases: readonly [object | string, string][] = [
      ["{", "line 2 is not complete, valid JSON"],
      ["[]", "line 2 must be a JSON object"],
      [{ value: 1 }, "line 2: key is required"],
      [{ key: "", value: 1 }, "line 2: key must not be empty"],
      [{ key: "k".repeat(1025), value: 1 }, "line 2: key has 1025 bytes, the limit is 1024"],
      [{ key: "a" }, "line 2: value is required"],
      [{ key: "a", value: 1, valueEncoding: "base64" }, "line 2: value must be a string of base64"],
      [{ key: "a", value: "?", valueEncoding: "base64" }, "line 2: value is not base64"],
      [{ key: "a", value: "x".repeat(1024 * 1024) }, "line 2: value has 1048578 bytes, the limit is 1048576"],
      [{ key: "a", value: 1, leaseId: "x" }, "line 2: leaseId"],
      [{ key: "a", value: 1, other: 1 }, "line 2: other is not a known field"],
      [good, "line 2 has the key of line 1"],
    ];
    for (const [line, message] of cases) {
      const answer = await space.importPage([good, line]);
      expect([answer.status, answer.json.code], message).toEqual([400, "invalidRequest"]);
      expect(answer.json.message).toContain(message);
    }
    const raw = new Uint8Array([...new TextEncoder().encode('{"key":"good","value":1}\n{"key":"'), 0xff, 0x22, 0x7d]);
    const headers = { "content-type": "application/x-ndjson" };
    expect((await space.send("POST", "/import", { raw, headers })).json.message).toBe("line 2 is not valid UTF-8");
    expect((await space.send("POST", "/import", { body: good })).status).toBe(415);
    expect((await space.importPage([good], "", { authorization: `Bearer ${reader}` })).status).toBe(403);
    const long = await space.importPage([good, " ".repeat(8 * 1024 * 1024)]);
    expect([long.status, long.json.code]).toEqual([413, "payloadTooLarge"]);
    const many = Array.from({ length: 10_001 }, (_, i) => `{"key":"${i}","value":1}`);
    expect((await space.importPage(many)).json.message).toContain("line 10001 is over the limit of 10000 keys a page");
    expect((await space.importPage([good], "?onExisting=perhaps")).json.message).toContain("onExisting must be one of");
    expect(await space.revision()).toBe(1);
  });

  it("[CF-145] keys that exist are overwritten, skipped, or end it at their transaction", async () => {
    const space = keyspace();
    const old = ["k150", "k200"];
    for (const name of old) await space.put(name, { value: "old" });
    const lines = Array.from({ length: 300 }, (_, i) => ({ key: `k${String(i).padStart(3, "0")}`, value: "new" }));
    const failed = await space.importPage(lines, "?onExisting=fail");
    expect([failed.status, failed.json.code]).toEqual([412, "preconditionFailed"]);
    expect(failed.json.details).toEqual({ line: 151, key: "k150", writtenLines: 128 });
    expect((await exportAll(space, "prefix=k")).lines).toHaveLength(130);
    const skipped = await space.importPage(lines, "?onExisting=skip");
    expect(skipped.json.data).toMatchObject({ lines: 300, created: 170, overwritten: 0, skipped: 130 });
    const kept = (await exportAll(space, "prefix=k")).lines.filter(({ value }) => value === "old");
    expect(kept.map((line) => line.key)).toEqual(old);
    const before = (await space.revision()) as number;
    const written = await space.importPage(lines);
    expect(written.json.data).toMatchObject({ created: 0, overwritten: 300, revision: before + 3 });
    expect((await exportAll(space, "prefix=k")).lines.every(({ value }) => value === "new")).toBe(true);
  });

  it("[CF-146] a page sent again is applied once and counted as the first time, though leases ended meanwhile", async () => {
    const space = keyspace();
    const { leaseId } = (await space.send("POST", "/leases", { body: { ttlSeconds: 600 } })).json.data;
    const long = (i: number) => ({ key: `${i}-`.padEnd(1024, "k"), value: i });
    const page = [
      { key: "leased", value: 1, leaseId },
      { key: "lost", value: 1, leaseId: "77" },
    ];
    const lines = [...page, ...Array.from({ length: 100 }, (_, i) => long(i))];
    const first = await space.importPage(lines, "", { "idempotency-key": "page-1" });
    expect(first.json.data, first.text).toMatchObject({ created: 102, leasesDropped: 1 });
    expect((await space.send("GET", "/keys/leased")).json.data).toMatchObject({ leaseId });
    expect((await space.send("GET", "/keys/lost")).json.data["leaseId"]).toBe(undefined);
    await space.send("DELETE", `/leases/${leaseId}`);
    const before = await space.revision();
    const again = await space.importPage(lines, "", { "idempotency-key": "page-1" });
    expect(again.json.data, again.text).toEqual(first.json.data);
    expect(await space.revision()).toBe(before);
    expect((await space.send("GET", "/keys/leased")).status).toBe(404);
    const other = await space.importPage([long(1)], "", { "idempotency-key": "page-1" });
    expect(other.json.code).toBe("idempotencyKeyReused");
  });
});
