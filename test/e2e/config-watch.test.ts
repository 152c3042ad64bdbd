// Watches of the SDK and the CLI against a real server: resumed over kill -9, compaction, slow readers, caches.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket as WsWebSocket } from "ws";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { type ConfigChange, type ConfigWatch, isCompacted, JadeClient } from "../../src/client/index.ts";

const CLI = join(import.meta.dirname, "../../bin/jade-db.mjs");
let server: RunningServer;
let client: JadeClient;
let apiKey = "";
const RETRIES = { attempts: 100, baseMs: 20, maxMs: 200 };

beforeAll(async () => {
  server = await startServer();
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "watch" }));
  admin.close();
  client = new JadeClient({ url: server.url, apiKey, retries: RETRIES, timeoutMs: 60_000 });
});

afterAll(async () => {
  client?.close();
  await server?.dispose();
});

/** Reads in the background: `revision key` of every event. */
function reading(watch: ConfigWatch): { readonly lines: string[]; readonly done: Promise<unknown> } {
  const lines: string[] = [];
  const done = (async () => {
    for await (const { revision, events } of watch)
      for (const { type, key } of events) lines.push(`${revision} ${type} ${String(key)}`);
  })().catch((error: unknown) => error);
  return { lines, done };
}

async function take(watch: ConfigWatch, count: number): Promise<readonly ConfigChange[]> {
  const changes: ConfigChange[] = [];
  while (changes.length < count) {
    const { value, done } = await watch.next();
    if (done) break;
    changes.push(value);
  }
  return changes;
}

describe("client.config.watch", () => {
  it("[CF-49] tells puts and deletions of a key, a prefix and a range, with what was before", async () => {
    const config = client.config.namespace("kinds");
    await config.put("a/1", { n: 1 });
    const key = config.watch("a/1", { prevKv: true });
    const prefix = config.watch({ prefix: "a/" }, { startRevision: 2 });
    const range = config.watch({ start: "a/2", end: "a/9" }, { as: "bytes", noDelete: true });
    expect(await key.started).toBe(2);
    await range.started;
    await config.put("a/1", { n: 2 });
    await config.put("a/3", "x");
    await config.deleteRange({ prefix: "a/" });
    expect(await take(key, 2)).toMatchObject([
      {
        revision: 3,
        events: [{ type: "put", key: "a/1", entry: { value: { n: 2 }, version: 2 }, prevKv: { value: { n: 1 } } }],
      },
      { revision: 5, events: [{ type: "delete", key: "a/1", prevKv: { value: { n: 2 } } }] },
    ]);
    expect((await take(prefix, 4)).map(({ revision, events }) => [revision, events.length])).toEqual([
      ...[
        [2, 1],
        [3, 1],
        [4, 1],
        [5, 2],
      ],
    ]);
    const [change] = await take(range, 1);
    expect(change).toMatchObject({ revision: 4, events: [{ entry: { value: new TextEncoder().encode('"x"') } }] });
    for (const watch of [key, prefix, range]) watch.close();
    expect(await key.next()).toEqual({ done: true, value: undefined });
  });

  it("[CL-133] [CF-49] a server that is stopped says so to watches and sessions, and ends by itself; they go on without a gap or a repetition", async () => {
    const config = client.config.namespace("stopped");
    const watch = config.watch({ prefix: "" });
    const reader = reading(watch);
    await watch.started;
    const session = new JadeClient({
      url: server.url,
      apiKey,
      transport: "session",
      retries: RETRIES,
      timeoutMs: 60_000,
    });
    const bare = new WsWebSocket(`${server.url.replace("http", "ws")}/v1/config/watch?prefix=&namespace=stopped`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    const closed = once(bare, "close");
    await once(bare, "open");
    const headers = { authorization: `Bearer ${apiKey}`, accept: "text/event-stream" };
    const events = await fetch(`${server.url}/v1/config/watch?prefix=&namespace=stopped`, { headers });
    const eventTexts = events.text();
    const acknowledged: string[] = [];
    let isOver = false;
    const writing = (async () => {
      for (let i = 0; !isOver; i++) {
        const { revision } = await config.put(`k/${i % 20}`, i);
        acknowledged.push(`${revision} put k/${i % 20}`);
      }
    })();
    let stored = 0;
    const storing = (async () => {
      for (; !isOver; stored++) await session.kv.put("stopped", stored);
    })();
    await vi.waitFor(() => expect(Math.min(acknowledged.length, stored)).toBeGreaterThan(20), 20_000);
    await server.stop();
    const [before, storedBefore] = [acknowledged.length, stored];
    const { dataDir, port, rootKey, logPath } = server;
    expect(readFileSync(logPath, "utf8")).not.toContain("does not stop");
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([1012, "goingAway: this server stops; retryAfterMs=200"]);
    expect(await eventTexts).toMatch(/retry: [0-9]+\n\n$/);
    server = await startServer({ dataDir, port, rootKey });
    await vi.waitFor(() => expect(acknowledged.length - before).toBeGreaterThan(20), 20_000);
    await vi.waitFor(() => expect(stored - storedBefore).toBeGreaterThan(20), 20_000);
    isOver = true;
    await Promise.all([writing, storing]);
    expect((await session.kv.get("stopped")).value).toBe(stored - 1);
    session.close();
    await vi.waitFor(() => expect(reader.lines).toContain(acknowledged.at(-1)!), 20_000);
    const revisions = reader.lines.map((line) => Number(line.split(" ")[0]));
    expect(revisions).toEqual(revisions.map((_, index) => index + 2));
    expect(acknowledged.filter((line) => !reader.lines.includes(line))).toEqual([]);
    watch.close();
  });

  it("[CF-49] goes on over kill -9 of the server under writes, without a gap or a repetition", async () => {
    const config = client.config.namespace("killed");
    const watches = [{ prefix: "" }, { prefix: "k/1" }, "k/7"].map((range) => config.watch(range));
    const readers = watches.map(reading);
    await Promise.all(watches.map(({ started }) => started));
    const acknowledged: string[] = [];
    let isOver = false;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = writer; !isOver; i += 4) {
        const key = `k/${i % 20}`;
        const { revision } = await config.put(key, i);
        acknowledged.push(`${revision} put ${key}`);
      }
    });
    for (let kills = 0; kills < 3; kills++) {
      await new Promise((resolve) => setTimeout(resolve, 700));
      await server.kill9();
      const { dataDir, port, rootKey } = server;
      server = await startServer({ dataDir, port, rootKey });
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    isOver = true;
    await Promise.all(writers);
    const { revision } = await config.put("k/7", "last");
    await vi.waitFor(() => expect(readers[2]!.lines.at(-1)).toBe(`${revision} put k/7`), 20_000);
    await vi.waitFor(() => expect(readers[0]!.lines.at(-1)).toBe(`${revision} put k/7`), 20_000);
    const all = readers[0]!.lines;
    const revisions = all.map((line) => Number(line.split(" ")[0]));
    // Each write is a revision of its own, so they come one by one from the first on.
    expect(revisions).toEqual(revisions.map((_, index) => index + 2));
    const told = new Set(all);
    expect(acknowledged.filter((line) => !told.has(line))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(100);
    expect(readers[2]!.lines).toEqual(all.filter((line) => line.endsWith(" k/7")));
    await vi.waitFor(() => expect(readers[1]!.lines).toEqual(all.filter((line) => / k\/1/.test(line))), 20_000);
    for (const watch of watches) watch.close();
  });

  it("[CF-43] a watch from a compacted revision ends with what can be watched", async () => {
    const config = client.config.namespace("compacted");
    for (let i = 0; i < 4; i++) await config.put("a", i);
    await config.compact(4);
    const error = await config
      .watch("a", { startRevision: 2 })
      .next()
      .catch((reason: unknown) => reason);
    expect(isCompacted(error) && error.details).toEqual({ compactedRevision: 4 });
  });

  it("[CF-49] a reader that is slow gets everything, and holds up no other on its connection", async () => {
    const config = client.config.namespace("slow");
    const slow = config.watch("a");
    const quick = config.watch("a");
    await Promise.all([slow.started, quick.started]);
    const { lines } = reading(quick);
    const count = 60;
    for (let i = 0; i < count; i++) await config.put("a", "x".repeat(400_000));
    await vi.waitFor(() => expect(lines.length).toBe(count), 20_000);
    const changes = await take(slow, count);
    expect(changes.map(({ revision }) => revision)).toEqual(Array.from({ length: count }, (_, i) => i + 2));
    slow.close();
    quick.close();
  });

  it("[CF-47] ends with its key; an abort ends it too", async () => {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey: own, keyId } = await admin.tenants.keys.create("watch", { scope: "read-only" });
    const reader = new JadeClient({ url: server.url, apiKey: own, WebSocket: WsWebSocket });
    const watch = reader.config.watch({ prefix: "" });
    const controller = new AbortController();
    const aborted = reader.config.watch({ prefix: "" }, { signal: controller.signal });
    await watch.started;
    controller.abort(new Error("enough"));
    await expect(aborted.next()).rejects.toThrow("enough");
    await admin.tenants.keys.revoke("watch", keyId);
    await expect(watch.next()).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(reader.config.watch("a").next()).rejects.toMatchObject({ code: "unauthenticated" });
    reader.close();
    admin.close();
  });
});

