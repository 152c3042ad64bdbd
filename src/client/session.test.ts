// The session against a server in memory: batching, bounds, retries after a break, deadlines, aborts.
import { describe, expect, it, vi } from "vitest";
import { JadeClient } from "./client.ts";
import type { JadeError } from "./errors.ts";
import { clockAt, FakeRuntime, failure, fakeFetch, fakeServer, settle } from "./fake-server.ts";
import type { ClientOptions } from "./options.ts";

function setUp(options: Partial<ClientOptions> = {}) {
  const server = fakeServer();
  const runtime = new FakeRuntime();
  const { fetch, calls } = fakeFetch([[400, failure("invalidRequest")]]);
  const { WebSocket } = server;
  const client = new JadeClient({
    url: "http://db:1/",
    apiKey: "k1",
    transport: "session",
    WebSocket,
    fetch,
    runtime,
    ...options,
  });
  return { server, runtime, client, calls };
}

/** Keeps a rejection from being reported before the test looks at it. */
function later<T>(promise: Promise<T>): Promise<T | JadeError> {
  return promise.catch((error: JadeError) => error);
}

describe("session", () => {
  it("sends the calls of one turn in one message, with the key as a subprotocol", async () => {
    const { server, client } = setUp();
    const [put, missing] = await Promise.all([client.kv.put("a", { n: 1 }), client.kv.get("b"), client.kv.delete("c")]);
    expect(put).toEqual({ key: "a", vectorClock: { "n1.1": 1, "@": 1 } });
    expect(missing).toMatchObject({ found: false, value: undefined });
    expect(server.messages.map((message) => message.map((request) => request.op))).toEqual([["put", "get", "delete"]]);
    expect(server.sockets[0]).toMatchObject({ url: "ws://db:1/v1/session", binaryType: "arraybuffer" });
    expect(server.sockets[0]!.protocols).toEqual(["jade.v1", "jade.bearer.azE"]);
  });

  it("gives values back byte-identical in the raw variants", async () => {
    const { client } = setUp();
    const json = '{"b":9007199254740993,"a":1.0,"e":"\\u00e9"}';
    await client.kv.putRaw("k", json);
    expect((await client.kv.getRaw("k")).value).toBe(json);
    expect((await client.kv.get("k")).value).toEqual({ b: 9007199254740992, a: 1, e: "é" });
  });

  it("gives siblings of a conflict, a delete among them as undefined", async () => {
    const { server, client } = setUp();
    const value = new TextEncoder().encode("2");
    server.answer = ({ id }) => ({
      id,
      kind: "value",
      clock: clockAt(3),
      value,
      siblings: [
        { clock: clockAt(1), value: undefined },
        { clock: clockAt(2), value },
      ],
    });
    const result = await client.kv.get("k");
    expect(result).toMatchObject({ found: true, value: 2, conflict: true });
    expect(result.siblings.map((sibling) => sibling.value)).toEqual([undefined, 2]);
  });

  it("keeps at most maxInFlight unanswered; the rest waits in order", async () => {
    const { server, client } = setUp({ session: { maxInFlight: 2 } });
    const results = await Promise.all(["a", "b", "c", "d", "e"].map((key) => client.kv.put(key, key)));
    expect(results).toHaveLength(5);
    expect(server.messages.map((message) => message.map((request) => request.key))).toEqual([
      ["a", "b"],
      ["c", "d"],
      ["e"],
    ]);
  });

  it("refuses calls beyond maxWaiting with tooManyWaiting", async () => {
    const { client } = setUp({ session: { maxWaiting: 1 } });
    const first = client.kv.get("a");
    await expect(client.kv.get("b")).rejects.toMatchObject({ code: "tooManyWaiting" });
    expect((await first).found).toBe(false);
  });

  it("sends unanswered calls again after a break: same write id, marked as a retry", async () => {
    const { server, runtime, client } = setUp();
    const { answer } = server;
    server.answer = () => undefined;
    const put = client.kv.put("a", 1);
    const get = client.kv.get("a");
    await settle();
    server.answer = answer;
    server.sockets[0]!.drop();
    await runtime.advance(1000);
    await Promise.all([put, get]);
    const [first, , second, read] = server.messages.flat();
    expect(first).toMatchObject({ isRetry: false });
    expect(second).toMatchObject({ isRetry: true, writeId: first!.writeId });
    expect(read).toMatchObject({ op: "get", isRetry: false });
  });

  it("retries a retryable error with backoff and gives others at once", async () => {
    const { server, runtime, client } = setUp();
    let tries = 0;
    server.answer = ({ id }) =>
      ++tries < 3
        ? { id, kind: "error", code: "overloaded", message: "busy" }
        : { id, kind: "written", clock: clockAt(1) };
    const put = client.kv.put("a", 1);
    await runtime.advance(1000);
    expect(await put).toMatchObject({ key: "a" });
    expect(tries).toBe(3);
    server.answer = ({ id }) => ({
      id,
      kind: "error",
      code: "forbidden",
      message: "no",
      details: { requiredScope: "read-write" },
    });
    await expect(client.kv.put("a", 1)).rejects.toMatchObject({
      code: "forbidden",
      category: "access",
      details: { requiredScope: "read-write" },
    });
  });

  it("waits as long as a rate limit says before it sends an operation again", async () => {
    const { server, runtime, client } = setUp();
    const { answer } = server;
    const details = { limitOf: "tenant", requestsPerSecond: 1, burst: 1, retryAfterSeconds: 3 };
    server.answer = ({ id }) => ({ id, kind: "error", code: "rateLimited", message: "slower", details });
    const put = client.kv.put("a", 1);
    await runtime.advance(500);
    server.answer = answer;
    await runtime.advance(2400);
    expect(server.messages.flat()).toHaveLength(1);
    await runtime.advance(700);
    expect(await put).toMatchObject({ key: "a" });
    expect(server.messages.flat()).toHaveLength(2);
  });

  it("ends a write that was never answered as unknownOutcome with its write id, a read as timedOut", async () => {
    const { server, runtime, client } = setUp({ timeoutMs: 500 });
    server.answer = () => undefined;
    const put = later(client.kv.put("a", 1, { writeId: "00112233445566778899aabbccddeeff" }));
    const get = later(client.kv.get("a"));
    // Hashing takes real time: before both are on their way there is no timer to run.
    await vi.waitFor(() => expect(server.messages.flat()).toHaveLength(2));
    await runtime.advance(1000);
    expect(await put).toMatchObject({ code: "unknownOutcome", writeId: "00112233445566778899aabbccddeeff" });
    expect(await get).toMatchObject({ code: "timedOut", retryable: true });
  });

  it("does not call a write uncertain when every attempt was refused before anything was done", async () => {
    const { server, runtime, client } = setUp({ retries: { attempts: 2 } });
    server.answer = ({ id }) => ({ id, kind: "error", code: "quorumUnavailable", message: "too few" });
    const put = later(client.kv.put("a", 1));
    await runtime.advance(2000);
    expect(await put).toMatchObject({ code: "quorumUnavailable" });
  });

  it("marks a write with the user's own write id as a retry unless told that it is fresh", async () => {
    const { server, client } = setUp();
    const writeId = "f".repeat(32);
    await client.kv.put("a", 1, { writeId });
    await client.kv.put("a", 1, { writeId, mayHaveBeenSent: false });
    expect(server.messages.flat().map((request) => request.isRetry)).toEqual([true, false]);
  });

  it("rejects with the signal's reason on abort, before and after sending", async () => {
    const { server, client } = setUp();
    server.answer = () => undefined;
    await expect(client.kv.get("a", { signal: AbortSignal.abort("stop") })).rejects.toBe("stop");
    const controller = new AbortController();
    const get = client.kv.get("a", { signal: controller.signal });
    await settle();
    controller.abort("enough");
    await expect(get).rejects.toBe("enough");
  });

  it("tells why a session does not open: the answer of the same path over HTTP", async () => {
    const { fetch } = fakeFetch([[401, failure("unauthenticated")]]);
    const { server, runtime, client } = setUp({ fetch });
    server.accepts = false;
    const get = later(client.kv.get("a"));
    await runtime.advance(100);
    expect(await get).toMatchObject({ code: "unauthenticated" });
  });

  it("gives up opening after its attempts and works again when the server is back", async () => {
    const { server, runtime, client } = setUp({ retries: { attempts: 3 } });
    server.accepts = false;
    const get = later(client.kv.get("a"));
    await runtime.advance(5000);
    expect(await get).toMatchObject({ code: "networkFailure" });
    expect(server.sockets).toHaveLength(3);
    server.accepts = true;
    const again = client.kv.get("a");
    await runtime.advance(1000);
    expect((await again).found).toBe(false);
  });

  it("replaces a connection that answers no ping", async () => {
    const { server, runtime, client } = setUp();
    await client.kv.get("a");
    const { answer } = server;
    server.answer = () => undefined;
    await runtime.advance(31_000);
    expect(server.sockets[0]!.isClosed).toBe(true);
    server.answer = answer;
    const get = client.kv.get("a");
    await runtime.advance(1000);
    expect((await get).found).toBe(false);
    expect(server.sockets).toHaveLength(2);
  });

  it("ends everything on close()", async () => {
    const { client } = setUp();
    const get = later(client.kv.get("a"));
    client.close();
    expect(await get).toMatchObject({ code: "clientClosed" });
    await expect(client.kv.get("a")).rejects.toMatchObject({ code: "clientClosed" });
  });

  it("runs a batch in one message and reports each operation on its own", async () => {
    const { server, client } = setUp();
    const { answer } = server;
    server.answer = (request) =>
      request.key === "bad"
        ? { id: request.id, kind: "error", code: "tooManySiblings", message: "33" }
        : answer(request);
    const results = await client.kv.batch([
      { op: "put", key: "a", value: 1 },
      { op: "putRaw", key: "bad", json: "1.0" },
      { op: "get", key: "a" },
    ]);
    expect(results.map((result) => result.ok)).toEqual([true, false, true]);
    expect(results[1]).toMatchObject({ key: "bad", error: { code: "tooManySiblings" } });
    expect(server.messages).toHaveLength(1);
  });
});
