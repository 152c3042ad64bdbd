// A deployment that runs gets one more zone by a rolling restart with a longer table, and loses it again by one with a shorter table, under clients all the while.
// Guarantees: every acknowledged write is looked for at the end (faults/workload.ts). Must not: go on to the next instance before the last one is ready.
import { setTimeout as sleep } from "node:timers/promises";
import { isJadeError, JadeClient } from "../../src/client/index.ts";
import { Prober } from "../faults/prober.ts";
import { Workload } from "../faults/workload.ts";
import { Balancer } from "./balancer.ts";
import { Instances } from "./instances.ts";

const ZONES = ["z1", "z2", "z3"];
const NEW = "z4";
const WITHIN_MS = 300_000;
const POLL_MS = 200;
const DRAIN_MS = 2000;
const VECTORS = 400;

export interface ZonesOptions {
  readonly report: (line: string) => void;
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + WITHIN_MS;
  while (!(await check().catch(() => false))) {
    if (performance.now() > end) throw new Error(`${what}: not within ${WITHIN_MS / 1000} s`);
    await sleep(POLL_MS);
  }
}

class ZoneChange {
  readonly problems: string[] = [];
  readonly #instances: Instances;
  readonly #balancer: Balancer;
  readonly #root: JadeClient;
  readonly #report: (line: string) => void;
  readonly #beganMs = performance.now();

  constructor(instances: Instances, balancer: Balancer, report: (line: string) => void) {
    this.#instances = instances;
    this.#balancer = balancer;
    this.#root = instances.client("z1", instances.rootKey, { attempts: 60 });
    this.#report = report;
  }

  tell(line: string): void {
    this.#report(`${((performance.now() - this.#beganMs) / 1000).toFixed(1)} s: ${line}`);
  }

  /** One after the other. */
  async roll(peers: readonly string[]): Promise<void> {
    for (const zone of ZONES) {
      this.#balancer.takeOut(zone);
      await sleep(DRAIN_MS);
      await this.#instances.stop(zone);
      this.#instances.start(zone, { peers });
      await this.#instances.untilReady(zone);
      this.#balancer.putBack(zone);
      this.tell(`${zone} runs with ${peers.join(", ")}`);
      if (zone !== ZONES.at(-1) && peers.includes(NEW)) await this.#tooEarly();
    }
  }

  /** Not every instance knows the zone. */
  async #tooEarly(): Promise<void> {
    const told = await this.#root.clusterNodes.add({ zone: NEW }).then(
      () => undefined,
      (error: unknown) => (isJadeError(error) ? `${error.code}: ${error.message}` : String(error)),
    );
    this.tell(`a storage node in ${NEW} is refused: ${told}`);
    if (!/^(conflict|invalidRequest)/.test(told ?? "")) this.problems.push(`a node was added too early: ${told}`);
  }

  async ended(operation: { readonly operationId: number; readonly nodeId: string }): Promise<void> {
    const { operationId } = operation;
    await until(`operation ${operationId}`, async () => {
      const info = (await this.#root.clusterNodes.operations()).find((each) => each.operationId === operationId);
      return info?.state === "finished";
    });
    this.tell(`operation ${operationId} is finished`);
  }

  get nodes() {
    return this.#root.clusterNodes;
  }

  close(): void {
    this.#root.close();
  }
}

/** A database with copies, and what clients ask through the balancer. */
class Clients {
  readonly client: JadeClient;
  readonly #asking: readonly Prober[];

