// `client.config.lock` and `elect`, `jade-db config lock` and `elect`, against a real server.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import { isLeaseNotFound, isLockNotAcquired, JadeClient } from "../../src/client/index.ts";
import { until } from "./until.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let server: RunningServer;
let client: JadeClient;
let apiKey = "";

beforeAll(async () => {
  server = await startServer();
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "locks" }));
  admin.close();
  client = new JadeClient({ url: server.url, apiKey, WebSocket, attemptTimeoutMs: 4000 });
});

afterAll(async () => {
  client?.close();
  await server?.dispose();
});

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("client.config.lock", () => {
  it("[CF-151] is passed on in order, with growing tokens, and keeps its place over waits of several requests", async () => {
    const { config } = client;
    const first = await config.lock("a/b", { leaseTtlSeconds: 5 });
    expect(first.key).toBe(`a/b/${BigInt(first.leaseId).toString(16)}`);
    expect(isLockNotAcquired(await failure(config.lock("a/b", { waitSeconds: 0 })))).toBe(true);
    const order: string[] = [];
    const stand = async (name: string) => {
      await using lock = await config.lock("a/b", { leaseTtlSeconds: 5 });
      order.push(name);
      return lock.fencingToken;
    };
    const second = stand("second");
    await until(async () => (await config.count({ prefix: "a/b/" })) === 2);
    const { revision } = await config.status();
    // A step is 2 s: both ask again while the first holds, and the second still comes before the third.
    await sleep(1000);
    const third = stand("third");
    await sleep(4500);
    expect(order).toEqual([]);
    await first.release();
    const tokens = [first.fencingToken, await second, await third];
    expect(order).toEqual(["second", "third"]);
    expect(tokens).toEqual([...tokens].sort((a, b) => a - b));
    expect(tokens[1]).toBeLessThanOrEqual(revision);
    expect(first.lost.aborted).toBe(false);
    expect(await config.count({ prefix: "a/b/" })).toBe(0);
  });

  it("[CF-151] who gives up or is aborted leaves the line; a lease that was given stays", async () => {
    const { config } = client;
    const held = await config.lock("line");
    expect(isLockNotAcquired(await failure(config.lock("line", { waitSeconds: 0.3 })))).toBe(true);
    const lease = await config.leases.keep(30);
    const stop = new AbortController();
    const waiting = failure(config.lock("line", { lease, signal: stop.signal }));
    await until(async () => (await config.count({ prefix: "line/" })) === 2);
    stop.abort(new Error("no longer wanted"));
    expect(String(await waiting)).toContain("no longer wanted");
    await until(async () => (await config.count({ prefix: "line/" })) === 1);
    await held.release();
    const again = await config.lock("line", { lease });
    await again.release();
    expect(await config.leases.get(lease.leaseId, { keys: true })).toMatchObject({ keys: [] });
    await lease.close();
    for (const bad of ["", ".", ".."]) await expect(config.lock(bad)).rejects.toThrow(TypeError);
    await expect(config.lock("a", { waitSeconds: -1 })).rejects.toThrow(TypeError);
  });

  it("[CF-152] a holder whose lease ended is told, and so is one who waits", async () => {
    const { config } = client;
    const held = await config.lock("lost", { leaseTtlSeconds: 2 });
    const lease = await config.leases.keep(2);
    const waiting = failure(config.lock("lost", { lease }));
    await until(async () => (await config.count({ prefix: "lost/" })) === 2);
    await config.leases.revoke(lease.leaseId);
    expect(isLeaseNotFound(await waiting)).toBe(true);
    await config.leases.revoke(held.leaseId);
    await until(() => held.lost.aborted);
    expect(isLeaseNotFound(held.lost.reason)).toBe(true);
    await held.release();
  });
});

