// Calls over HTTP against a fetch that answers from a list: headers, retries, errors, raw values, lists.
import { describe, expect, it } from "vitest";
import { JadeClient } from "./client.ts";
import type { JadeError } from "./errors.ts";
import { FakeRuntime, failure, fakeFetch, success } from "./fake-server.ts";
import type { ClientOptions } from "./options.ts";

function setUp(answers: Parameters<typeof fakeFetch>[0], options: Partial<ClientOptions> = {}) {
  const runtime = new FakeRuntime();
  const { fetch, calls } = fakeFetch(answers);
  const client = new JadeClient({ url: "http://db:1", apiKey: "k1", fetch, runtime, ...options });
  return { client, calls, runtime };
}

const written = success({ key: "a", vectorClock: { "n1.1": 1 } });

describe("http", () => {
  it("close() ends every call under way, however many, and refuses later ones", async () => {
    const runtime = new FakeRuntime();
    const fetch = (_: unknown, init?: RequestInit) =>
      new Promise<Response>((_resolve, reject) => {
        init!.signal!.addEventListener("abort", () => reject(init!.signal!.reason));
      });
    const client = new JadeClient({ url: "http://db:1", apiKey: "k1", transport: "http", fetch, runtime });
    const calls = Array.from({ length: 50 }, () => client.kv.get("a").then(String, (error) => error.code));
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.close();
    expect(new Set(await Promise.all(calls))).toEqual(new Set(["clientClosed"]));
    await expect(client.kv.get("a")).rejects.toMatchObject({ code: "clientClosed" });
  });

  it("puts the exact JSON text into the body, with key, idempotency key and attempt", async () => {
    const { client, calls } = setUp([[200, written]]);
    const result = await client.kv.putRaw("a", '{"x":1.0}', { consistency: "all", clock: { "n1.1": 1 } });
    expect(result).toEqual({ key: "a", vectorClock: { "n1.1": 1 } });
    expect(calls[0]).toMatchObject({ url: "http://db:1/v1/key-value", method: "POST" });
    expect(calls[0]!.body).toBe('{"key":"a","value":{"x":1.0},"consistency":"all","vectorClock":{"n1.1":1}}');
    expect(calls[0]!.headers).toMatchObject({ authorization: "Bearer k1", "jade-attempt": "1" });
    expect(calls[0]!.headers["idempotency-key"]).toMatch(/^[0-9a-f]{32}$/);
  });

  it("reads raw values out of the answer's text, in siblings too", async () => {
    const text =
      '{"status":"success","data": {"key":"a\\"}","value" : {"v":[1.0,"}]\\\\"],"n":9007199254740993} ,"conflict":true,"siblings":[{"value":1.50,"vectorClock":{}},{"deleted":true,"vectorClock":{}}],"vectorClock":{"n1.1":2}},"timestamp":""}';
    const { client } = setUp([[200, text]]);
    const raw = await client.kv.getRaw("a");
    expect(raw.value).toBe('{"v":[1.0,"}]\\\\"],"n":9007199254740993}');
    expect(raw.siblings.map((sibling) => sibling.value)).toEqual(["1.50", undefined]);
    expect(raw).toMatchObject({ conflict: true, vectorClock: { "n1.1": 2 } });
  });

  it("gives a missing key as found: false with the context of its delete", async () => {
    const { client, calls } = setUp([[404, failure("notFound", { vectorClock: { "n1.1": 9 } })]], {
      consistency: "one",
    });
    expect(await client.kv.get("a b&c")).toMatchObject({ found: false, value: undefined, vectorClock: { "n1.1": 9 } });
    expect(calls[0]!.url).toBe("http://db:1/v1/key-value?key=a%20b%26c&consistency=one");
  });

  it("repeats after network failures and retryable answers under one idempotency key, counting attempts", async () => {
    const { client, calls, runtime } = setUp([
      new TypeError("fetch failed"),
      [503, failure("overloaded")],
      [200, written],
    ]);
    const put = client.kv.put("a", 1);
    await runtime.advance(1000);
    await put;
    expect(calls.map((call) => call.headers["jade-attempt"])).toEqual(["1", "2", "3"]);
    expect(new Set(calls.map((call) => call.headers["idempotency-key"])).size).toBe(1);
  });

  it("[RP-90] gives dataCorrupt at once: no retry brings the data back", async () => {
    const { client, calls } = setUp([[500, failure("dataCorrupt")]]);
    await expect(client.kv.get("a")).rejects.toMatchObject({ code: "dataCorrupt", retryable: false });
    await expect(client.kv.put("a", 1)).rejects.toMatchObject({ code: "dataCorrupt", writeId: undefined });
    expect(calls.length).toBe(2);
  });

  it("waits as long as Retry-After says", async () => {
    const { client, calls, runtime } = setUp([
      [429, failure("rateLimited"), { "retry-after": "2" }],
      [200, written],
    ]);
    const put = client.kv.put("a", 1);
    await runtime.advance(1900);
    expect(calls).toHaveLength(1);
    await runtime.advance(200);
    await put;
    expect(calls).toHaveLength(2);
  });

  it("ends an uncertain write as unknownOutcome with its write id, and a definite refusal as itself", async () => {
    const broken = setUp([new TypeError("socket hang up")], { retries: { attempts: 2 } });
    const put = broken.client.kv.put("a", 1).catch((error: JadeError) => error);
    await broken.runtime.advance(5000);
    expect(await put).toMatchObject({ code: "unknownOutcome", writeId: broken.calls[0]!.headers["idempotency-key"] });
    // A server that does not run was sent nothing.
    const refusal = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    const unsent = (cause: Error) => new TypeError("fetch failed", { cause });
    const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
    for (const [failures, code] of [
      [[unsent(refusal), unsent(new AggregateError([refusal, refusal]))], "networkFailure"],
      [[unsent(reset), unsent(refusal)], "unknownOutcome"],
      [[unsent(new AggregateError([refusal, reset])), unsent(refusal)], "unknownOutcome"],
    ] as const) {
      const away = setUp([...failures], { retries: { attempts: 2 } });
      const tried = away.client.kv.put("a", 1).catch((error: JadeError) => error);
      await away.runtime.advance(5000);
      expect(await tried).toMatchObject({ code });
    }
    const refused = setUp([[422, failure("idempotencyKeyReused"), { "x-request-id": "r7" }]]);
    await expect(refused.client.kv.put("a", 1)).rejects.toMatchObject({
      code: "idempotencyKeyReused",
      status: 422,
      requestId: "r7",
      retryable: false,
    });
  });

  it("sends a user's write id without an attempt number unless told that it is fresh", async () => {
    const { client, calls } = setUp([[200, written]]);
    await client.kv.put("a", 1, { writeId: "A".repeat(32) });
    await client.kv.delete("a", { writeId: "b".repeat(32), mayHaveBeenSent: false });
    expect(calls.map((call) => [call.headers["idempotency-key"], call.headers["jade-attempt"]])).toEqual([
      ["a".repeat(32), undefined],
      ["b".repeat(32), "1"],
    ]);
  });

  it("times an attempt out, and honours AbortSignal", async () => {
    const fetch = (_url: string, init: RequestInit) =>
      new Promise<Response>((_, reject) => init.signal!.addEventListener("abort", () => reject(init.signal!.reason)));
    const { client, runtime } = setUp([], { fetch, timeoutMs: 1000 });
    const get = client.kv.get("a").catch((error: JadeError) => error);
    await runtime.advance(2000);
    expect(await get).toMatchObject({ code: "timedOut" });
    const controller = new AbortController();
    const second = client.kv.get("a", { signal: controller.signal });
    controller.abort("stop");
    await expect(second).rejects.toBe("stop");
  });

  it("says when the other side is no JadeDB", async () => {
    const { client } = setUp([[404, "<html>nginx</html>"]], { retries: { attempts: 1 } });
    await expect(client.status()).rejects.toMatchObject({
      code: "badAnswer",
      message: expect.stringContaining("nginx"),
    });
  });

  it("walks lists over their pages", async () => {
    const { client, calls } = setUp([
      [200, success({ items: [{ tenantId: "a" }], cursor: "c1" })],
      [200, success({ items: [{ tenantId: "b" }], cursor: null })],
    ]);
    const ids: string[] = [];
    for await (const tenant of client.tenants.list({ limit: 1 })) ids.push(tenant.tenantId);
    expect(ids).toEqual(["a", "b"]);
    expect(calls[1]!.url).toBe("http://db:1/v1/tenants?limit=1&cursor=c1");
  });

  it("exports exact JSON texts and refuses a page that was cut off", async () => {
    const whole = '{"key":"a","value":1.0,"vectorClock":{}}\n{"cursor":null}\n';
    const { client } = setUp([[200, whole]]);
    expect((await client.kv.exportPage()).items).toEqual([{ key: "a", json: "1.0", vectorClock: {} }]);
    const cut = setUp([[200, '{"key":"a","value":1.0,"vectorClock":{}}\n']], { retries: { attempts: 1 } });
    await expect(cut.client.kv.exportPage()).rejects.toMatchObject({ code: "badAnswer" });
  });

  it("refuses wrong arguments before anything is sent", async () => {
    const { client, calls } = setUp([[200, written]]);
    await expect(client.kv.put("", 1)).rejects.toThrow(/key/);
    await expect(client.kv.put("a", undefined)).rejects.toThrow(/JSON/);
    await expect(client.kv.put("a", 1, { consistency: "most" as never })).rejects.toThrow(/consistency must be one of/);
    await expect(client.kv.put("a", 1, { writeId: "short" })).rejects.toThrow(/32 hex/);
    expect(() => new JadeClient({ url: "ftp://x" })).toThrow(/url/);
    expect(calls).toHaveLength(0);
  });
});
