// A real cluster under faults drawn from a seed, while clients work through every instance, and what each fault cost.
// Guarantees: after each fault all systems answer at all instances again before the next one, or that is a problem; at the end everything that was
// acknowledged is looked for (workload.ts). Must not: print anything but a summary.
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "./cluster.ts";
import { type Drawn, drawn, type Fault, faultOf, type Kind } from "./plan.ts";
import { type Away, Prober } from "./prober.ts";
import { Workload } from "./workload.ts";

/** Until everything answers again. */
const RECOVERY_MS = 120_000;
const POLL_MS = 50;
const SYSTEMS = ["put", "get", "config", "vector"] as const;
type System = (typeof SYSTEMS)[number];

export interface FaultsOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly instances: number;
  readonly overTls?: boolean;
  readonly kinds?: readonly Kind[] | undefined;
  readonly report: (line: string) => void;
}

/** What one fault cost: the longest time without a good answer, in ms, at the instances that were not hurt, or at all. */
export interface FaultCost {
  readonly kind: Kind;
  readonly zone: string;
  readonly recoveredMs: number;
  readonly elsewhere: Readonly<Record<System, number>>;
  readonly anywhere: Readonly<Record<System, number>>;
  readonly failed: Readonly<Record<System, number>>;
  readonly asked: number;
}

interface Asking {
  readonly system: System;
  readonly zone: string;
  readonly prober: Prober;
}

export class Faults {
  readonly #options: FaultsOptions;
  readonly costs: FaultCost[] = [];
  readonly problems: string[] = [];
  counts: Workload["counts"] | undefined;
  #cluster!: Cluster;
  #asking: Asking[] = [];

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { instances, overTls = false, seed, minutes, kinds } = this.#options;
    this.#cluster = await Cluster.start({ instances, overTls });
    try {
      const root = this.#cluster.client("z1", this.#cluster.rootKey, { attempts: 20 });
      const { apiKey } = await root.tenants.create({ tenantId: "faults" });
      root.close();
      const workload = new Workload(this.#cluster, { apiKey, seed });
      await workload.start();
      await this.#startAsking(apiKey);
      const end = performance.now() + minutes * 60_000;
      for (const next of drawn(seed, this.#cluster.zones, kinds)) {
        if (performance.now() > end || this.problems.length > 0) break;
        await this.#one(next);
      }
      await Promise.all(this.#asking.map(({ prober }) => prober.stop()));
      await workload.finish();
      this.problems.push(...workload.problems);
      this.counts = workload.counts;
    } finally {
      await this.#cluster.dispose();
    }
  }

  async #startAsking(apiKey: string): Promise<void> {
    const first = this.#cluster.client("z1", apiKey, { attempts: 20 });
    const { databaseId } = await first.databases.create({ name: "asked", vectorDimension: 2, metric: "euclidean" });
    await first.kv.put("asked", 1);
    first.close();
    for (const zone of this.#cluster.zones) {
      const client = this.#cluster.client(zone, apiKey, { attempts: 1, timeoutMs: 5000 });
      const config = client.config.namespace("asked");
      const ask: Record<System, (count: number) => Promise<unknown>> = {
        put: (count) => client.kv.put(`asked/${zone}/${count % 50}`, count),
        get: () => client.kv.get("asked"),
        config: (count) => config.put(zone, count),
        vector: (count) => client.vectors(databaseId).upsert({ id: `${zone}-${count % 50}`, values: [count, 1] }),
      };
      for (const system of SYSTEMS) {
        const prober = new Prober(`${system} at ${zone}`, ask[system]);
        prober.start();
        this.#asking.push({ system, zone, prober });
      }
    }
    await this.#allAnswer(performance.now());
  }

  /** True when every system has answered at every instance since then. */
  async #allAnswer(sinceMs: number): Promise<boolean> {
    const end = performance.now() + RECOVERY_MS;
    while (!this.#asking.every(({ prober }) => prober.okSince(sinceMs) > 0)) {
      if (performance.now() > end) return false;
      await sleep(POLL_MS);
    }
    return true;
  }

  async #one({ kind, zone, afterMs }: Drawn): Promise<void> {
    await sleep(afterMs);
    const fault = faultOf(kind, zone, this.#cluster.zones);
    const beganMs = performance.now();
    await this.#do(fault);
    const doneMs = performance.now();
    if (!(await this.#allAnswer(doneMs))) {
      const silent = this.#asking.filter(({ prober }) => prober.okSince(doneMs) === 0);
      const names = silent.map(({ prober }) => `${prober.name} ${JSON.stringify(prober.away(doneMs).codes)}`);
      this.problems.push(`${kind} (${zone}): ${names.join(", ")} did not answer within ${RECOVERY_MS / 1000} s`);
    }
    const hurt = fault.kind !== "term" && fault.part === "bucket" ? [] : fault.zones;
    const cost = this.#cost({ kind, zone, hurt, beganMs });
    this.costs.push(cost);
    this.#options.report(JSON.stringify(cost));
  }

  async #do(fault: Fault): Promise<void> {
    switch (fault.kind) {
      case "kill":
        for (const zone of fault.zones) this.#cluster.signal(fault.part, zone, "SIGKILL");
        return;
      case "term":
        for (const zone of fault.zones) {
          const beganMs = performance.now();
          this.#cluster.signal("instance", zone, "SIGTERM");
          await sleep(500);
          await this.#cluster.untilReady(zone);
          await this.#allAnswer(beganMs + 500);
        }
        return;
      case "pause": {
        for (const zone of fault.zones) this.#cluster.signal(fault.part, zone, "SIGSTOP");
        await sleep(fault.forMs);
        for (const zone of fault.zones) this.#cluster.signal(fault.part, zone, "SIGCONT");
        return;
      }
      default:
        return fault satisfies never;
    }
  }

  #cost(of: {
    readonly kind: Kind;
    readonly zone: string;
    readonly hurt: readonly string[];
    readonly beganMs: number;
  }): FaultCost {
    const { kind, zone, hurt, beganMs } = of;
    const all = this.#asking.map((asking) => ({ ...asking, away: asking.prober.away(beganMs) }));
    type Told = { readonly system: System; readonly zone: string; readonly away: Away };
    const longest = (told: readonly Told[], system: System): number =>
      Math.max(0, ...told.filter((each) => each.system === system).map(({ away }) => away.longestMs));
    const bySystem = (value: (system: System) => number): Record<System, number> =>
      Object.fromEntries(SYSTEMS.map((system) => [system, value(system)])) as Record<System, number>;
    const elsewhere = all.filter((each) => !hurt.includes(each.zone));
    const failedOf = (system: System): number =>
      all.filter((each) => each.system === system).reduce((sum, { away }) => sum + away.failed, 0);
    return {
      kind,
      zone,
      recoveredMs: Math.round(performance.now() - beganMs),
      elsewhere: bySystem((system) => longest(elsewhere, system)),
      anywhere: bySystem((system) => longest(all, system)),
      failed: bySystem(failedOf),
      asked: all.reduce((sum, { away }) => sum + away.asked, 0),
    };
  }
}
