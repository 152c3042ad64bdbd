// Each of three instances is asked to end, one after the other, while clients work through the others: how long it takes, and what it costs them.
// Guarantees: the next one is asked when the last one is back.
import { setTimeout as sleep } from "node:timers/promises";
import type { JadeClient } from "../../src/client/index.ts";
import { Cluster } from "./cluster.ts";
import { Prober } from "./prober.ts";

/** Between questions of one prober. */
const PAUSE_MS = 5;
/** After its end: what comes of the takeovers. */
const AFTERWARDS_MS = 2000;
const POLL_MS = 10;
const ENOUGH = 20;

export interface StopsOptions {
  readonly report: (line: string) => void;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // ended
  }
}

function probersAt(client: JadeClient, zone: string): Prober[] {
  return [
    new Prober(`put at ${zone}`, (count) => client.kv.put(`${zone}/${count % 50}`, count), PAUSE_MS),
    new Prober(`get at ${zone}`, (count) => client.kv.get(`${zone}/${count % 50}`), PAUSE_MS),
    new Prober(`config put at ${zone}`, (count) => client.config.put(zone, count), PAUSE_MS),
  ];
}

/** When each of its processes had ended. */
async function stopped(cluster: Cluster, zone: string): Promise<string> {
  const pids = (["instance", "zone", "leaders"] as const).map((part) => [part, cluster.pid(part, zone)] as const);
  const beganMs = performance.now();
  cluster.hold(zone);
  cluster.signal("instance", zone, "SIGTERM");
  const ended = pids.map(async ([part, pid]) => {
    while (isThere(pid)) await sleep(POLL_MS);
    return `${part} ${Math.round(performance.now() - beganMs)} ms`;
  });
  return (await Promise.all(ended)).join(", ");
}

export async function stopEach({ report }: StopsOptions): Promise<void> {
  const cluster = await Cluster.start({ instances: 3 });
  const root = cluster.client("z1", cluster.rootKey, { attempts: 60 });
  const clients: JadeClient[] = [root];
  try {
    const { apiKey } = await root.tenants.create({ tenantId: "acme" });
    for (const zone of cluster.zones) {
      const probers = cluster.zones.flatMap((other) => {
        if (other === zone) return [];
        const client = cluster.client(other, apiKey, { attempts: 1, timeoutMs: 5000 });
        clients.push(client);
        return probersAt(client, other);
      });
      for (const prober of probers) prober.start();
      while (!probers.every((prober) => prober.okSince(0) > ENOUGH)) await sleep(POLL_MS);
      const beganMs = performance.now();
      report(`SIGTERM of ${zone}: ended after: ${await stopped(cluster, zone)}`);
      await sleep(AFTERWARDS_MS);
      await Promise.all(probers.map((prober) => prober.stop()));
      for (const prober of probers) {
        const { asked, failed, longestMs, codes } = prober.away(beganMs);
        const failures = failed === 0 ? "none failed" : `${failed} failed ${JSON.stringify(codes)}`;
        report(`  ${prober.name}: ${asked} asked, ${failures}, ${longestMs} ms between two at most`);
      }
      cluster.letGo(zone);
      await cluster.untilReady(zone);
    }
  } finally {
    for (const each of clients) each.close();
    await cluster.dispose();
  }
}
