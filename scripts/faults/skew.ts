// Storage nodes that hold unequal shares, in a real cluster under `cluster.rebalancePolicy: act`: what it does unasked, how fast, what clients feel, and that it ends.
// Guarantees: everything that was acknowledged is looked for at `all`, in the end. Must not: order any change that `act` is to order.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { firstNodes } from "../../src/access/ring-start.ts";
import type { JadeClient, NodeOperation } from "../../src/client/index.ts";
import { Ring } from "../../src/cluster/ring.ts";
import { tokenOf } from "../../src/cluster/token.ts";
import { Cluster } from "./cluster.ts";
import { Prober } from "./prober.ts";
import { forEach, until, Writes } from "./writes.ts";

const EVERY_S = 10;
const KEYS_PER_SECOND = 50;
const SETTINGS = `cluster: { rebalancePolicy: act, rebalanceAbove: 1.2, rebalanceEverySeconds: ${EVERY_S}, rebalanceKeysPerSecond: ${KEYS_PER_SECOND}, rebalanceLeastMiB: 1 }
keyValue: { ringGraceSeconds: 5 }
`;
const INSTANCES = 4;
const REPLICAS = 2;
const KEYS = 600;
const VALUE_CHARACTERS = 20_000;
/** One that is told of is on the way, two looks must agree: after so long without anything it is over. */
const CALM_MS = 4.5 * EVERY_S * 1000;
const QUIET_MS = 5000;
const POLL_MS = 200;
const HEAVY = "n1";

export interface SkewOptions {
  readonly report: (line: string) => void;
}

/** Names of keys that one node is a replica of; the first tenant of a deployment has the number 1. */
function heavyKeys(): string[] {
  const ring = new Ring(firstNodes(INSTANCES, INSTANCES));
  const names = Array.from({ length: KEYS * INSTANCES }, (_, index) => `key-${index}`);
  return names.filter((name) => ring.replicas(tokenOf(1, name), REPLICAS).write.includes(HEAVY)).slice(0, KEYS);
}

/** Node → bytes, as its metrics tell. */
async function held(cluster: Cluster): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`${cluster.url("z1")}/metrics`)).text();
  const bytes = new Map<string, number>();
  for (const [, node = "", value] of text.matchAll(/^jade_storage_(?:table|memtable)_bytes\{node="([^"]+)"\} (\S+)$/gm))
    bytes.set(node, (bytes.get(node) ?? 0) + Number(value));
  return bytes;
}

function shownBytes(bytes: ReadonlyMap<string, number>): string {
  const mean = [...bytes.values()].reduce((a, b) => a + b, 0) / bytes.size;
  const nodes = [...bytes].map(([node, each]) => `${node} ${(each / 2 ** 20).toFixed(1)}`);
  return `${nodes.join(", ")} MiB: at most ${(Math.max(...bytes.values()) / mean).toFixed(2)} of the mean`;
}

function shownOperation({ operationId, kind, nodeId, state, progress, createdAt, finishedAt }: NodeOperation): string {
  const seconds = (Date.parse(finishedAt ?? "") - Date.parse(createdAt)) / 1000;
  return `operation ${operationId} (${kind} ${nodeId}) is ${state} after ${seconds.toFixed(0)} s, ${progress.keysMoved} keys moved`;
}

class Skew {
  readonly #report: (line: string) => void;
  readonly #cluster: Cluster;
  readonly #root: JadeClient;
  readonly #beganMs = performance.now();

  constructor(cluster: Cluster, root: JadeClient, report: (line: string) => void) {
    this.#cluster = cluster;
    this.#root = root;
    this.#report = (line) =>
      report(`${((performance.now() - this.#beganMs) / 1000).toFixed(0).padStart(4)} s: ${line}`);
  }

  async tellBytes(): Promise<void> {
    this.#report(shownBytes(await held(this.#cluster)));
  }

  /** Until nothing has been ordered for several looks. Gives what was done. */
  async untilCalm(): Promise<readonly NodeOperation[]> {
    const told = new Set<number>();
    let calmSinceMs = performance.now();
    while (performance.now() - calmSinceMs < CALM_MS) {
      for (const { number, message } of (await this.#root.clusterEvents()).toReversed()) {
        if (told.has(number)) continue;
        told.add(number);
        this.#report(message);
        calmSinceMs = performance.now();
      }
      const open = (await this.#root.clusterNodes.operations()).some(({ finishedAt }) => finishedAt === null);
      if (open) calmSinceMs = performance.now();
      await sleep(POLL_MS);
    }
    const done = (await this.#root.clusterNodes.operations()).toReversed();
    for (const operation of done) this.#report(shownOperation(operation));
    return done;
  }
}

/** @returns problems */
export async function answerSkew({ report }: SkewOptions): Promise<string[]> {
  const problems: string[] = [];
  const cluster = await Cluster.start({ instances: INSTANCES, settings: SETTINGS });
  const root = cluster.client("z1", cluster.rootKey, { attempts: 60 });
  const closing: JadeClient[] = [root];
  try {
    const { apiKey } = await root.tenants.create({ tenantId: "acme", replicationFactor: REPLICAS });
    const client = cluster.client("z1", apiKey, { attempts: 60 });
    closing.push(client);
    const writes = new Writes();
    const skew = new Skew(cluster, root, report);
    const prober = new Prober("put", (count) => writes.put(client, `live-${count % 100}`, count), 10);
    prober.start();
    await sleep(QUIET_MS);
    const quiet = prober.away(0);
    report(`puts one after the other, nothing else: ${quiet.asked} in ${QUIET_MS / 1000} s`);
    const filling = "x".repeat(VALUE_CHARACTERS);
    await forEach(heavyKeys(), (key) => writes.put(client, key, 1, filling));
    report(
      `${writes.count} keys with ${REPLICAS} replicas over ${INSTANCES} nodes, one of each large one's at ${HEAVY}`,
    );
    await skew.tellBytes();
    const loadedMs = performance.now();
    await until("an operation", async () => (await root.clusterNodes.operations()).length > 0);
    const done = await skew.untilCalm();
    const [meanwhile, seconds] = [prober.away(loadedMs), (performance.now() - loadedMs) / 1000];
    await prober.stop();
    await skew.tellBytes();
    report(`calm for ${CALM_MS / 1000} s, with a look every ${EVERY_S} s`);
    const { asked, failed, longestMs } = meanwhile;
    report(
      `puts meanwhile: ${asked} in ${seconds.toFixed(0)} s, ${failed} failed, ${longestMs} ms between two at most`,
    );
    const missing = await writes.missing(client);
    report(`${writes.count - missing.length} of ${writes.count} keys are there at all replicas`);
    problems.push(...missing);
    if (failed > 0) problems.push(`puts failed: ${JSON.stringify(meanwhile.codes)}`);
    for (const operation of done)
      if (operation.kind !== "weigh" || operation.state !== "finished") problems.push(shownOperation(operation));
    return problems;
  } finally {
    for (const each of closing) each.close();
    if (problems.length > 0 && existsSync(cluster.logPath)) report(`the log: ${cluster.keepLog()}`);
    await cluster.dispose();
  }
}
