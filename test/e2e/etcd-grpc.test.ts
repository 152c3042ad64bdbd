// Native gRPC: Debian's etcdctl and the npm package etcd3, as they are, against the front of a served JadeDB.
import { Etcd3, EtcdLeaseInvalidError } from "etcd3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningServer } from "../../scripts/lib/server-process.mjs";
import { runConformance } from "./etcd/conformance.ts";
import { etcdctl } from "./etcd/etcdctl.ts";
import { startWithGrpc } from "./etcd/grpc-front.ts";
import { observe } from "./etcd/observe.ts";
import { RealEtcd, whyNoEtcd } from "./etcd/real-etcd.ts";
import { workerdPid } from "./serve-process.ts";

const missing = whyNoEtcd();
/** Ids, sizes, hashes, and who users and members are: docs/etcd.md. */
const DIFFERENT =
  /^(snapshot status|member (list|remove)|endpoint (status|hashkv)|user (list|add)|role list|move-leader|auth enable)/;
let jade: RunningServer;
let grpc = "";

beforeAll(async () => {
  const started = await startWithGrpc();
  jade = started.server;
  grpc = `http://${started.grpc}`;
});
afterAll(() => jade?.dispose());

async function newTenant(tenantId: string): Promise<string> {
  const response = await fetch(`${jade.url}/v1/tenants`, {
    method: "POST",
    headers: { authorization: `Bearer ${jade.rootKey}`, "content-type": "application/json" },
    body: JSON.stringify({ tenantId }),
  });
  return ((await response.json()) as { data: { apiKey: string } }).data.apiKey;
}

describe.skipIf(missing !== undefined)(`etcdctl${missing ? `: skipped, ${missing}` : ""}`, () => {
  let etcd: RealEtcd;
  beforeAll(async () => {
    etcd = await RealEtcd.start();
  });
  afterAll(() => etcd?.stop());

  it("[CF-66] [CF-69] commands in order print the same and exit with the same code, but for those that the page names", async () => {
    const rows = await runConformance(etcd.url, grpc);
    for (const { command, etcd: theirs, ours } of rows) {
      if (!DIFFERENT.test(command)) expect(ours, `etcdctl ${command}`).toBe(theirs);
    }
    expect(rows.filter(({ isSame }) => isSame).length).toBeGreaterThanOrEqual(62);
    const watched = rows.find(({ command }) => command.startsWith("watch "))!;
    expect(watched.etcd).toContain("DELETE");
  });

  it("[CF-66] status, hash and members of an endpoint that is dialled by its URL", async () => {
    for (const args of [
      ["endpoint", "status"],
      ["endpoint", "status", "--cluster"],
      ["endpoint", "hashkv"],
    ]) {
      const { code, stdout, errors } = await etcdctl(grpc, args);
      expect([code, errors], args.join(" ")).toEqual([0, ""]);
      expect(stdout).toContain(`${grpc}, `);
    }
    expect((await etcdctl(grpc, ["member", "list"])).stdout).toMatch(/^[0-9a-f]+, started, jade, http/);
  });

  it("[CF-161] Election.Observe: each leader and value, as etcd tells them", async () => {
    const told: string[][] = [];
    for (const url of [etcd.url, grpc]) {
      const observed = observe(url, "observed");
      await etcdctl(url, ["elect", "observed", "first"], "", 1500);
      await etcdctl(url, ["elect", "observed", "second"], "", 1500);
      await expect.poll(() => observed.values.length, { timeout: 15_000 }).toBeGreaterThanOrEqual(2);
      observed.close();
      told.push(observed.values);
    }
    expect(told).toEqual([
      ["first", "second"],
      ["first", "second"],
    ]);
  });

  it("[CF-62] --user: a tenant's API key opens its keyspace, a wrong one says what etcd says", async () => {
    const key = await newTenant("etcdctl");
    expect(await etcdctl(grpc, ["--user", `etcdctl:${key}`, "put", "mine", "1"])).toMatchObject({ stdout: "OK\n" });
    expect(await etcdctl(grpc, ["--user", `etcdctl/other:${key}`, "get", "mine"])).toMatchObject({ stdout: "" });
    expect(await etcdctl(grpc, ["get", "mine"])).toMatchObject({ stdout: "" });
    const wrong = await etcdctl(grpc, ["--user", `etcdctl:${key}x`, "get", "mine"]);
    expect(wrong.errors).toBe("Error: etcdserver: authentication failed, invalid user ID or password");
    const users = await etcdctl(grpc, ["--user", `etcdctl:${key}`, "user", "list"]);
    expect(users.stdout).toBe("etcdctl\n");
    const added = await etcdctl(grpc, ["--user", `etcdctl:${key}`, "user", "add", "x:y"]);
    expect(added.errors).toContain("users are tenants");
  });
});

