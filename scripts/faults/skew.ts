// Storage nodes that hold unequal shares, in a real cluster under `cluster.rebalancePolicy: act`: what it does unasked, how fast, what clients feel, and that it ends.
// Guarantees: everything that was acknowledged is looked for at `all`, in the end. Must not: order any change that `act` is to order.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { JadeClient, NodeOperation } from "../../src/client/index.ts";
import { Cluster } from "./cluster.ts";
import { Prober } from "./prober.ts";
import { forEach, until, Writes } from "./writes.ts";

/** Two looks must agree: so long is there to load. */
const EVERY_S = 20;
const KEYS_PER_SECOND = 50;
const SETTINGS = `cluster: { rebalancePolicy: act, rebalanceAbove: 1.3, rebalanceEverySeconds: ${EVERY_S}, rebalanceKeysPerSecond: ${KEYS_PER_SECOND}, rebalanceLeastMiB: 4 }
keyValue: { ringGraceSeconds: 5 }
`;
const KEYS = 1200;
const VALUE_CHARACTERS = 40_000;
/** After so long without anything it is over: what is due is ordered by the second look. */
const CALM_MS = 3.5 * EVERY_S * 1000;
const QUIET_MS = 5000;
const POLL_MS = 200;
const HEAVY = "n1";

export interface SkewOptions {
  readonly report: (line: string) => void;
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
  const { keysMoved, keysCompared, bytesMoved } = progress;
  const moved = `${keysCompared} keys compared, ${keysMoved} with ${(bytesMoved / 2 ** 20).toFixed(1)} MiB moved`;
  return `operation ${operationId} (${kind} ${nodeId}) is ${state} after ${seconds.toFixed(0)} s: ${moved}`;
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
    return (await this.#root.clusterNodes.operations()).toReversed();
  }
}

/** A second storage node in each zone: one that is alone in its zone must hold what its zone holds, whatever its weight. */
async function addNodes(root: JadeClient, zones: readonly string[]): Promise<void> {
  for (const zone of zones) {
    const { operationId } = await root.clusterNodes.add({ zone, graceSeconds: 0 });
    await until(`a node in ${zone}`, async () => (await root.clusterNodes.operation(operationId)).state === "finished");
  }
}

/** Small values first; who stamped one is a replica of it, and large ones follow where that is one node. Gives how many. */
async function load(client: JadeClient, writes: Writes): Promise<number> {
  const heavy: string[] = [];
  const names = Array.from({ length: KEYS }, (_, index) => `key-${index}`);
  await forEach(names, async (name) => {
    const { vectorClock } = await writes.put(client, name, 1);
    if (Object.keys(vectorClock).some((dot) => dot.startsWith(`${HEAVY}.`))) heavy.push(name);
  });
  const filling = "x".repeat(VALUE_CHARACTERS);
  await forEach(heavy, (name) => writes.put(client, name, 2, filling));
  return heavy.length;
}

/** @returns problems */
export async function answerSkew({ report }: SkewOptions): Promise<string[]> {
  const problems: string[] = [];
  const cluster = await Cluster.start({ instances: 3, settings: SETTINGS });
  const root = cluster.client("z1", cluster.rootKey, { attempts: 60 });
  const closing: JadeClient[] = [root];
  try {
    const client = cluster.client("z1", (await root.tenants.create({ tenantId: "acme" })).apiKey, { attempts: 60 });
    closing.push(client);
    await addNodes(root, cluster.zones);
    const writes = new Writes();
    const skew = new Skew(cluster, root, report);
    const prober = new Prober("put", (count) => writes.put(client, `live-${count % 100}`, count), 10);
    prober.start();
    await sleep(QUIET_MS);
    report(`puts one after the other, nothing else: ${prober.away(0).asked} in ${QUIET_MS / 1000} s`);
    const heavy = await load(client, writes);
    report(
      `${writes.count} keys with three replicas over six nodes, ${heavy} large ones among them, all with one at ${HEAVY}`,
    );
    const loadedMs = performance.now();
    await until("an operation", async () => {
      await skew.tellBytes();
      await sleep(EVERY_S * 500);
      return (await root.clusterNodes.operations()).some(({ kind }) => kind === "weigh");
    });
    const done = (await skew.untilCalm()).filter(({ kind }) => kind === "weigh");
    for (const operation of done) report(shownOperation(operation));
    const [meanwhile, seconds] = [prober.away(loadedMs), (performance.now() - loadedMs) / 1000];
    await prober.stop();
    await skew.tellBytes();
    report(`calm for ${CALM_MS / 1000} s, with a look every ${EVERY_S} s`);
    const { asked, failed, longestMs, codes } = meanwhile;
    report(
      `puts meanwhile: ${asked} in ${seconds.toFixed(0)} s, ${failed} failed, ${longestMs} ms between two at most`,
    );
    const missing = await writes.missing(client);
    report(`${writes.count - missing.length} of ${writes.count} keys are there at all replicas`);
    problems.push(...missing);
    if (failed > 0) problems.push(`puts failed: ${JSON.stringify(codes)}`);
    problems.push(...done.filter(({ state }) => state !== "finished").map(shownOperation));
    return problems;
  } finally {
    for (const each of closing) each.close();
    if (problems.length > 0 && existsSync(cluster.logPath)) report(`the log: ${cluster.keepLog()}`);
    await cluster.dispose();
  }
}
