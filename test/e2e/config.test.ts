// The SDK's `client.config` and `jade-db config` against a real server.
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../scripts/lib/server-process.mjs";
import {
  configOp,
  isAccessDenied,
  isCompacted,
  isConflict,
  isJadeError,
  isLeaseNotFound,
  isLockNotAcquired,
  isPreconditionFailed,
  JadeClient,
  writeIdFrom,
} from "../../src/client/index.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let server: RunningServer;
let admin: JadeClient;
let apiKey = "";

beforeAll(async () => {
  server = await startServer();
  admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  ({ apiKey } = await admin.tenants.create({ tenantId: "config" }));
});

afterAll(async () => {
  admin?.close();
  await server?.dispose();
});

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe.each(["http", "session"] as const)("client.config over %s", (transport) => {
  const tenantId = `sdk-${transport}`;
  let client: JadeClient;
  let ownKey = "";
  beforeAll(async () => {
    ({ apiKey: ownKey } = await admin.tenants.create({ tenantId }));
    client = new JadeClient({ url: server.url, apiKey: ownKey, transport });
  });
  afterAll(() => client?.close());

  it("[CF-80][CF-201] stores JSON and bytes under keys of any kind, and reads them at any revision", async () => {
    const config = client.config.namespace("sdk-keys");
    const first = await config.put("a/b", { limit: 1 });
    expect(first).toEqual({ key: "a/b", revision: 2, createRevision: 2, modRevision: 2, version: 1 });
    const second = await config.put("a/b", [2], { prevKv: true });
    expect(second.prevKv).toMatchObject({ key: "a/b", value: { limit: 1 }, version: 1 });
    expect(await config.get("a/b")).toEqual({
      ...{ found: true, revision: 3, key: "a/b", value: [2], createRevision: 2, modRevision: 3, version: 2 },
    });
    expect(await config.get("a/b", { revision: 2, as: "text" })).toMatchObject({ value: '{"limit":1}' });
    expect(await config.get("nothing")).toEqual({ found: false, revision: 3, key: "nothing", value: undefined });
    const bytes = new Uint8Array([255, 0, 128]);
    await config.put(bytes, bytes);
    expect(await config.get(bytes)).toMatchObject({ key: bytes, value: bytes, found: true });
    await config.put("../..//é?#%", 1);
    expect(await config.get("../..//é?#%")).toMatchObject({ key: "../..//é?#%", value: 1 });
    expect((await collect(config.range())).map(({ key }) => key)).toEqual(["../..//é?#%", "a/b", bytes]);
    expect(await config.delete(bytes, { prevKv: true })).toMatchObject({ deleted: 1, prevKv: { value: bytes } });
    expect(await config.delete(bytes)).toEqual({ deleted: 0, revision: 6 });
    await expect(config.put("", 1)).rejects.toThrow(TypeError);
    await expect(config.put("a", undefined)).rejects.toThrow(TypeError);
  });

  it("[CF-81][CF-201] conditions are errors of their own, with the key as it is; write ids apply once", async () => {
    const config = client.config.namespace("sdk-conditions");
    await config.put("a", { n: 1 }, { ifAbsent: true });
    const refused = await failure(config.put("a", 2, { ifAbsent: true }));
    expect(isPreconditionFailed(refused) && refused.details).toMatchObject({
      current: { value: { n: 1 }, version: 1 },
    });
    await config.put("a", 2, { ifValue: { n: 1 } });
    expect(isPreconditionFailed(await failure(config.delete("a", { ifModRevision: 2 })))).toBe(true);
    expect(await config.delete("a", { ifValue: 2 })).toMatchObject({ deleted: 1 });
    const writeId = await writeIdFrom("once");
    const written = await config.put("b", 1, { writeId });
    await config.put("b", 2);
    expect(await config.put("b", 1, { writeId })).toEqual(written);
    expect(isConflict(await failure(config.put("b", 3, { writeId })))).toBe(true);
  });

  it("[CF-82][CF-201] ranges over several pages, levels, counts, deletions", async () => {
    const config = client.config.namespace("sdk-ranges");
    const names = Array.from({ length: 25 }, (_, i) => `k/${String(i).padStart(2, "0")}`);
    await Promise.all(names.map((name) => config.put(name, name)));
    await config.put("k/deep/1", 1);
    const seen: unknown[] = [];
    for await (const { key, value } of config.range({ prefix: "k/", limit: 4, end: undefined })) {
      if (seen.length === 6) await config.put("k/zz", "written meanwhile");
      seen.push(key);
      if (key !== "k/deep/1") expect(value).toBe(key);
    }
    expect(seen).toEqual([...names, "k/deep/1"]);
    const level = await config.rangePage({ prefix: "k/", start: undefined, delimiter: "/", limit: 100 });
    expect([level.items.length, level.commonPrefixes]).toEqual([26, ["k/deep/"]]);
    expect(await config.count({ prefix: "k/" })).toBe(27);
    expect(await config.deleteRange({ prefix: "k/0" })).toMatchObject({ deleted: 10 });
    const sorted = await collect(config.range({ prefix: "k/1", sort: "key", order: "desc", keysOnly: true }));
    expect(sorted.map(({ key, value }) => [key, value]).at(0)).toEqual(["k/19", undefined]);
    const { revision } = await config.status();
    expect(await config.compact(revision)).toEqual({ compactedRevision: revision, revision });
    expect(isCompacted(await failure(config.get("k/11", { revision: 2 })))).toBe(true);
  });

  it("[CF-83][CF-201] transactions, of JSON and of bytes", async () => {
    const config = client.config.namespace("sdk-txn");
    await config.put("stock", 3);
    const take = (from: number) =>
      config
        .txn()
        .if("stock", "value", "=", from)
        .if({ prefix: "order/" }, "version", "<", 2)
        .onSuccess(configOp.put("stock", from - 1, { prevKv: true }), configOp.put(`order/${from}`, { from }))
        .onFailure(configOp.get("stock"), configOp.get("nothing"), configOp.range({ prefix: "order/", limit: 1 }))
        .commit();
    const taken = await take(3);
    expect(taken.succeeded).toBe(true);
    expect(taken.responses).toMatchObject([
      { op: "put", key: "stock", version: 2, prevKv: { value: 3 } },
      { op: "put", key: "order/3" },
    ]);
    const late = await take(3);
    expect(late).toMatchObject({ succeeded: false, revision: taken.revision });
    expect(late.responses).toMatchObject([
      { op: "get", found: true, key: "stock", value: 2 },
      { op: "get", found: false, key: "nothing" },
      { op: "range", items: [{ value: { from: 3 } }], more: false },
    ]);
    const bytes = new Uint8Array([255]);
    const mixed = await config
      .txn()
      .if("stock", "value", "=", 2)
      .onSuccess(
        configOp.put(bytes, bytes),
        configOp.txn({ compare: [], success: [configOp.put("json", { a: 1 }), configOp.get(bytes)], failure: [] }),
        configOp.delete({ prefix: "order/" }, { prevKv: true }),
      )
      .commit();
    expect(mixed.responses).toMatchObject([
      { op: "put", key: bytes },
      { op: "txn", succeeded: true, responses: [{ key: "json" }, { found: true, key: bytes, value: bytes }] },
      { op: "delete", deleted: 1, prevKvs: [{ key: "order/3", value: { from: 3 } }] },
    ]);
    expect(await config.get("json")).toMatchObject({ value: { a: 1 } });
  });

  it("[CF-84][CF-201] leases, kept alive by a handle until it is closed or lost", async () => {
    const config = client.config.namespace("sdk-leases");
    const lease = await config.leases.grant(60, { leaseId: "77" });
    expect(lease).toEqual({ leaseId: "77", ttlSeconds: 60 });
    await config.put("a", 1, { leaseId: "77" });
    expect(await config.leases.get("77", { keys: true })).toMatchObject({ grantedTtlSeconds: 60, keys: ["a"] });
    expect(await config.leases.keepAlive("77")).toEqual(lease);
    expect(await collect(config.leases.list())).toEqual([{ leaseId: "77" }]);
    await config.leases.revoke("77");
    expect(isLeaseNotFound(await failure(config.leases.keepAlive("77")))).toBe(true);
    expect(await config.get("a")).toMatchObject({ found: false });

    const kept = await config.leases.keep(1);
    await config.put("kept", 1, { leaseId: kept.leaseId });
    await sleep(3000);
    expect(kept.isLost).toBe(false);
    expect(await config.get("kept")).toMatchObject({ found: true });
    await kept.close();
    expect(await config.get("kept")).toMatchObject({ found: false });
    expect(kept.signal.aborted).toBe(false);

    const lost = await config.leases.keep(1);
    await config.leases.revoke(lost.leaseId);
    await new Promise((resolve) => lost.signal.addEventListener("abort", resolve));
    expect(isLeaseNotFound(lost.signal.reason)).toBe(true);
    await lost.close();

    // No answer any more: known to be lost after its time to live.
    const other = new JadeClient({ url: server.url, apiKey: ownKey, transport });
    const silent = await other.config.namespace("sdk-leases").leases.keep(1);
    other.close();
    await new Promise((resolve) => silent.signal.addEventListener("abort", resolve));
    expect(isJadeError(silent.signal.reason)).toBe(true);
  });

  it("[CF-249] locks, elections, watches, export, snapshot and the keyspace as a whole", async () => {
    const config = client.config.namespace("sdk-rest");
    const watch = config.watch({ prefix: "" });
    await watch.started;
    const lock = await config.lock("l", { leaseTtlSeconds: 30 });
    expect(isLockNotAcquired(await failure(config.lock("l", { waitSeconds: 0 })))).toBe(true);
    await lock.release();
    const leadership = await config.elect("e", { value: { host: "a" } });
    for await (const leader of config.observe("e")) {
      expect(leader?.value).toEqual({ host: "a" });
      break;
    }
    await leadership.proclaim({ host: "b" });
    expect((await config.leader("e"))?.value).toEqual({ host: "b" });
    await leadership.resign();
    const { revision } = await config.put("k", 1);
    const cache = await config.cached({ prefix: "k" });
    await cache.atLeast(revision);
    expect(cache.get("k")?.value).toBe(1);
    cache.close();
    for await (const change of watch) if (change.events.some(({ key }) => key === "k")) break;
    const lines = (await collect(config.exportPages())).flatMap((page) => page.lines);
    expect(await config.namespace("sdk-copy").importPage(lines.join("\n"))).toMatchObject({ lines: 1, created: 1 });
    const pieces: Uint8Array[] = [];
    expect(await config.snapshot((piece) => void pieces.push(piece))).toMatchObject({ keys: 1 });
    expect((await config.restore(pieces)).revision).toBeGreaterThan(revision);
    expect(await config.get("k", { consistency: "serializable" })).toMatchObject({ found: true, value: 1 });
    const { revision: latest, keys } = await config.status();
    expect(keys).toBe(1);
    const { revision: put } = await config.put("k", 2);
    expect((await config.compact(put)).compactedRevision).toBe(put);
    expect(isCompacted(await failure(config.get("k", { revision: latest })))).toBe(true);
    expect(await collect(config.webhooks.list())).toEqual([]);
  });

  it("[CF-93] namespaces are listed and deleted", async () => {
    const config = client.config;
    await config.namespace("to-go").put("a", 1);
    expect((await collect(config.namespaces({ limit: 2 }))).map(({ namespace }) => namespace)).toContain("to-go");
    expect(await config.deleteNamespace("to-go")).toMatchObject({ erasure: "done" });
    expect(await config.namespace("to-go").get("a")).toMatchObject({ found: false, revision: 1 });
    const { apiKey: key } = await admin.tenants.keys.create(tenantId, { scope: "read-only" });
    const reader = new JadeClient({ url: server.url, apiKey: key, transport });
    expect(isAccessDenied(await failure(reader.config.put("a", 1)))).toBe(true);
    reader.close();
  });
});