describe("the npm package etcd3", () => {
  it("[CF-67] puts, gets, ranges, deletes and transactions", async () => {
    const client = new Etcd3({ hosts: grpc }).namespace("e3/");
    await Promise.all(Array.from({ length: 300 }, (_, i) => client.put(`k${i}`).value(`v${i}`)));
    const all = await client.getAll().prefix("k").strings();
    expect(Object.keys(all)).toHaveLength(300);
    expect(all["k299"]).toBe("v299");
    expect(await client.get("absent").string()).toBeNull();
    const taken = await client.if("k1", "Value", "==", "v1").then(client.put("k1").value("w")).commit();
    expect(taken.succeeded).toBe(true);
    const refused = await client.if("k1", "Version", "<", 2).then(client.put("k1").value("x")).commit();
    expect(refused.succeeded).toBe(false);
    expect(await client.get("k1").string()).toBe("w");
    expect((await client.delete().prefix("k")).deleted).toBe("300");
  });

  it("[CF-67] leases: kept alive, revoked with their keys, and gone", async () => {
    const client = new Etcd3({ hosts: grpc });
    const lease = client.lease(2);
    await lease.put("leased").value("x");
    await new Promise((resolve) => setTimeout(resolve, 3500));
    expect(await client.get("leased").string()).toBe("x");
    await lease.revoke();
    expect(await client.get("leased").string()).toBeNull();
    await expect(lease.put("leased").value("y").exec()).rejects.toThrow(EtcdLeaseInvalidError);
    client.close();
  });

  it("[CF-69] a watch: puts and deletes with previous values, in order, over a kill -9 of what is behind", async () => {
    const client = new Etcd3({ hosts: grpc });
    const watcher = await client.watch().prefix("seen/").withPreviousKV().create();
    const seen: string[] = [];
    watcher.on("put", (kv, previous) => seen.push(`${kv.key}=${kv.value} was ${previous?.value ?? "nothing"}`));
    watcher.on("delete", (kv, previous) => seen.push(`${kv.key} gone, was ${previous?.value}`));
    await client.put("seen/a").value("1");
    await client.put("seen/a").value("2");
    await client.put("other").value("x");
    await client.delete().key("seen/a");
    const first = ["seen/a=1 was nothing", "seen/a=2 was 1", "seen/a gone, was 2"];
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(first);
    process.kill(workerdPid(jade.dataDir), "SIGKILL");
    const put = (): Promise<boolean> =>
      client
        .put("seen/b")
        .value("3")
        .exec()
        .then(
          () => true,
          () => false,
        );
    await expect.poll(put, { timeout: 20_000 }).toBe(true);
    await expect.poll(() => seen.at(-1), { timeout: 20_000 }).toMatch(/^seen\/b=3/);
    expect(seen.slice(0, 3)).toEqual(first);
    await watcher.cancel();
    client.close();
  });

  it("[CF-67] a lock keeps others out until it is released; an election has one leader", async () => {
    const [one, two] = [new Etcd3({ hosts: grpc }), new Etcd3({ hosts: grpc })];
    const held = await one.lock("the-lock").ttl(5).acquire();
    await expect(two.lock("the-lock").ttl(5).acquire()).rejects.toThrow();
    await held.release();
    await (await two.lock("the-lock").ttl(5).acquire()).release();
    const campaign = one.election("chief", 5).campaign("one");
    await new Promise((resolve) => campaign.once("elected", resolve));
    expect(await two.election("chief", 5).leader()).toBe("one");
    await campaign.resign();
    one.close();
    two.close();
  });

  it("[CF-67] user and password", async () => {
    const password = await newTenant("etcd3");
    const client = new Etcd3({ hosts: grpc, auth: { username: "etcd3", password } });
    await client.put("mine").value("1");
    expect(await new Etcd3({ hosts: grpc }).get("mine").string()).toBeNull();
    expect(await client.get("mine").string()).toBe("1");
  });

  it("[CF-65] values of 1 MiB come and go; one over it is refused, as is a message over the bound", async () => {
    const client = new Etcd3({ hosts: grpc });
    const value = Buffer.alloc(1024 * 1024, 7);
    await client.put("large").value(value);
    expect(Buffer.compare((await client.get("large").buffer())!, value)).toBe(0);
    await expect(
      client
        .put("large")
        .value(Buffer.alloc(1024 * 1024 + 1))
        .exec(),
    ).rejects.toThrow(/request is too large/);
    await expect(
      client
        .put("large")
        .value(Buffer.alloc(13 * 1024 * 1024))
        .exec(),
    ).rejects.toThrow(/larger than max/);
  });

  it("[CF-65] kill -9 of what is behind the front: calls end in a status, go on by themselves, and what was acknowledged is there", async () => {
    const client = new Etcd3({ hosts: grpc }).namespace("kill/");
    const outcomes: boolean[] = [];
    const deadline = Date.now() + 30_000;
    for (let i = 0; i < 40 || !outcomes.slice(-20).every(Boolean); i++) {
      expect(Date.now()).toBeLessThan(deadline);
      if (i === 20) process.kill(workerdPid(jade.dataDir), "SIGKILL");
      const put = client.put(`k${i}`).value("v").exec();
      outcomes.push(await put.then(() => true).catch(() => false));
    }
    expect(outcomes.slice(0, 20).every(Boolean)).toBe(true);
    const keys = await client.getAll().keys();
    for (const [i, isAcknowledged] of outcomes.entries()) if (isAcknowledged) expect(keys).toContain(`k${i}`);
  });
});
