// Watches as clients have them: through the gateway, over WebSocket and server-sent events; hibernation, restarts, credentials.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { prefixRange } from "../../src/wire/config-keys.ts";
import { call, callAll, putOf } from "./config-support.ts";
import { ask, newKey, newTenant, ROOT_KEY } from "./gateway-support.ts";
import { keyspaceOf, type Watcher, watcher } from "./watch-support.ts";

const ALL = prefixRange("");

async function setup() {
  const { tenantId, key } = await newTenant();
  return { tenantId, key, stub: await keyspaceOf(tenantId) };
}

const created = ({ messages }: Watcher, count: number): Promise<void> =>
  vi.waitFor(() => expect(messages.filter(({ kind }) => kind === "created").length).toBe(count));

const has = (watching: Watcher, events: readonly string[], watchId = 0): Promise<void> =>
  vi.waitFor(() => expect(watching.events(watchId)).toEqual(events));

describe("a watch connection", () => {
  it("[CF-40][CF-41] carries many watches: of keys, prefixes and ranges, from the past and from now on", async () => {
    const { key, stub } = await setup();
    await callAll(stub, [{ request: putOf("a") }, { request: putOf("b/1") }]);
    const watching = await watcher(key);
    watching.stream.create({ key: "a", rangeEnd: "", startRevision: 2 });
    watching.stream.create({ ...prefixRange("b/") });
    watching.stream.create({ key: "b", rangeEnd: "d", watchId: 9 });
    await created(watching, 3);
    await call(stub, putOf("c"));
    await call(stub, { kind: "deleteRange", ...ALL });
    await has(watching, ["2 put a", "5 delete a"]);
    await has(watching, ["5 delete b/1"], 1);
    await has(watching, ["4 put c", "5 delete b/1", "5 delete c"], 9);
    const status = await call(stub, { kind: "status" });
    expect(status).toMatchObject({ watches: 3 });
    watching.stream.cancel(1);
    await vi.waitFor(() => expect(watching.messages.at(-1)).toMatchObject({ kind: "canceled", watchId: 1 }));
    const closingMs = Date.now();
    watching.socket.close(1000);
    await watching.closed;
    expect(Date.now() - closingMs).toBeLessThan(3000);
    await vi.waitFor(async () => expect(await call(stub, { kind: "status" })).toMatchObject({ watches: 0 }));
  });

  it("[CF-41] goes on after hibernation with no gap and no repetition, canceled watches stay canceled", async () => {
    const { key, stub } = await setup();
    const watching = await watcher(key);
    watching.stream.createAll([ALL, ALL, { ...ALL, startRevision: 5 }]);
    watching.stream.cancel(1);
    await created(watching, 3);
    await call(stub, putOf("a"));
    await has(watching, ["2 put a"]);
    for (let round = 0; round < 3; round++) {
      await evictDurableObject(stub);
      await call(stub, putOf(`r${round}`));
    }
    await has(watching, ["2 put a", "3 put r0", "4 put r1", "5 put r2"]);
    await has(watching, [], 1);
    await has(watching, ["5 put r2"], 2);
    watching.stream.create(ALL);
    await vi.waitFor(() => expect(watching.messages.at(-1)).toMatchObject({ kind: "created", watchId: 3 }));
  });

  it("[CF-41] a client that was cut off gets the rest from the revision it asks for, from an owner without memory of it", async () => {
    const { key, stub } = await setup();
    const first = await watcher(key);
    first.stream.create(ALL);
    await created(first, 1);
    await call(stub, putOf("a"));
    await has(first, ["2 put a"]);
    await evictDurableObject(stub, { webSockets: "close" });
    await callAll(
      stub,
      Array.from({ length: 700 }, (_, i) => ({ request: putOf(`k${i}`, "v".repeat(600)) })),
    );
    await evictDurableObject(stub);
    const second = await watcher(key);
    second.stream.create({ ...ALL, startRevision: 3 });
    await has(
      second,
      Array.from({ length: 700 }, (_, i) => `${i + 3} put k${i}`),
    );
    const rows = await runInDurableObject(stub, (_, { storage }) =>
      storage.sql.exec("SELECT count(*) AS n FROM config_watches").one(),
    );
    expect(rows).toEqual({ n: 1 });
  });

  it("[CF-43] is told what is compacted", async () => {
    const { key, stub } = await setup();
    for (const name of ["a", "b", "c"]) await call(stub, putOf(name));
    await call(stub, { kind: "compact", revision: 4 });
    const watching = await watcher(key);
    watching.stream.create({ ...ALL, startRevision: 2 });
    await vi.waitFor(() => expect(watching.messages.map(({ kind }) => kind)).toEqual(["created", "canceled"]));
    expect(watching.messages[1]).toMatchObject({ compactRevision: 4 });
  });

  it("a frame that is not of the protocol closes the connection, and nothing else", async () => {
    const { key, stub } = await setup();
    const [broken, whole] = [await watcher(key), await watcher(key)];
    whole.stream.create(ALL);
    await created(whole, 1);
    broken.socket.send(new Uint8Array([99, 1, 2]));
    expect((await broken.closed).code).toBe(1007);
    await call(stub, putOf("a"));
    await has(whole, ["2 put a"]);
  });

  it("[CF-47] ends with its key within five seconds; so do those of a deleted tenant", async () => {
    const { tenantId, key, stub } = await setup();
    const other = await newKey(tenantId, {});
    const [revoked, kept] = [await watcher(other), await watcher(key)];
    for (const watching of [revoked, kept]) {
      watching.stream.create(prefixRange("a"));
      await created(watching, 1);
    }
    const startMs = Date.now();
    await ask("DELETE", `/v1/tenants/${tenantId}/keys/${other.split(".")[2]}`, { key: ROOT_KEY });
    // A keyspace that nobody writes to falls asleep here within a second, and would look at keys only when it wakes.
    let isOpen = true;
    const writing = (async () => {
      while (isOpen) await call(stub, putOf("elsewhere"));
    })();
    expect((await revoked.closed).code).toBe(1008);
    isOpen = false;
    await writing;
    expect(Date.now() - startMs).toBeLessThan(5000);
    await call(stub, putOf("a"));
    await vi.waitFor(() => expect(kept.events()).toMatchObject([expect.stringMatching(/ put a$/)]));
    expect(revoked.events()).toEqual([]);
    await ask("DELETE", `/v1/tenants/${tenantId}`, { key: ROOT_KEY });
    expect((await kept.closed).code).toBe(1008);
  });

  it("[CF-47] whose key was revoked while the keyspace slept hears of nothing", async () => {
    const { tenantId, stub } = await setup();
    const key = await newKey(tenantId, {});
    const watching = await watcher(key);
    watching.stream.create(ALL);
    await vi.waitFor(() => expect(watching.messages.length).toBe(1));
    await evictDurableObject(stub);
    await ask("DELETE", `/v1/tenants/${tenantId}/keys/${key.split(".")[2]}`, { key: ROOT_KEY });
    await call(stub, putOf("secret"));
    expect((await watching.closed).code).toBe(1008);
    expect(watching.events()).toEqual([]);
  });
});

