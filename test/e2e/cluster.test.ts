// A cluster of three instances with its bucket on this machine, one of them killed while clients work through all of them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "../../scripts/faults/cluster.ts";
import { Prober } from "../../scripts/faults/prober.ts";
import { eventNumbers, WebhookReceiver } from "../../scripts/faults/receiver.ts";
import { Workload } from "../../scripts/faults/workload.ts";
import type { JadeClient } from "../../src/client/index.ts";
import { until } from "./until.ts";

let cluster: Cluster;
let apiKey: string;
let receiver: WebhookReceiver;

beforeAll(async () => {
  const beganMs = performance.now();
  receiver = await WebhookReceiver.start();
  const settings = "cluster: { eventsTenant: acme }\nwebhooks: { allowedNetworks: [127.0.0.1] }\n";
  cluster = await Cluster.start({ instances: 3, overTls: true, settings });
  console.log(`three instances are ready after ${Math.round(performance.now() - beganMs)} ms`);
  const root = cluster.client("z1", cluster.rootKey, { attempts: 10 });
  apiKey = (await root.tenants.create({ tenantId: "acme" })).apiKey;
  const acme = cluster.client("z2", apiKey, { attempts: 10 });
  const { url, secret } = receiver;
  await acme.config.webhooks.create({ url, secret, prefix: "cluster/events/", events: ["put"] });
  for (const client of [root, acme]) client.close();
});

afterAll(async () => {
  receiver?.close();
  await cluster?.dispose();
});

/** Sum of a metric over its series, as one instance tells it. */
async function metric(zone: string, name: string): Promise<number> {
  const text = await (await fetch(`${cluster.url(zone)}/metrics`)).text();
  let sum = 0;
  for (const [, value] of text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))) sum += Number(value);
  return sum;
}

