// Webhooks of the built server against real HTTP receivers that fail, stall, refuse and repeat; over a kill -9; and what is never asked.
import { execFile } from "node:child_process";
import { createHmac, timingSafeEqual } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { JadeClient } from "../../src/client/index.ts";
import { removeDir, ServeProcess, temporaryDir, workerdPid } from "./serve-process.ts";

interface Event {
  readonly id: string;
  readonly type: string;
  readonly key: string;
  readonly revision: number;
}

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly atMs: number;
}

const dirs: string[] = [];
let tenants = 0;
const servers: Server[] = [];

class Receiver {
  readonly received: Received[] = [];
  /** Requests that are answered at the same time. */
  mostAtOnce = 0;
  answer: (response: ServerResponse, received: Received) => void = (response) => response.end();
  #atOnce = 0;
  url = "";

  static async start(host = "127.0.0.1"): Promise<Receiver> {
    const receiver = new Receiver();
    const server = createServer(async (request, response) => {
      receiver.mostAtOnce = Math.max(receiver.mostAtOnce, ++receiver.#atOnce);
      response.once("close", () => receiver.#atOnce--);
      let body = "";
      for await (const chunk of request) body += chunk;
      const received = { headers: request.headers, body, atMs: Date.now() };
      receiver.received.push(received);
      receiver.answer(response, received);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    return receiver;
  }

  get firstSeen(): readonly Event[] {
    const seen = new Map<string, Event>();
    for (const { body } of this.received)
      for (const event of (JSON.parse(body) as { data: { events: Event[] } }).data.events)
        if (!seen.has(event.id)) seen.set(event.id, event);
    return [...seen.values()];
  }
}

class Database {
  readonly server: ServeProcess;
  readonly dir: string;
  readonly key: string;

  constructor(server: ServeProcess, dir: string, key = "") {
    this.server = server;
    this.dir = dir;
    this.key = key;
  }

  static async start(settings = "webhooks:\n  allowedNetworks: [127.0.0.1, '::1']\n"): Promise<Database> {
    const dir = temporaryDir();
    dirs.push(dir);
    writeFileSync(join(dir, "jade.yaml"), settings);
    return (await Database.open(dir)).tenant();
  }

  /** The same server for another tenant. */
  async tenant(): Promise<Database> {
    const made = await this.ask("POST", "/v1/tenants", { tenantId: `acme-${++tenants}` }, this.server.rootKey);
    expect(made.status, JSON.stringify(made)).toBe(201);
    return new Database(this.server, this.dir, made.data["apiKey"] as string);
  }

  static async open(dir: string, key = ""): Promise<Database> {
    const server = await ServeProcess.ready(join(dir, "data"), { args: ["--config", join(dir, "jade.yaml")] });
    return new Database(server, dir, key);
  }

  async ask(method: string, path: string, body?: object, key = this.key) {
    const response = await fetch(this.server.url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const json = (await response.json()) as { code?: string; data: Record<string, unknown> };
    return { ...json, status: response.status };
  }

  put(name: string, value: unknown = 1) {
    return this.ask("PUT", `/v1/config/keys/${name}`, { value });
  }

  async hook(url: string, more: object = {}): Promise<{ id: string; secret: string }> {
    const made = await this.ask("POST", "/v1/webhooks", { url, prefix: "", retryBaseMs: 20, ...more });
    expect(made.status, JSON.stringify(made)).toBe(201);
    return made.data as { id: string; secret: string };
  }

  async state(id: string): Promise<Record<string, unknown>> {
    return (await this.ask("GET", `/v1/webhooks/${id}`)).data;
  }
}

function isSigned({ headers, body }: Received, secret: string): boolean {
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const expected = createHmac("sha256", key).update(text).digest();
  return String(headers["webhook-signature"])
    .split(" ")
    .some((signature) => {
      const [version, base64 = ""] = signature.split(",");
      const given = Buffer.from(base64, "base64");
      return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
    });
}

const keysOf = (receiver: Receiver): readonly string[] => receiver.firstSeen.map(({ type, key }) => `${type} ${key}`);
const WAIT = { timeout: 60_000, interval: 50 };

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});
afterAll(async () => {
  await ServeProcess.endAll();
  for (const dir of dirs) removeDir(dir);
});

describe("webhooks of a server", () => {
  let shared: Database;
  beforeAll(async () => {
    shared = await Database.start();
  });

  it("[CF-120] [CF-129] events come signed and in order; after a rotation both secrets sign", async () => {
    const [db, receiver] = [await shared.tenant(), await Receiver.start()];
    const { id, secret } = await db.hook(receiver.url.replace("127.0.0.1", "localhost"), { prefix: "app/" });
    await db.put("app/a", { on: true });
    await db.put("other");
    await db.ask("DELETE", "/v1/config/keys/app/a");
    await expect.poll(() => keysOf(receiver), WAIT).toEqual(["put app/a", "delete app/a"]);
    expect(receiver.received.every((received) => isSigned(received, secret))).toBe(true);
    expect(receiver.received[0]!.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(receiver.received[0]!.body)).toMatchObject({
      type: "config.changed",
      data: { subscription: id, namespace: "default", events: [{ value: { on: true }, revision: 2, version: 1 }] },
    });
    const { data } = await db.ask("PATCH", `/v1/webhooks/${id}`, { rotateSecret: true });
    await db.put("app/b");
    await expect.poll(() => keysOf(receiver), WAIT).toContain("put app/b");
    const last = receiver.received.at(-1)!;
    expect([isSigned(last, secret), isSigned(last, data["secret"] as string)]).toEqual([true, true]);
    expect(isSigned(last, `whsec_${btoa("x".repeat(32))}`)).toBe(false);
  });

  it("[CF-121] [CF-122] a receiver that fails, stalls, cuts off and asks for time gets each event, in order, one request at a time", async () => {
    const [db, receiver] = [await shared.tenant(), await Receiver.start()];
    let count = 0;
    receiver.answer = (response) => {
      count++;
      if (count === 1) response.writeHead(500).end();
      else if (count === 2)
        return; // Stalls: the sender's time runs out.
      else if (count === 3) response.writeHead(429, { "retry-after": "2" }).end();
      else if (count === 4) response.destroy();
      else if (count === 6) response.writeHead(302, { location: `${receiver.url}/elsewhere` }).end();
      // An answer without end is not read to its end.
      else if (count === 8) response.writeHead(200).write("x".repeat(100_000));
      else response.end();
    };
    await db.hook(receiver.url, { timeoutMs: 500, batchEvents: 2 });
    for (let n = 0; n < 9; n++) await db.put(`k${n}`);
    await expect.poll(() => keysOf(receiver), WAIT).toEqual(Array.from({ length: 9 }, (_, n) => `put k${n}`));
    expect(receiver.mostAtOnce).toBeLessThanOrEqual(2);
    expect(receiver.received[3]!.atMs - receiver.received[2]!.atMs).toBeGreaterThanOrEqual(1990);
    const bodies = new Map<unknown, string>();
    for (const { headers, body } of receiver.received) {
      expect(body).toBe(bodies.get(headers["webhook-id"]) ?? body);
      bodies.set(headers["webhook-id"], body);
    }
    expect(receiver.received.length).toBeGreaterThan(bodies.size);
  });

  it("[CF-124] [CF-126] [CF-127] 410 pauses; resume, pause and replay", async () => {
    const [db, receiver] = [await shared.tenant(), await Receiver.start()];
    receiver.answer = (response) => response.writeHead(410).end();
    const { id } = await db.hook(receiver.url);
    await db.put("a");
    await expect.poll(() => db.state(id), WAIT).toMatchObject({ state: "paused", pauseReason: "gone" });
    receiver.answer = (response) => response.end();
    await db.ask("PATCH", `/v1/webhooks/${id}`, { state: "active" });
    await expect.poll(() => db.state(id), WAIT).toMatchObject({ state: "active", nextRevision: 3 });
    await db.ask("PATCH", `/v1/webhooks/${id}`, { state: "paused" });
    const before = receiver.received.length;
    await db.put("b");
    await sleep(500);
    expect(receiver.received.length).toBe(before);
    await db.ask("PATCH", `/v1/webhooks/${id}`, { state: "active" });
    await expect.poll(() => keysOf(receiver), WAIT).toEqual(["put a", "put b"]);
    receiver.received.length = 0;
    await db.ask("POST", `/v1/webhooks/${id}/replay`, { fromRevision: 2 });
    await expect.poll(() => keysOf(receiver), WAIT).toEqual(["put a", "put b"]);
  });

  it("[CF-125] what is compacted while it is paused is told", async () => {
    const [db, receiver] = [await shared.tenant(), await Receiver.start()];
    const { id } = await db.hook(receiver.url);
    await db.ask("PATCH", `/v1/webhooks/${id}`, { state: "paused" });
    for (let n = 0; n < 4; n++) await db.put("a", n);
    await db.ask("POST", "/v1/config/compact", { revision: 4 });
    await db.ask("PATCH", `/v1/webhooks/${id}`, { state: "active" });
    await expect.poll(() => db.state(id), WAIT).toMatchObject({ pauseReason: "compacted", compactedRevision: 4 });
    expect((await db.ask("PATCH", `/v1/webhooks/${id}`, { state: "active" })).code).toBe("conflict");
    await db.ask("POST", `/v1/webhooks/${id}/replay`, { fromRevision: 4 });
    await expect.poll(() => receiver.firstSeen.map(({ revision }) => revision), WAIT).toEqual([4, 5]);
  });

  it("[CF-121] [CF-131] over kill -9 of server and workerd every event comes, in order", async () => {
    const receiver = await Receiver.start();
    let db = await Database.start();
    // Each third request is received, but its answer is lost.
    let count = 0;
    receiver.answer = (response) => (++count % 3 === 0 ? response.destroy() : void setTimeout(() => response.end(), 5));
    const { id } = await db.hook(receiver.url, { batchEvents: 3 });
    const acknowledged: string[] = [];
    for (let round = 0; round < 2; round++) {
      let isDown = false;
      const writes = (async () => {
        for (let n = 0; !isDown && n < 10_000; n++) {
          const name = `r${round}-${n}`;
          const answer = await db.put(name).catch(() => undefined);
          if (answer?.status === 201) acknowledged.push(`put ${name}`);
        }
      })();
      await sleep(1000);
      const pid = workerdPid(join(db.dir, "data"));
      db.server.kill("SIGKILL");
      process.kill(pid, "SIGKILL");
      isDown = true;
      await db.server.exited;
      await writes;
      const atMs = Date.now();
      db = await Database.open(db.dir, db.key);
      const before = receiver.received.length;
      await db.put(`after${round}`).then(({ status }) => status === 201 && acknowledged.push(`put after${round}`));
      await expect.poll(() => receiver.received.length, WAIT).toBeGreaterThan(before);
      console.log(`round ${round}: first request ${Date.now() - atMs} ms after the kill, start included`);
    }
    const missing = (): readonly string[] => {
      const seen = new Set(keysOf(receiver));
      return acknowledged.filter((text) => !seen.has(text));
    };
    await expect.poll(missing, WAIT).toEqual([]);
    await expect.poll(async () => (await db.state(id))["attempts"], WAIT).toBe(0);
    const seen = keysOf(receiver);
    const revisions = receiver.firstSeen.map(({ revision }) => revision);
    expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
    expect(revisions).toEqual(revisions.map((_, at) => at + 2));
    console.log(
      `${acknowledged.length} acknowledged writes, ${seen.length} events, ${receiver.received.length} requests`,
    );
  });

  it("[CF-126] SDK and command line do the same", async () => {
    const [db, receiver] = [await shared.tenant(), await Receiver.start()];
    const { webhooks } = new JadeClient({ url: db.server.url!, apiKey: db.key }).config;
    const made = await webhooks.create({ url: receiver.url, prefix: "", events: ["put"] });
    expect(made.secret).toMatch(/^whsec_/);
    await db.put("a");
    await expect.poll(() => keysOf(receiver), WAIT).toEqual(["put a"]);
    expect((await webhooks.pause(made.id)).pauseReason).toBe("asked");
    expect((await webhooks.resume(made.id)).state).toBe("active");
    const command = async (...args: string[]): Promise<Record<string, unknown> & Record<string, unknown>[]> => {
      const env = { PATH: process.env["PATH"], JADE_URL: db.server.url, JADE_API_KEY: db.key };
      const all = ["bin/jade-db.mjs", "config", "webhook", ...args, "-o", "json"];
      return JSON.parse((await promisify(execFile)(process.execPath, all, { env })).stdout);
    };
    expect(await command("list")).toMatchObject([{ id: made.id, state: "active" }]);
    receiver.received.length = 0;
    expect(await command("replay", made.id, "2")).toMatchObject({ id: made.id });
    await expect.poll(() => keysOf(receiver), WAIT).toEqual(["put a"]);
    expect(await command("dead-letters", made.id)).toEqual([]);
    const other = await command("create", receiver.url, "--key", "x", "--event", "delete");
    expect(other).toMatchObject({ key: "x", events: ["delete"] });
    expect(await command("delete", String(other["id"]))).toMatchObject({ deleted: true });
    expect((await webhooks.get(made.id)).id).toBe(made.id);
    await webhooks.delete(made.id);
    expect(await command("list")).toEqual([]);
  });

  it("[CF-130] without permission nothing local is asked, by address or by a name that leads there", async () => {
    const receiver = await Receiver.start("0.0.0.0");
    const db = await Database.start("webhooks:\n  allowedNetworks: []\n");
    const port = new URL(receiver.url).port;
    for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"]) {
      const refused = await db.ask("POST", "/v1/webhooks", { url: `http://${host}:${port}/`, prefix: "" });
      expect([host, refused.status]).toEqual([host, 400]);
    }
    expect(receiver.received).toEqual([]);
  });

  it("[CF-130] where one network is open, the others stay closed at the connection itself", async () => {
    const receiver = await Receiver.start("0.0.0.0");
    // A name of the hosts file is not judged by its text here: the connection is.
    const db = await Database.start("webhooks:\n  allowedNetworks: [10.99.0.0/16]\n");
    const port = new URL(receiver.url).port;
    const { id } = await db.hook(`http://localhost:${port}/`, { maxAttempts: 2 });
    await db.put("a");
    await expect.poll(() => db.state(id), WAIT).toMatchObject({ pauseReason: "deadLetter" });
    expect(await db.state(id)).toMatchObject({
      lastError: "no connection: the host is unknown, or its address is not allowed",
    });
    expect(receiver.received).toEqual([]);
  });

  // Reported every ten seconds: the other tests were long enough.
  it("[CF-120] what was delivered is counted", async () => {
    await expect
      .poll(async () => (await shared.server.get("/metrics")).text(), WAIT)
      .toMatch(/jade_webhook_requests_total\{outcome="delivered"\} [1-9]/);
  });
});