describe("leases of sessions", () => {
  const CHILD = `
    import { JadeClient } from ${JSON.stringify(join(import.meta.dirname, "../../dist/client/index.js"))};
    const [url, apiKey] = process.argv.slice(1);
    const client = new JadeClient({ url, apiKey, transport: "session" });
    const lease = await client.config.leases.keep(6, { ownedBySession: true });
    await client.config.put("owned/killed", 1, { leaseId: lease.leaseId });
    console.log("ready");`;

  it("[CF-200] end when their client is closed; when its process is killed they have their time", async () => {
    const watcher = new JadeClient({ url: server.url, apiKey });
    const changes = watcher.config.watch({ prefix: "owned/" });
    await changes.started;
    const child = spawn(process.execPath, ["--input-type=module", "-e", CHILD, server.url, apiKey]);
    const exited = new Promise((resolve) => child.on("exit", resolve));
    await new Promise((resolve) => child.stdout.on("data", resolve));
    const client = new JadeClient({ url: server.url, apiKey, transport: "session" });
    const lease = await client.config.leases.keep(600, { ownedBySession: true });
    await client.config.put("owned/closed", 1, { leaseId: lease.leaseId });
    const killedMs = Date.now();
    child.kill("SIGKILL");
    await exited;
    client.close();
    const deleted: unknown[] = [];
    for await (const { events } of changes) {
      for (const event of events) if (event.type === "delete") deleted.push(event.key);
      if (deleted.length === 2) break;
    }
    // At the earliest when the last keep-alive, up to a third of its time ago, was so long ago.
    expect(Date.now() - killedMs).toBeGreaterThan(3900);
    expect(deleted).toEqual(["owned/closed", "owned/killed"]);
    const overHttp = watcher.config.leases.grant(5, { ownedBySession: true });
    await expect(overHttp).rejects.toThrow("ownedBySession needs a session");
    watcher.close();
  });
});

