// The SDK against a real server, both transports by the same tests.
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket as WsWebSocket } from "ws";
import { type RunningServer, startServer, temporaryDirectory } from "../../scripts/lib/server-process.mjs";
import { isAccessDenied, isConflict, isNotFound, JadeClient } from "../../src/client/index.ts";

let server: RunningServer;
let admin: JadeClient;
let apiKey: string;

beforeAll(async () => {
  server = await startServer();
  admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "sdk", replicationFactor: 3 }));
});

afterAll(async () => {
  admin?.close();
  await server?.dispose();
});

describe.each(["http", "session"] as const)("kv over %s", (transport) => {
  let client: JadeClient;
  beforeAll(() => {
    client = new JadeClient({ url: server.url, apiKey, transport });
  });
  afterAll(() => client.close());

  it("stores, reads, deletes, and keeps the context of a delete", async () => {
    const key = `${transport}/user/1`;
    const written = await client.kv.put(key, { name: "Ada", tags: ["x", null] });
    const read = await client.kv.get<{ name: string }>(key);
    expect(read).toMatchObject({ found: true, value: { name: "Ada", tags: ["x", null] }, conflict: false });
    expect(read.vectorClock).toEqual(written.vectorClock);
    await client.kv.delete(key, { clock: read.vectorClock });
    const gone = await client.kv.get(key);
    expect(gone).toMatchObject({ found: false, value: undefined });
    expect(Object.keys(gone.vectorClock).length).toBeGreaterThan(0);
    await client.kv.put(key, 2, { clock: gone.vectorClock });
    expect(await client.kv.get(key)).toMatchObject({ value: 2, conflict: false });
  });

  it("gives exact JSON texts back", async () => {
    const json = '{"b":9007199254740993,"a":1.0,"e":"\\u00e9 ü","s":[ 1,2 ]}';
    await client.kv.putRaw(`${transport}/raw`, json);
    expect((await client.kv.getRaw(`${transport}/raw`)).value).toBe(json);
  });

  it("shows concurrent writes as siblings and lets a write with their context resolve them", async () => {
    const key = `${transport}/conflict`;
    const first = await client.kv.put(key, 0);
    await client.kv.put(key, "a", { clock: first.vectorClock });
    await client.kv.put(key, "b", { clock: first.vectorClock });
    const both = await client.kv.get(key);
    expect(both.conflict).toBe(true);
    expect(both.siblings.map((sibling) => sibling.value).sort()).toEqual(["a", "b"]);
    await client.kv.put(key, "ab", { clock: both.vectorClock });
    expect(await client.kv.get(key)).toMatchObject({ value: "ab", conflict: false });
  });

  it("applies a write id once and gives the first answer again", async () => {
    const key = `${transport}/once`;
    const writeId = crypto.randomUUID().replaceAll("-", "");
    const first = await client.kv.put(key, 1, { writeId, mayHaveBeenSent: false });
    await client.kv.put(key, 2);
    expect(await client.kv.put(key, 1, { writeId })).toEqual(first);
    expect((await client.kv.get(key)).value).toBe(2);
  });

  it("runs batches, each operation on its own", async () => {
    const results = await client.kv.batch([
      { op: "put", key: `${transport}/b1`, value: 1 },
      { op: "putRaw", key: `${transport}/b2`, json: "1.50" },
      { op: "get", key: `${transport}/nothing` },
      { op: "delete", key: `${transport}/b3` },
    ]);
    expect(results.map((result) => [result.op, result.ok])).toEqual([
      ["put", true],
      ["put", true],
      ["get", true],
      ["delete", true],
    ]);
    expect(results[2]).toMatchObject({ result: { found: false } });
    expect((await client.kv.getRaw(`${transport}/b2`)).value).toBe("1.50");
  });

  it("takes values up to 1 MiB and keys with any character", async () => {
    const key = `${transport}/ü 🙂"\\&?=%2F`;
    const value = "x".repeat(1024 * 1024 - 2);
    await client.kv.put(key, value);
    expect((await client.kv.get(key)).value).toBe(value);
    await expect(client.kv.put(key, `${value}y`)).rejects.toMatchObject({ code: "payloadTooLarge" });
  });

  it("says so when the key is wrong", async () => {
    const stranger = new JadeClient({ url: server.url, apiKey: "jdb.nobody.x", transport });
    const error = await stranger.kv.get("a").catch((reason: unknown) => reason);
    expect(isAccessDenied(error)).toBe(true);
    stranger.close();
  });
});

