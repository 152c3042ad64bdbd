// The watch front of a real server: crowds on one connection to it, kills of either side, credentials, slow readers, the past.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import WebSocket from "ws";
import { type ConfigWatch, configOp, JadeClient } from "../../src/client/index.ts";
import { WatchFront } from "../../src/server/watch/front.ts";
import { removeDir, ServeProcess, temporaryDir, workerdPid } from "./serve-process.ts";

const SLOW = { timeout: 60_000, interval: 50 };
const RETRIES = { attempts: 200, baseMs: 20, maxMs: 200 };
const dataDir = temporaryDir();
let server: ServeProcess;
let frontUrl = "";
let admin: JadeClient;
const clients: JadeClient[] = [];

function clientOf(url: string, apiKey: string): JadeClient {
  const client = new JadeClient({ url, apiKey, retries: RETRIES, timeoutMs: 60_000 });
  clients.push(client);
  return client;
}

beforeAll(async () => {
  server = await ServeProcess.ready(dataDir, { args: ["--watch-port", "0", "--watch-fronts", "2"] });
  frontUrl = server.stdout.match(/^watches +ws:(\S+)/m)![1]!;
  frontUrl = `http:${frontUrl}`;
  admin = clientOf(server.url!, server.rootKey!);
});

afterAll(async () => {
  for (const client of clients) client.close();
  await ServeProcess.endAll();
  removeDir(dataDir);
});

let tenants = 0;
async function newTenant() {
  const tenantId = `front-${tenants++}`;
  const { apiKey } = await admin.tenants.create({ tenantId });
  return { tenantId, apiKey, direct: clientOf(server.url!, apiKey), viaFront: clientOf(frontUrl, apiKey) };
}

function reading(watch: ConfigWatch): number[] {
  const revisions: number[] = [];
  void (async () => {
    for await (const { revision } of watch) revisions.push(revision);
  })().catch(() => undefined);
  return revisions;
}

const range = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** The front processes, by what /proc says of their command lines. */
function frontPids(): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const isOurs = (pid: string): boolean => {
    try {
      const environment = readFileSync(join("/proc", pid, "environ"), "utf8");
      const isFront = readFileSync(join("/proc", pid, "cmdline"), "utf8").includes("watch-front");
      return isFront && environment.includes(`"url":"${server.url}"`);
    } catch {
      return false; // it ended
    }
  };
  return pids.filter(isOurs).map(Number);
}