describe("jade-db config", () => {
  const jadeDb = (args: readonly string[], input: string | Uint8Array = "") => {
    const env = { ...process.env, JADE_URL: server.url, JADE_API_KEY: apiKey, JADE_NAMESPACE: "cli" };
    const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, "config", ...args], { env, input });
    return { bytes: stdout, stdout: stdout.toString(), stderr: stderr.toString(), status };
  };
  const json = (...args: readonly string[]) => {
    const { stdout, stderr } = jadeDb([...args, "--output", "json"]);
    try {
      return JSON.parse(stdout);
    } catch {
      throw new Error(`${args.join(" ")}: ${stdout}${stderr}`);
    }
  };

  it("puts, gets and deletes, exactly, with exit codes that tell", () => {
    expect(json("put", "a/b", '{"n": 9007199254740993}')).toMatchObject({ key: "a/b", revision: 2, version: 1 });
    expect(jadeDb(["get", "a/b", "--raw"]).stdout).toBe('{"n": 9007199254740993}');
    expect(json("get", "a/b")).toMatchObject({ key: "a/b", value: '{"n": 9007199254740993}', modRevision: 2 });
    expect(jadeDb(["put", "bytes", "--bytes"], new Uint8Array([0, 255])).status).toBe(0);
    expect([...jadeDb(["get", "bytes", "--raw"]).bytes]).toEqual([0, 255]);
    expect(json("get", "bytes")).toMatchObject({ value: "AP8=", valueEncoding: "base64" });
    json("put", "text", "plain words", "--string");
    expect(jadeDb(["get", "text", "-o", "yaml"]).stdout).toContain("value: plain words");
    expect(jadeDb(["get", "text"]).stdout).toContain("plain words");
    expect(json("get", "a/b", "--keys-only")).not.toHaveProperty("value");
    const refused = jadeDb(["put", "a/b", "1", "--if-absent"]);
    expect([refused.status, refused.stderr]).toEqual([5, expect.stringContaining("preconditionFailed")]);
    expect(json("put", "a/b", "1", "--if-mod-revision", "2")).toMatchObject({ version: 2 });
    expect(json("put", "seq-", "1", "--sequential").key).toMatch(/^seq-[0-9]{16}$/);
    expect(jadeDb(["del", "a/b", "--if-version", "9"]).status).toBe(5);
    expect(json("del", "a/b")).toMatchObject({ deleted: 1 });
    expect(jadeDb(["del", "a/b"]).status).toBe(3);
    expect(jadeDb(["get", "a/b"]).status).toBe(3);
    expect(jadeDb(["get", "a/b", "--revision", "999"]).status).toBe(2);
    expect(jadeDb(["put", "a", "no json"]).status).toBe(2);
    expect(jadeDb(["del"]).status).toBe(2);
  });

  it("ranges, transactions, leases, the keyspace as a whole", () => {
    for (const key of ["r/1", "r/2", "r/x/1"]) json("put", key, '"v"');
    expect(json("range", "r/").map(({ key }: { key: string }) => key)).toEqual(["r/1", "r/2", "r/x/1"]);
    expect(json("range", "--prefix", "r/", "--limit", "2")).toHaveLength(2);
    expect(jadeDb(["range", "r/", "--prefix", "r/"]).status).toBe(2);
    for (const args of [["--prefix", "r/"], ["r/", "--prefix"], ["r/x/1"]]) {
      const seen = jadeDb(["watch", ...args, "--rev", "2", "--count", "1"]).stdout;
      expect(JSON.parse(seen).events[0].key).toMatch(/^r\//);
    }
    expect(jadeDb(["watch", "r/", "--prefix", "r/"]).status).toBe(2);
    expect(json("range", "r/", "--delimiter", "/").at(-1)).toEqual({ key: "r/x/", commonPrefix: true });
    expect(json("range", "--start", "r/2", "--end", "r/x", "--keys-only")).toHaveLength(1);
    expect(json("range", "r/", "--limit", "2", "--order", "desc")).toHaveLength(2);
    expect(json("range", "r/", "--sort", "modRevision", "--order", "desc")[0].key).toBe("r/x/1");
    expect(json("range", "r/", "--count")).toEqual({ count: 3 });
    const txn = {
      compare: [{ key: "r/1", target: "version", value: 1 }],
      success: [{ op: "put", key: "t", value: 1 }],
    };
    const ran = jadeDb(["txn", "-o", "json"], JSON.stringify(txn));
    expect(JSON.parse(ran.stdout)).toMatchObject({ succeeded: true, responses: [{ op: "put", key: "t" }] });
    expect(jadeDb(["txn"], '{"compare": 1}').status).toBe(2);
    expect(json("del", "--prefix", "r/")).toMatchObject({ deleted: 3 });

    expect(json("lease", "grant", "60", "--id", "5")).toEqual({ leaseId: "5", ttlSeconds: 60 });
    json("put", "leased", "1", "--lease", "5");
    expect(json("lease", "keep-alive", "5")).toEqual({ leaseId: "5", ttlSeconds: 60 });
    expect(json("lease", "ttl", "5", "--keys")).toMatchObject({ keys: ["leased"], grantedTtlSeconds: 60 });
    expect(json("lease", "list")).toEqual([{ leaseId: "5" }]);
    expect(json("lease", "revoke", "5")).toEqual({ leaseId: "5", revoked: true });
    expect(jadeDb(["lease", "ttl", "5"]).status).toBe(3);
    expect(jadeDb(["lease", "grant", "soon"]).status).toBe(2);

    const { revision, keys, namespace } = json("status");
    expect([namespace, keys]).toEqual(["cli", 4]);
    expect(json("compact", String(revision))).toEqual({ compactedRevision: revision, revision });
    expect(jadeDb(["get", "t", "--revision", "2"]).status).toBe(5);
    expect(json("namespaces").map((row: { namespace: string }) => row.namespace)).toContain("cli");
    expect(json("namespaces", "delete", "cli")).toMatchObject({ namespace: "cli", erasure: "done" });
    expect(jadeDb(["namespaces", "delete", "cli"]).status).toBe(3);
  });
});