describe("client.config.elect", () => {
  it("[CF-153] the leader proclaims and resigns; observers see every leader in order", async () => {
    const { config } = client;
    expect(await config.leader("boss")).toBeUndefined();
    const seen: unknown[] = [];
    const stop = new AbortController();
    const observing = failure(
      (async () => {
        for await (const leader of config.observe<string>("boss", { signal: stop.signal }))
          seen.push(leader?.value ?? null);
      })(),
    );
    await until(() => seen.length === 1);
    const first = await config.elect("boss", { value: "a" });
    const second = config.elect("boss", { value: "b" });
    expect(await config.leader("boss")).toEqual({
      ...{ key: first.key, leaseId: first.leaseId, fencingToken: first.fencingToken, value: "a" },
    });
    await first.proclaim({ now: 1 });
    await until(async () => (await config.count({ prefix: "boss/" })) === 2);
    await first.resign();
    const next = await second;
    expect(next.fencingToken).toBeGreaterThan(first.fencingToken);
    await expect(first.proclaim("still me")).rejects.toMatchObject({ code: "notOwner" });
    await next.resign();
    await until(() => seen.length === 5);
    expect(seen).toEqual([null, "a", { now: 1 }, "b", null]);
    stop.abort();
    await observing;
  });
});

describe("jade-db config lock, elect", () => {
  const start = (...args: readonly string[]) => {
    const env = { ...process.env, JADE_URL: server.url, JADE_API_KEY: apiKey };
    const child: ChildProcess = spawn(process.execPath, [CLI, "config", ...args], { env });
    const running = { child, stdout: "", stderr: "", ended: once(child, "exit").then(([code]) => code as number) };
    child.stdout?.on("data", (text) => {
      running.stdout += text;
    });
    child.stderr?.on("data", (text) => {
      running.stderr += text;
    });
    return running;
  };

  it("[CF-154] a command runs while the lock is held, and its exit code is given", async () => {
    const script = "console.log(process.env.JADE_LOCK_KEY, process.env.JADE_FENCING_TOKEN); process.exit(7)";
    const run = start("lock", "cli", "--ttl", "5", "--", process.execPath, "-e", script);
    expect(await run.ended).toBe(7);
    expect(run.stdout).toMatch(/^cli\/[0-9a-f]+ [0-9]+\n$/);
    expect(await client.config.count({ prefix: "cli/" })).toBe(0);
    const missing = start("lock", "cli", "--", "/nowhere/at-all");
    expect([await missing.ended, missing.stderr]).toEqual([2, expect.stringContaining("/nowhere/at-all")]);
  });

  it("[CF-154] a lock is held until the process is told to end; others wait so long as they say", async () => {
    const holder = start("lock", "held", "--ttl", "5");
    await until(() => holder.stdout.includes("\n"));
    const { fencingToken } = JSON.parse(holder.stdout);
    const late = start("lock", "held", "--wait", "0", "--", "true");
    expect([await late.ended, late.stderr]).toEqual([5, expect.stringContaining("lockNotAcquired")]);
    expect(fencingToken).toBeGreaterThan(1);
    holder.child.kill("SIGINT");
    expect(await holder.ended).toBe(0);
    expect(await client.config.count({ prefix: "held/" })).toBe(0);
  });

  it("[CF-154] a command whose lock is lost is ended", async () => {
    const run = start("lock", "taken", "--ttl", "2", "--", process.execPath, "-e", "setTimeout(() => {}, 60_000)");
    const leases = async () => (await client.config.rangePage({ prefix: "taken/" })).items;
    await until(async () => (await leases()).length === 1);
    await client.config.leases.revoke((await leases())[0]!.leaseId!);
    expect([await run.ended, run.stderr]).toEqual([5, expect.stringContaining("was lost")]);
  });

  it("[CF-154] an election is led until the process is told to end, and listened to", async () => {
    const leader = start("elect", "cli-boss", '{"host":"a"}');
    await until(() => leader.stdout.includes("\n"));
    const listener = start("elect", "cli-boss", "--listen");
    await until(() => listener.stdout.includes('"host":"a"'));
    leader.child.kill("SIGTERM");
    expect(await leader.ended).toBe(0);
    await until(() => listener.stdout.includes('{"leader":null}'));
    listener.child.kill("SIGINT");
    expect(await listener.ended).toBe(0);
    expect(await start("elect", "cli-boss").ended).toBe(2);
  });
});