interface Raw {
  readonly socket: WebSocket;
  readonly messages: { readonly type: string; readonly revision?: number; readonly mark?: number }[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
}

/** JSON messages, as a client without our code has them. */
function raw(apiKey: string, query = ""): Promise<Raw> {
  const socket = new WebSocket(`${frontUrl.replace("http", "ws")}/v1/config/watch${query}`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  const messages: Raw["messages"] = [];
  socket.on("message", (data, isBinary) => {
    expect(isBinary).toBe(false);
    const message = JSON.parse(String(data));
    messages.push(message);
    if (message.type === "ping") socket.send(JSON.stringify({ pong: message.mark }));
  });
  const closed = new Promise<Awaited<Raw["closed"]>>((resolve) =>
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  return new Promise((resolve, reject) => {
    socket.on("open", () => resolve({ socket, messages, closed }));
    socket.on("unexpected-response", (_, { statusCode }) => reject(new Error(`refused: ${statusCode}`)));
    socket.on("error", reject);
  });
}

const toldBy = ({ messages }: Raw): number[] =>
  messages.flatMap(({ type, revision }) => (type === "events" ? [revision!] : []));

describe("the watch front", () => {
  it("[CF-180] tells a crowd what the server tells, over one connection a process to it", async () => {
    const { apiKey, direct, viaFront } = await newTenant();
    await direct.config.put("a/1", { n: 1 });
    const crowd = await Promise.all(Array.from({ length: 40 }, () => raw(apiKey, "?prefix=a/&prevKv=true")));
    const watch = viaFront.config.watch({ prefix: "a/" }, { prevKv: true, startRevision: 2 });
    await watch.started;
    await direct.config.put("b", 1);
    await direct.config.put("a/1", { n: 2 });
    await direct.config.delete("a/1");
    await vi.waitFor(() => {
      for (const each of crowd) expect(toldBy(each)).toEqual([4, 5]);
    }, SLOW);
    const second = crowd[7]!.messages.find(({ revision, type }) => type === "events" && revision === 4);
    expect(second).toMatchObject({ events: [{ type: "put", kv: { value: { n: 2 } }, prevKv: { value: { n: 1 } } }] });
    const changes = [await watch.next(), await watch.next(), await watch.next()].map(({ value }) => value.revision);
    expect(changes).toEqual([2, 4, 5]);
    const { connections } = await watchSamples();
    expect(connections).toBeLessThanOrEqual(3);
    for (const { socket } of crowd) socket.terminate();
    watch.close();
  });

  it("[CF-176] begins behind every write that was answered before it was asked for", async () => {
    const { apiKey, direct } = await newTenant();
    const watching = await raw(apiKey);
    const all = await raw(apiKey, "?prefix=");
    // So large that the front has it later than its writer has the answer.
    const large = "x".repeat(1_000_000);
    for (let id = 0; id < 3; id++) {
      const keys = Array.from({ length: 7 }, (_, index) => configOp.put(`a/${index}`, large));
      const { revision } = await direct.config
        .txn()
        .onSuccess(...keys)
        .commit();
      watching.socket.send(JSON.stringify({ create: { key: "b", watchId: id } }));
      const isCreated = ({ type, watchId }: { type: string; watchId?: number }): boolean =>
        type === "created" && watchId === id;
      await vi.waitFor(() => expect(watching.messages.some(isCreated)).toBe(true), SLOW);
      expect(watching.messages.find(isCreated)!.revision).toBeGreaterThanOrEqual(revision);
    }
    watching.socket.terminate();
    all.socket.terminate();
  });

  it("[CF-181] keeps its clients when the server is killed, and they hear of every revision once", async () => {
    const { apiKey, direct } = await newTenant();
    // Not from now on: a write that is answered before the watch is may be before it.
    const watching = await raw(apiKey, "?prefix=&startRevision=2");
    const revisions = reading(clientOf(frontUrl, apiKey).config.watch({ prefix: "" }, { startRevision: 2 }));
    for (let index = 0; index < 60; index++) {
      if (index === 20) process.kill(workerdPid(dataDir), "SIGKILL");
      if (index === 40) for (const pid of frontPids().slice(0, 1)) process.kill(pid, "SIGKILL");
      await direct.config.put(`k${index % 7}`, index);
    }
    const { revision: last } = await direct.config.put("end", 1);
    await vi.waitFor(() => expect(revisions.at(-1)).toBe(last), SLOW);
    expect(revisions).toEqual(range(2, last));
    // Over the server's end; where its front was the one that was killed, up to then.
    const told = toldBy(watching);
    expect(told).toEqual(range(2, told.at(-1)!));
    expect(told.length).toBeGreaterThan(20);
    await vi.waitFor(() => expect(frontPids()).toHaveLength(2), SLOW);
    expect(server.stderr).toContain("a watch front ended (SIGKILL)");
  });

  it("[CF-182] lets in whom the server lets in, keeps tenants apart, and ends with the key within five seconds", async () => {
    const [one, other] = [await newTenant(), await newTenant()];
    await expect(raw(`${one.apiKey.slice(0, -1)}_`, "?prefix=")).rejects.toThrow("refused: 401");
    await expect(raw(one.apiKey, "?prefix=&namespace=no%20name")).rejects.toThrow("refused: 400");
    await expect(raw(one.apiKey, "?prefix=&startRevision=x")).rejects.toThrow("refused: 400");
    const second = await admin.tenants.keys.create(one.tenantId, {});
    const [mine, theirs, ending] = await Promise.all([
      raw(one.apiKey, "?prefix="),
      raw(other.apiKey, "?prefix="),
      raw(second.apiKey, "?prefix="),
    ]);
    await vi.waitFor(() => {
      for (const { messages } of [mine, theirs, ending]) expect(messages[0]).toMatchObject({ type: "created" });
    }, SLOW);
    await one.direct.config.put("a", "mine");
    await other.direct.config.put("a", "theirs");
    await vi.waitFor(() => {
      for (const each of [mine, theirs, ending]) expect(toldBy(each)).toEqual([2]);
    }, SLOW);
    expect(JSON.stringify(mine.messages)).not.toContain("theirs");
    expect(JSON.stringify(theirs.messages)).not.toContain("mine");
    const beganMs = performance.now();
    await admin.tenants.keys.revoke(one.tenantId, second.keyId);
    expect((await ending.closed).code).toBe(1008);
    expect(performance.now() - beganMs).toBeLessThan(5000);
    await one.direct.config.put("a", "later");
    await vi.waitFor(() => expect(toldBy(mine)).toEqual([2, 3]), SLOW);
    await expect(raw(second.apiKey, "?prefix=")).rejects.toThrow("refused: 401");
    expect(toldBy(ending)).toEqual([2]);
    mine.socket.terminate();
    theirs.socket.terminate();
  });

  it("[CF-183] a client that does not read holds up nobody, is told where to go on, and then misses nothing", async () => {
    const { apiKey, direct } = await newTenant();
    const [slow, quick] = [await raw(apiKey, "?prefix="), await raw(apiKey, "?prefix=")];
    await vi.waitFor(() => expect(slow.messages).toHaveLength(1), SLOW);
    slow.socket.pause();
    const text = "x".repeat(700_000);
    for (let index = 0; index < 14; index++) await direct.config.put("large", `${index}${text}`);
    await vi.waitFor(() => expect(toldBy(quick)).toEqual(range(2, 15)), SLOW);
    slow.socket.resume();
    const { code, reason } = await slow.closed;
    const told = toldBy(slow);
    expect(told).toEqual(range(2, told.at(-1)!));
    expect([code, reason]).toEqual([1013, expect.stringContaining(`resume from revision ${told.at(-1)! + 1}`)]);
    // The front no longer has what comes next: the server tells it, over a connection of its own.
    const again = await raw(apiKey, `?prefix=&startRevision=${told.at(-1)! + 1}`);
    await vi.waitFor(() => expect(toldBy(again)).toEqual(range(told.at(-1)! + 1, 15)), SLOW);
    await direct.config.put("large", "end");
    await vi.waitFor(() => expect([toldBy(again).at(-1), toldBy(quick).at(-1)]).toEqual([16, 16]), SLOW);
    again.socket.terminate();
    quick.socket.terminate();
  });

  it("[CF-250] refuses connections beyond its limits, by name; its metrics stand behind the server's", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const front = new WatchFront({ url: server.url!, host: "127.0.0.1", port: 0, maxClients: 3, maxPerKey: 2 });
    const port = await front.listen();
    /** Open: null; else what the refusal says. */
    const open = (apiKey: string) =>
      new Promise<string | null>((resolve, reject) => {
        const headers = { authorization: `Bearer ${apiKey}` };
        const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/config/watch`, { headers });
        socket.once("open", () => resolve(null));
        socket.once("error", reject);
        socket.once("unexpected-response", (_, response) => {
          expect(response.statusCode).toBe(503);
          response.on("data", (body: Buffer) => resolve((JSON.parse(body.toString()) as { message: string }).message));
        });
      });
    try {
      for (let i = 0; i < 2; i++) expect(await open(one.apiKey)).toBe(null);
      expect(await open(one.apiKey)).toContain("the limit is 2 (server.watchMaxPerKey)");
      expect(await open(two.apiKey)).toBe(null);
      expect(await open(two.apiKey)).toContain("its limit is 3 (server.watchMaxConnections");
      expect(front.samples()).toMatchObject({
        jade_watch_front_connections: 3,
        jade_watch_front_keyspaces: 2,
        jade_watch_front_accepted_total: 3,
        'jade_watch_front_refused_total{limit="key"}': 1,
        'jade_watch_front_refused_total{limit="connections"}': 1,
      });
    } finally {
      front.stop();
    }
    await vi.waitFor(async () => {
      const text = await (await fetch(`${frontUrl}/metrics`)).text();
      expect(text).toContain("\njade_watch_front_processes 2\n");
      expect(text).toContain("\njade_http_requests_total");
    }, SLOW);
  });

  it("[CF-184] what the front does not do, the server behind does: the past, compaction, other requests", async () => {
    const { apiKey, direct, viaFront } = await newTenant();
    await Promise.all(Array.from({ length: 1100 }, (_, index) => direct.config.put(`k${index % 50}`, index)));
    const present = await raw(apiKey, "?prefix=");
    await vi.waitFor(() => expect(present.messages).toHaveLength(1), SLOW);
    const past = await raw(apiKey, "?prefix=&startRevision=2");
    await vi.waitFor(() => expect(toldBy(past)).toEqual(range(2, 1101)), SLOW);
    const recent = await raw(apiKey, "?prefix=&startRevision=1000");
    await vi.waitFor(() => expect(toldBy(recent)).toEqual(range(1000, 1101)), SLOW);
    await direct.config.compact(600);
    const compacted = await raw(apiKey, "?prefix=&startRevision=50");
    await vi.waitFor(
      () => expect(compacted.messages.at(-1)).toMatchObject({ type: "canceled", compactRevision: 600 }),
      SLOW,
    );
    expect((await viaFront.config.get("k1")).found).toBe(true);
    const refused = await fetch(`${frontUrl}/v1/config/keys/k1`);
    expect([refused.status, ((await refused.json()) as { readonly code: string }).code]).toEqual([
      401,
      "unauthenticated",
    ]);
    for (const { socket } of [present, past, recent, compacted]) socket.terminate();
  });
});

async function watchSamples(): Promise<{ readonly connections: number }> {
  let connections = 0;
  await vi.waitFor(async () => {
    const text = await (await server.get("/metrics")).text();
    const found = text.match(/^jade_config_watch_connections (\d+)/m);
    expect(found).not.toBeNull();
    connections = Number(found![1]);
    expect(connections).toBeGreaterThan(0);
  }, SLOW);
  return { connections };
}