describe("three instances", () => {
  it("[CL-8] a second start of the same cluster is refused, before it touches the bucket", async () => {
    const args = ["cluster", "start", "--port", "0", "--data-dir", cluster.directory];
    const second = spawn(process.execPath, ["bin/jade-db.mjs", ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let told = "";
    for (const stream of [second.stdout, second.stderr]) stream.on("data", (text) => (told += text));
    const [code] = await once(second, "close");
    expect({ code, told }).toEqual({ code: 1, told: expect.stringContaining("is in use by another instance") });
    expect(told).not.toContain("bucket  ");
  });

  it("[CL-10] are one deployment: what one took the others give, and each knows who is there", async () => {
    const clients = cluster.zones.map((zone) => cluster.client(zone, apiKey, { attempts: 5 }));
    const [first, second, third] = clients;
    await first!.kv.put("a", { from: "z1" }, { consistency: "all" });
    expect((await third!.kv.get("a")).value).toEqual({ from: "z1" });
    const { revision } = await second!.config.put("flag", "on");
    expect(await first!.config.get("flag")).toMatchObject({ found: true, value: "on", modRevision: revision });
    const root = cluster.client("z2", cluster.rootKey, { attempts: 5 });
    const { mode, answeredBy, directory, instances } = await root.cluster();
    expect({ mode, answeredBy, directory }).toEqual({ mode: "cluster", answeredBy: "z2", directory: "answering" });
    const shown = instances.map(({ zone, zoneProcess, leadersProcess, nodes }) => {
      return [zone, zoneProcess, leadersProcess, ...nodes.map(({ nodeId, answering }) => `${nodeId} ${answering}`)];
    });
    expect(shown).toEqual([1, 2, 3].map((n) => [`z${n}`, "answering", "answering", `n${n} true`]));
    for (const client of [...clients, root]) client.close();
  });

  /** A vector database with copies, where one zone can hold none. */
  async function madeAndDeleted(client: JadeClient): Promise<void> {
    const shape = { vectorDimension: 2, sharding: { numShards: 3 }, replication: { factor: 2 } };
    await client.databases.create({ databaseId: "made", ...shape });
    await client.vectors("made").upsert({ id: "a", values: [1, 0] });
    await client.databases.delete("made");
    await client.databases.create({ databaseId: "made", ...shape });
  }

  it("[CL-93] [CL-91] [CL-98] [VE-318] see by gossip that one is stopped, and when it is alive again; so does the Directory", async () => {
    const root = cluster.client("z2", cluster.rootKey, { attempts: 5 });
    const second = cluster.client("z2", apiKey, { attempts: 1, timeoutMs: 5000 });
    const gossipOf = async (zone: string) => (await root.cluster()).instances.find((each) => each.zone === zone)!;
    const isSeen = (zone: string, state: string) => until(async () => (await gossipOf(zone)).gossip?.state === state);
    for (const zone of cluster.zones) expect(await isSeen(zone, "alive")).toBe(true);
    // Its supervisor has a deadline.
    const withUse = async (zone: string) => {
      for (;;) {
        const { gossip, use } = await gossipOf(zone);
        if (use?.processes.length === 3) return { zone, gossip: gossip!, use };
      }
    };
    // Not the one that owns the Directory, which would be told only after a takeover.
    const weight = ({ owners }: { owners: Readonly<Record<string, number>> }) =>
      2 * (owners["Directory"] ?? 0) + (owners["Tenant"] ?? 0);
    const others = [await withUse("z1"), await withUse("z3")].sort((a, b) => weight(a.use) - weight(b.use));
    const before = others[0]!;
    const { zone: stopped } = before;
    expect(before.use.processes.map(({ role }) => role)).toEqual(["supervisor", "zone", "leaders"]);
    for (const { cpuSeconds, residentBytes } of before.use.processes)
      expect([cpuSeconds > 0, residentBytes > 2 ** 24]).toEqual([true, true]);
    const puts = new Prober("put at z2", (count) => second.kv.put(`paused/${count % 50}`, count));
    puts.start();
    expect(await until(() => puts.okSince(0) > 30)).toBe(true);
    cluster.signal("instance", stopped, "SIGSTOP");
    const stoppedMs = performance.now();
    expect(await isSeen(stopped, "failed")).toBe(true);
    console.log(`${stopped} is found failed ${Math.round(performance.now() - stoppedMs)} ms after it was stopped`);
    await puts.stop();
    const away = puts.away(stoppedMs);
    console.log(`puts at z2 while ${stopped} is stopped: ${JSON.stringify(away)}`);
    expect(puts.okSince(stoppedMs)).toBeGreaterThan(0);
    const kinds = async () => (await root.clusterEvents()).map(({ kind, zone }) => `${zone} ${kind}`);
    expect(await until(async () => (await kinds()).includes(`${stopped} instanceFailed`))).toBe(true);
    await madeAndDeleted(second);
    cluster.signal("instance", stopped, "SIGKILL");
    expect(await isSeen(stopped, "alive")).toBe(true);
    expect((await gossipOf(stopped)).gossip!.incarnation).toBeGreaterThan(before.gossip.incarnation);
    expect(await until(() => cluster.isReady(stopped))).toBe(true);
    expect(await until(async () => (await kinds())[0] === `${stopped} instanceBack`)).toBe(true);
    for (const client of [root, second]) client.close();
  });

  it("[EM-63] take texts at every instance, by models that have one owner", async () => {
    const [first, , third] = cluster.zones.map((zone) => cluster.client(zone, apiKey, { attempts: 5 }));
    const bytes = new TextEncoder().encode("red 1 0\nblue 0 1\n");
    await first!.models.add({ modelId: "colours" }, [{ name: "colours.txt", bytes }]);
    const [vector] = await third!.models.embed(["red"], "colours");
    expect([...vector!.values]).toEqual([1, 0]);
    await third!.databases.create({ databaseId: "texts", embeddingModels: [{ modelId: "glove-twitter-25d" }] });
    await third!.vectors("texts").upsert({ id: "cake", text: "She baked a chocolate cake" });
    const { results } = await first!.vectors("texts").search({ text: "dessert recipe" }, { topK: 1 });
    expect(results[0]!.id).toBe("cake");
    for (const client of [first, third]) client!.close();
  });

  it("[CL-126] share a port beside their own ones", async () => {
    const headers = { authorization: `Bearer ${cluster.rootKey}`, connection: "close" };
    const seen = new Set<string>();
    const isSpread = async (): Promise<boolean> => {
      const response = await fetch(`${cluster.sharedUrl}/v1/cluster`, { headers });
      expect(response.status).toBe(200);
      seen.add(((await response.json()) as { data: { answeredBy: string } }).data.answeredBy);
      return seen.size === cluster.zones.length;
    };
    expect(await until(isSpread), [...seen].join()).toBe(true);
  });

  it("[CL-11] [CL-12] edge case 4: lose nothing with one of them: key-value goes on, its leaders move, it comes back and is healed", async () => {
    const workload = new Workload(cluster, { apiKey, seed: 1 });
    await workload.start();
    // An owner runs where it was first asked for.
    const first = cluster.client("z1", apiKey, { attempts: 5 });
    await first.config.namespace("probe").put("key", 0);
    first.close();
    const clients = ["z2", "z3"].map((zone) => cluster.client(zone, apiKey, { attempts: 1, timeoutMs: 5000 }));
    const [second, third] = clients;
    const keyValue = [
      new Prober("put at z2", (count) => second!.kv.put(`probe/${count % 50}`, count)),
      new Prober("put at z3", (count) => third!.kv.put(`probe/${50 + (count % 50)}`, count)),
      new Prober("get at z3", (count) => third!.kv.get(`probe/${count % 50}`)),
    ];
    const config = new Prober("config put at z2", (count) => second!.config.namespace("probe").put("key", count));
    for (const prober of [...keyValue, config]) prober.start();
    const beganMs = performance.now();
    expect(await until(() => [...keyValue, config].every((prober) => prober.okSince(beganMs) > 20))).toBe(true);

    cluster.signal("instance", "z1", "SIGKILL");
    const killedMs = performance.now();
    // Leaders are away for as long as the lease of their instance lasts.
    expect(await until(() => config.away(killedMs).failed > 0)).toBe(true);
    const hadFailed = performance.now();
    expect(await until(() => cluster.isReady("z1"))).toBe(true);
    const [readyMs, isBefore] = [Math.round(performance.now() - killedMs), config.okSince(hadFailed) === 0];
    console.log(`z1 is ready again after ${readyMs} ms, ${isBefore ? "before" : "after"} its leaders were taken over`);
    expect(await Promise.all([cluster.isReady("z2"), cluster.isReady("z3")])).toEqual([true, true]);
    expect(await until(() => config.okSince(hadFailed) > 0)).toBe(true);
    await Promise.all([...keyValue, config].map((prober) => prober.stop()));
    await workload.finish();
    for (const prober of [...keyValue, config]) console.log(`${prober.name}: ${JSON.stringify(prober.away(killedMs))}`);
    console.log(JSON.stringify(workload.counts));

    expect(workload.problems).toEqual([]);
    expect(workload.counts.vectors).toBeGreaterThan(10);
    expect(workload.counts.operations).toBeGreaterThan(20);
    // A second on a quiet machine.
    for (const prober of keyValue) expect(prober.away(killedMs).failingMs, prober.name).toBeLessThan(3000);
    expect(config.away(killedMs).longestMs).toBeLessThan(40_000);
    // What the killed one missed was brought to it.
    const pending = async () =>
      (await Promise.all(cluster.zones.map((zone) => metric(zone, "jade_kv_hints_pending")))).reduce((a, b) => a + b);
    expect(await until(async () => (await pending()) === 0)).toBe(true);
    for (const client of clients) client.close();
  });

  it("[CL-149] tell a webhook's receiver what happened to them, each event signed and in order, over the death of an owner", async () => {
    const root = cluster.client("z2", cluster.rootKey, { attempts: 60 });
    const numbers = async () => (await root.clusterEvents()).map(({ number }) => number).toReversed();
    expect(await until(async () => receiver.events.length >= (await numbers()).length)).toBe(true);
    const all = await numbers();
    expect(all.length).toBeGreaterThanOrEqual(2);
    expect(eventNumbers(receiver.events).slice(0, all.length)).toEqual(all);
    expect(receiver.requests.unsigned).toBe(0);
    const kinds = receiver.events.map(({ value }) => (value as { readonly kind: string }).kind);
    expect(kinds.slice(0, 2)).toEqual(["instanceFailed", "instanceBack"]);
    root.close();
  });
});