describe("one watch over plain WebSocket and server-sent events", () => {
  it("[CF-48] as JSON messages, with a watch from the query", async () => {
    const { key, stub } = await setup();
    await call(stub, putOf("a", '{"limit":1}'));
    const response = await exports.default.fetch("http://jade.test/v1/config/watch?key=a&startRevision=2&prevKv=true", {
      headers: { upgrade: "websocket", authorization: `Bearer ${key}` },
    });
    expect(response.status).toBe(101);
    const socket = response.webSocket!;
    const messages: Record<string, unknown>[] = [];
    socket.accept();
    socket.addEventListener("message", ({ data }) => messages.push(JSON.parse(data as string)));
    await call(stub, putOf("a", '{"limit":2}'));
    await vi.waitFor(() => expect(messages.length).toBe(3));
    expect(messages[0]).toMatchObject({ type: "created", watchId: 0 });
    expect(messages[2]).toMatchObject({
      type: "events",
      watchId: 0,
      revision: 3,
      events: [{ type: "put", kv: { key: "a", value: { limit: 2 }, version: 2 }, prevKv: { value: { limit: 1 } } }],
    });
    socket.send(JSON.stringify({ create: { prefix: "b/", watchId: 5 } }));
    await vi.waitFor(() => expect(messages.length).toBe(4));
    await call(stub, putOf("b/1", "\x00"));
    await vi.waitFor(() => expect(messages.length).toBe(5));
    expect(messages[4]).toMatchObject({ watchId: 5, events: [{ kv: { key: "b/1", valueEncoding: "base64" } }] });
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
    socket.send('{"create":{"prefix":"b/","colour":1}}');
    expect((await closed).reason).toContain("create.colour is unknown");
  });

  it("[CF-48] as server-sent events that are resumed by Last-Event-ID, and go on when the owner restarts", async () => {
    const { key, stub } = await setup();
    const open = (headers: Record<string, string> = {}) =>
      exports.default.fetch("http://jade.test/v1/config/watch?prefix=", {
        headers: { accept: "text/event-stream", authorization: `Bearer ${key}`, ...headers },
      });
    const response = await open();
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const first = readEvents(response);
    await vi.waitFor(() => expect(first.lines.length).toBe(1));
    await call(stub, putOf("a"));
    await vi.waitFor(() => expect(first.lines).toEqual(["1 created", "2 events"]));
    await evictDurableObject(stub, { webSockets: "close" });
    await call(stub, putOf("b"));
    await vi.waitFor(() => expect(first.lines).toEqual(["1 created", "2 events", "3 events"]), 5000);
    await first.cancel();
    await call(stub, putOf("c"));
    const second = readEvents(await open({ "last-event-id": "2" }));
    await vi.waitFor(() => expect(second.lines).toEqual(["2 created", "3 events", "4 events"]));
    await second.cancel();
  });

  it("what is asked wrongly is refused with the field's name", async () => {
    const { key } = await setup();
    const refused = async (query: string, headers: Record<string, string> = {}): Promise<string> => {
      const accept = { accept: "text/event-stream", ...headers };
      const { status, json } = await ask("GET", `/v1/config/watch${query}`, { key, headers: accept });
      return `${status} ${JSON.stringify(json.details ?? json.code)}`;
    };
    expect(await refused("")).toMatch(/^400 .*"path":"key"/);
    expect(await refused("?key=a&prefix=b")).toMatch(/^400 .*"path":"prefix"/);
    expect(await refused("?key=a&startRevision=x")).toMatch(/^400 .*"path":"startRevision"/);
    expect(await refused("?key=a&colour=x")).toMatch(/^400 .*colour/);
    expect(await refused(`?key=${"k".repeat(1025)}`)).toMatch(/^400 .*"limit":1024/);
    expect(await refused("?key=a", { "last-event-id": "x" })).toMatch(/^400 .*Last-Event-ID/);
    expect(await refused("?key=a", { accept: "*/*" })).toMatch(/^426/);
  });
});

/** `id event` of each. */
function readEvents(response: Response) {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const lines: string[] = [];
  void (async () => {
    let text = "";
    for (;;) {
      const { value, done } = await reader.read().catch(() => ({ value: undefined, done: true }));
      if (done) return;
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const [, id, event] = /^id: (\d+)\nevent: (\w+)/.exec(text) ?? [];
        if (id !== undefined) lines.push(`${id} ${event}`);
        text = text.slice(end + 2);
      }
    }
  })();
  return { lines, cancel: () => reader.cancel() };
}