it("connections are not compressed: that would cost four times the memory", async () => {
  const headers = { authorization: `Bearer ${apiKey}` };
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/config/watch`, { headers } as never);
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  expect(socket.extensions).toBe("");
  socket.close();
});

describe("client.config.cached", () => {
  it("[CF-50] shows the range as of one revision, follows it, and outlives a compaction", async () => {
    const config = client.config.namespace("cached");
    for (let i = 0; i < 3; i++) await config.put(`flags/${i}`, i);
    const cache = await config.cached<number>({ prefix: "flags/" });
    expect([...cache.entries()].map(({ value }) => value)).toEqual([0, 1, 2]);
    await config.delete("flags/0");
    const { revision } = await config.put("flags/1", 10);
    await cache.atLeast(revision);
    expect(cache.get("flags/0")).toBeUndefined();
    expect(cache.get("flags/1")).toMatchObject({ value: 10, version: 2 });
    expect(cache.size).toBe(2);
    cache.close();
  });
});

describe("jade-db config watch", () => {
  it("[CF-49] prints one JSON line a revision, also where the running Node has no WebSocket", async () => {
    const config = client.config.namespace("cli");
    await config.put("a/1", 1);
    const env = { ...process.env, JADE_URL: server.url, JADE_API_KEY: apiKey };
    const args = [CLI, "config", "-n", "cli", "watch", "a/", "--prefix", "--rev", "2", "--prev-kv", "--count", "2"];
    // As on Node 20: the command starts the package's own Node.
    const child = spawn(process.execPath, ["--no-experimental-websocket", ...args], { env });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.stderr.on("data", (chunk) => {
      output += chunk;
    });
    await vi.waitFor(() => expect(output).toContain("\n"), 20_000);
    await config.put("a/1", 9007199254740993n.toString());
    const code = await new Promise((resolve) => child.once("exit", resolve));
    expect(code, output).toBe(0);
    const lines = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { revision: 2, events: [{ type: "put", key: "a/1", value: 1 }] },
      { revision: 3, events: [{ key: "a/1", value: "9007199254740993", version: 2, prevKv: { value: 1 } }] },
    ]);
  });
});