describe("session", () => {
  it("works with the package ws, the key as a subprotocol", async () => {
    const client = new JadeClient({ url: server.url, apiKey, transport: "session", WebSocket: WsWebSocket });
    await client.kv.put("ws", 1);
    expect((await client.kv.get("ws")).value).toBe(1);
    client.close();
  });

  it("answers thousands of calls of one turn, each with its own", async () => {
    const client = new JadeClient({ url: server.url, apiKey, transport: "session" });
    const keys = Array.from({ length: 3000 }, (_, index) => `many/${index}`);
    await Promise.all(keys.map((key, index) => client.kv.put(key, index)));
    const values = await Promise.all(keys.map(async (key) => (await client.kv.get(key)).value));
    expect(values).toEqual(keys.map((_, index) => index));
    client.close();
  });

  it("rides through a kill -9 of the server: every write ends acknowledged and applied once", async () => {
    const dataDir = await temporaryDirectory("e2e");
    const first = await startServer({ dataDir });
    const owner = new JadeClient({ url: first.url, apiKey: first.rootKey });
    const { apiKey: key } = await owner.tenants.create({ tenantId: "crash", replicationFactor: 3 });
    owner.close();
    const client = new JadeClient({
      url: first.url,
      apiKey: key,
      transport: "session",
      retries: { attempts: 50 },
      timeoutMs: 60_000,
    });
    let stored = 0;
    const put = async (index: number) => {
      await client.kv.put(`k${index}`, index);
      if (++stored === 100) void first.kill9();
    };
    const writes = Promise.all(
      Array.from({ length: 400 }, (_, index) => new Promise((r) => setTimeout(r, index)).then(() => put(index))),
    );
    while (stored < 100) await new Promise((resolve) => setTimeout(resolve, 5));
    await first.kill9();
    const second = await startServer({ dataDir, port: first.port, rootKey: first.rootKey });
    await writes;
    const read = await Promise.all(Array.from({ length: 400 }, (_, index) => client.kv.get(`k${index}`)));
    expect(read.every((result, index) => result.value === index && !result.conflict)).toBe(true);
    client.close();
    await second.dispose();
    rmSync(dataDir, { recursive: true, force: true });
    rmSync(second.logPath, { force: true });
  });
});

describe("tenants", () => {
  it("creates, lists, changes and deletes tenants and their keys", async () => {
    await admin.tenants.create({ tenantId: "t1", replicationFactor: 1, conflictPolicy: "lastWriteWins" });
    expect(await admin.tenants.get("t1")).toMatchObject({ replicationFactor: 1, conflictPolicy: "lastWriteWins" });
    expect(await admin.tenants.update("t1", { defaultConsistency: "one" })).toMatchObject({
      defaultConsistency: "one",
    });
    const ids: string[] = [];
    for await (const tenant of admin.tenants.list({ limit: 1 })) ids.push(tenant.tenantId);
    expect(ids).toEqual(expect.arrayContaining(["sdk", "t1"]));
    const key = await admin.tenants.keys.create("t1", { name: "reader", scope: "read-only" });
    const reader = new JadeClient({ url: server.url, apiKey: key.apiKey });
    expect((await reader.kv.get("x")).found).toBe(false);
    await expect(reader.kv.put("x", 1)).rejects.toMatchObject({ code: "forbidden" });
    await admin.tenants.keys.revoke("t1", key.keyId);
    await admin.tenants.delete("t1");
    expect(isNotFound(await admin.tenants.get("t1").catch((error: unknown) => error))).toBe(true);
    expect(isConflict(await admin.tenants.create({ tenantId: "sdk" }).catch((error: unknown) => error))).toBe(true);
  });

  it("tells health, readiness and status", async () => {
    expect(await admin.health()).toBe(true);
    expect(await admin.ready()).toMatchObject({ ready: true });
    expect(await admin.status()).toBeTypeOf("object");
  });

  it("exports every key of a tenant with its exact text", async () => {
    const { apiKey: key } = await admin.tenants.create({ tenantId: "exported", replicationFactor: 3 });
    const client = new JadeClient({ url: server.url, apiKey: key, transport: "session" });
    await Promise.all(Array.from({ length: 250 }, (_, index) => client.kv.putRaw(`k${index}`, `${index}.0`)));
    const entries = new Map<string, string>();
    for await (const { key: name, json } of client.kv.export({ limit: 60 })) entries.set(name, json);
    expect(entries.size).toBe(250);
    expect(entries.get("k7")).toBe("7.0");
    client.close();
  });
});
