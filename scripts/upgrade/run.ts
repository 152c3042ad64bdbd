// A rolling upgrade, tried: three instances of an older build, brought to this one one after the other, under clients that go on all the while.
// Guarantees: every acknowledged write is looked for at the end (faults/workload.ts); a request that its client gave up is a problem; instances
// of both builds run together, each side by side with each. Must not: go on to the next instance before the last one is ready.
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { type Away, Prober } from "../faults/prober.ts";
import { Workload } from "../faults/workload.ts";
import { Balancer } from "./balancer.ts";
import { Instances } from "./instances.ts";

/** Between the last connection that a balancer sends and SIGTERM: as a pod's preStop. Ms. */
const DRAIN_MS = 2000;
/** Both builds side by side under load, before the next one. Ms. */
const SETTLE_MS = 3000;
const SEED = 1;

export interface DrillOptions {
  readonly oldBuild: { readonly directory: string; readonly commit: string };
  readonly instances: number;
  readonly report: (line: string) => void;
}

interface Step {
  readonly zone: string;
  readonly stoppedMs: number;
  readonly readyMs: number;
}

export class UpgradeDrill {
  readonly problems: string[] = [];
  readonly steps: Step[] = [];
  readonly #options: DrillOptions;

  constructor(options: DrillOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { report, oldBuild, instances: count } = this.#options;
    const zones = Array.from({ length: count }, (_, index) => `z${index + 1}`);
    const instances = await Instances.prepare(zones);
    let balancer: Balancer | undefined;
    try {
      for (const zone of zones) instances.start(zone, { build: oldBuild.directory });
      await Promise.all(zones.map((zone) => instances.untilReady(zone)));
      report(`${count} instances of ${oldBuild.commit} are ready`);
      const admin = instances.client("z1", instances.rootKey, { attempts: 20 });
      const { apiKey } = await admin.tenants.create({ tenantId: "upgrade" });
      admin.close();
      balancer = new Balancer(instances.urls);
      const workload = new Workload(instances, { apiKey, seed: SEED });
      await workload.start();
      const asking = await this.#ask(await balancer.start(), apiKey);
      const beganMs = performance.now();
      for (const zone of zones) await this.#upgrade(instances, zone, balancer);
      await sleep(SETTLE_MS);
      await Promise.all(asking.map((prober) => prober.stop()));
      for (const prober of asking) this.#judge(prober.name, prober.away(beganMs));
      await workload.finish();
      report(JSON.stringify(workload.counts));
      this.problems.push(...workload.problems);
    } finally {
      balancer?.stop();
      await instances.dispose();
    }
  }

  /** Through the balancer, with the SDK's own retries; what must wait for a takeover of leaders with more. */
  async #ask(url: string, apiKey: string): Promise<readonly Prober[]> {
    const patient = { retries: { attempts: 60, maxMs: 1000 }, timeoutMs: 60_000 };
    const [plain, session, waiting] = [
      new JadeClient({ url, apiKey }),
      new JadeClient({ url, apiKey, transport: "session" }),
      new JadeClient({ url, apiKey, ...patient }),
    ];
    const { databaseId } = await waiting.databases.create({ name: "asked", vectorDimension: 2, metric: "euclidean" });
    const quorum = { consistency: "quorum" } as const;
    const config = waiting.config.namespace("asked");
    const vectors = waiting.vectors(databaseId);
    const asking = [
      new Prober("key-value put, HTTP", (count) => plain.kv.put(`a/${count % 50}`, count, quorum)),
      new Prober("key-value get, HTTP", (count) => plain.kv.get(`a/${count % 50}`, quorum)),
      new Prober("key-value put, session", (count) => session.kv.put(`b/${count % 50}`, count, quorum)),
      new Prober("key-value get, session", (count) => session.kv.get(`b/${count % 50}`, quorum)),
      new Prober("configuration put", (count) => config.put("key", count)),
      new Prober("configuration get", () => config.get("key")),
      new Prober("vector upsert", (count) => vectors.upsert({ id: `v${count % 50}`, values: [count, 1] })),
      new Prober("vector search", () => vectors.search({ vector: [1, 1] }, { topK: 3 })),
    ];
    await config.put("key", 0);
    for (const prober of asking) prober.start();
    return asking;
  }

  #judge(name: string, away: Away): void {
    this.#options.report(`${name.padEnd(24)} ${JSON.stringify(away)}`);
    if (away.failed > 0)
      this.problems.push(`${name}: ${away.failed} of ${away.asked} failed: ${JSON.stringify(away.codes)}`);
    if (away.asked === 0) this.problems.push(`${name}: nothing was asked`);
  }

  async #upgrade(instances: Instances, zone: string, balancer: Balancer): Promise<void> {
    balancer.takeOut(zone);
    await sleep(DRAIN_MS);
    const beganMs = performance.now();
    await instances.stop(zone);
    const stoppedMs = Math.round(performance.now() - beganMs);
    instances.start(zone);
    await instances.untilReady(zone);
    balancer.putBack(zone);
    const step = { zone, stoppedMs, readyMs: Math.round(performance.now() - beganMs) };
    this.steps.push(step);
    this.#options.report(
      `${zone} runs the present build: stopped after ${step.stoppedMs} ms, ready after ${step.readyMs} ms`,
    );
    await sleep(SETTLE_MS);
  }
}