  constructor(url: string, apiKey: string) {
    this.client = new JadeClient({ url, apiKey, timeoutMs: 60_000, retries: { attempts: 60, maxMs: 1000 } });
    const { kv, config } = this.client;
    const vectors = this.client.vectors("copied");
    const quorum = { consistency: "quorum" } as const;
    this.#asking = [
      new Prober("key-value put", (count) => kv.put(`a/${count % 50}`, count, quorum)),
      new Prober("key-value get", (count) => kv.get(`a/${count % 50}`, quorum)),
      new Prober("configuration put", (count) => config.namespace("asked").put("key", count)),
      new Prober("eventual search", async (count) => {
        const at = count % VECTORS;
        const { results } = await vectors.search({ vector: [at, 1] }, { topK: 1, consistency: "eventual" });
        if (results[0]?.id !== `v${at}`) throw new Error(`v${at} was not found`);
      }),
    ];
  }

  async start(): Promise<void> {
    const shape = { vectorDimension: 2, metric: "euclidean", sharding: { numShards: 4 } } as const;
    await this.client.databases.create({ databaseId: "copied", ...shape, replication: { factor: 3 } });
    const rows = Array.from({ length: VECTORS }, (_, at) => ({ id: `v${at}`, values: [at, 1] }));
    await this.client.vectors("copied").upsertMany(rows);
    for (const prober of this.#asking) prober.start();
  }

  /** When so many copies serve, all of them in `zones`: where they stand. */
  async copies(count: number, zones: readonly string[]): Promise<string> {
    let shown = "";
    await until(`${count} copies in ${zones.join(", ")}`, async () => {
      const { shards } = await this.client.databases.status("copied");
      const copies = shards.flatMap(({ replicas = [] }) => replicas);
      shown = copies.map(({ zone }) => zone).join(" ");
      const isGood = copies.every(({ zone, state }) => zones.includes(zone) && state === "serving");
      return isGood && copies.length === count;
    });
    return shown;
  }

  /** What was in a zone that is gone holds nothing up. */
  async changeDatabases(): Promise<void> {
    await this.client.databases.create({ databaseId: "after", vectorDimension: 2, replication: { factor: 2 } });
    await this.client.databases.delete("after");
    await this.client.databases.update("copied", { replication: { factor: 2 } });
    await this.copies(4, ZONES);
  }

  /** Gives problems. */
  async stop(sinceMs: number, report: (line: string) => void): Promise<string[]> {
    await Promise.all(this.#asking.map((prober) => prober.stop()));
    return this.#asking.flatMap((prober) => {
      const away = prober.away(sinceMs);
      report(`${prober.name.padEnd(20)} ${JSON.stringify(away)}`);
      return away.failed > 0 ? [`${prober.name}: ${away.failed} of ${away.asked} failed`] : [];
    });
  }
}

async function come(change: ZoneChange, instances: Instances, clients: Clients): Promise<string> {
  await change.roll([...ZONES, NEW]);
  instances.start(NEW, { peers: [...ZONES, NEW] });
  await instances.untilReady(NEW);
  change.tell(`${NEW} is ready`);
  const added = await change.nodes.add({ zone: NEW, graceSeconds: 1 });
  change.tell(`operation ${added.operationId} adds ${added.joiningId}`);
  await change.ended(added);
  const { databases } = clients.client;
  await databases.update("copied", { replication: { factor: 4 } });
  change.tell(`factor 4: copies in ${await clients.copies(12, [...ZONES, NEW])}`);
  await databases.update("copied", { replication: { factor: 3 } });
  change.tell(`factor 3: copies in ${await clients.copies(8, [...ZONES, NEW])}`);
  return added.joiningId!;
}

async function go(change: ZoneChange, instances: Instances, clients: Clients, nodeId: string): Promise<void> {
  await change.ended(await change.nodes.remove(nodeId, { graceSeconds: 1 }));
  change.tell(`without ${nodeId} copies are in ${await clients.copies(8, ZONES)}`);
  await instances.stop(NEW);
  change.tell(`${NEW} has ended`);
  await change.roll(ZONES);
  await clients.changeDatabases();
}

/** @returns problems */
export async function changeZones({ report }: ZonesOptions): Promise<string[]> {
  const instances = await Instances.prepare([...ZONES, NEW]);
  const balancer = new Balancer(new Map(ZONES.map((zone) => [zone, instances.urls.get(zone)!])));
  const change = new ZoneChange(instances, balancer, report);
  const closing: { close(): void }[] = [change];
  try {
    for (const zone of ZONES) instances.start(zone, { peers: ZONES });
    await Promise.all(ZONES.map((zone) => instances.untilReady(zone)));
    const admin = instances.client("z1", instances.rootKey, { attempts: 60 });
    const { apiKey } = await admin.tenants.create({ tenantId: "zones" });
    const clients = new Clients(await balancer.start(), apiKey);
    closing.push(admin, clients.client);
    const workload = new Workload({ zones: ZONES, client: (...of) => instances.client(...of) }, { apiKey, seed: 1 });
    await workload.start();
    await clients.start();
    const beganMs = performance.now();
    const nodeId = await come(change, instances, clients);
    await go(change, instances, clients, nodeId);
    change.problems.push(...(await clients.stop(beganMs, report)));
    await workload.finish();
    report(JSON.stringify(workload.counts));
    return [...change.problems, ...workload.problems];
  } finally {
    for (const each of closing) each.close();
    balancer.stop();
    await instances.dispose();
  }
}
