// A real cluster under faults drawn from a seed, while clients work through every instance, and what each fault cost.
// Guarantees: after each fault all systems answer at all instances again before the next one, or that is a problem; at the end everything that was
// acknowledged is looked for (workload.ts). Must not: print anything but a summary.
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Consistency, JadeClient } from "../../src/client/index.ts";
import { type Done, perform } from "./actions.ts";
import { Machines } from "./machines.ts";
import { type Drawn, drawn, faultOf, KINDS, type Kind, needOf } from "./plan.ts";
import { Prober } from "./prober.ts";
import { bySystem, type FaultCost, type System } from "./report.ts";
import { Workload } from "./workload.ts";

/** Until everything answers again, also where the machine has much else to do: how long it took is told. */
const RECOVERY_MS = 300_000;
const POLL_MS = 50;
/** Between questions of one prober, for each instance: all of them ask some 500 a second. */
const PAUSE_MS = 15;
const PATIENCE = { attempts: 60 };

export interface FaultsOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly instances: number;
  readonly kinds?: readonly Kind[] | undefined;
  /** Without networks of their own, also where this machine permits these. */
  readonly isOnLoopback?: boolean;
  readonly refused: ReadonlySet<string>;
  readonly report: (line: string) => void;
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
  #machines!: Machines;
  #workload!: Workload;
  #asking: Asking[] = [];
  #isEnough = false;

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  /** No fault after the one under way: what was done is judged. */
  end(): void {
    this.#isEnough = true;
  }

  async run(): Promise<void> {
    const { instances, seed, minutes, kinds = KINDS, refused, isOnLoopback = false } = this.#options;
    const possible = kinds.filter((kind) => !refused.has(needOf(kind) ?? ""));
    const needs = new Set(possible.map(needOf));
    const network = !isOnLoopback && !refused.has("network");
    this.#machines = await Machines.start({ instances, network, disk: needs.has("disk"), clock: needs.has("clock") });
    try {
      const root = this.#machines.client("z1", this.#machines.rootKey, { attempts: 20 });
      const { apiKey } = await root.tenants.create({ tenantId: "faults" });
      root.close();
      this.#workload = new Workload(this.#machines, { apiKey, seed });
      await this.#workload.start();
      await this.#startAsking(apiKey);
      const end = performance.now() + minutes * 60_000;
      for (const next of drawn(seed, this.#machines.zones, possible)) {
        if (this.#isEnough || performance.now() > end || this.problems.length > 0 || this.#workload.problems.length > 0)
          break;
        await this.#one(next);
      }
      await Promise.all(this.#asking.map(({ prober }) => prober.stop()));
      await this.#workload.finish();
      this.problems.push(...this.#workload.problems);
      this.counts = this.#workload.counts;
    } finally {
      await this.#machines.dispose();
      if (this.problems.length > 0 || !this.counts) this.#options.report(`the log: ${this.#machines.logPath}`);
      else await rm(this.#machines.logPath, { force: true });
    }
  }

  async #startAsking(apiKey: string): Promise<void> {
    const first = this.#machines.client("z1", apiKey, PATIENCE);
    // Copies may answer for so long without their owner.
    const replication = { factor: Math.min(3, this.#options.instances), maxLagMs: 600_000 };
    const about = { name: "asked", vectorDimension: 2, metric: "euclidean", replication } as const;
    const { databaseId } = await first.databases.create(about);
    await first.kv.put("asked", 1);
    await first.config.namespace("asked").put("asked", 1);
    await first.vectors(databaseId).upsert({ id: "asked", values: [1, 1] });
    first.close();
    const pauseMs = PAUSE_MS * this.#machines.zones.length;
    for (const zone of this.#machines.zones) {
      const client = this.#machines.client(zone, apiKey, { attempts: 1, timeoutMs: 5000 });
      for (const [system, ask] of Object.entries(questions(client, { zone, databaseId })) as [System, Ask][]) {
        const prober = new Prober(`${system} at ${zone}`, ask, pauseMs);
        prober.start();
        this.#asking.push({ system, zone, prober });
      }
    }
    if (!(await this.#allAnswer(performance.now()))) throw new Error(`before any fault: ${this.#silent(0)}`);
  }

  #silent(sinceMs: number): string {
    const silent = this.#asking.filter(({ prober }) => prober.okSince(sinceMs) === 0);
    return silent.map(({ prober }) => `${prober.name} ${JSON.stringify(prober.away(sinceMs).codes)}`).join(", ");
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

  async #one(next: Drawn): Promise<void> {
    await sleep(next.afterMs);
    const beganMs = performance.now();
    for (const { prober } of this.#asking) prober.forgetBefore(beganMs - 1000);
    const fault = faultOf(next, this.#machines.zones);
    const { hurt, about } = await perform(this.#machines, fault, (sinceMs) => this.#allAnswer(sinceMs));
    if (fault.kind === "clock") this.#workload.locks.clockSteppedSince(beganMs);
    const doneMs = performance.now();
    if (!(await this.#allAnswer(doneMs)))
      this.problems.push(
        `${next.kind} (${next.zone}): ${this.#silent(doneMs)} did not answer within ${RECOVERY_MS / 1000} s`,
      );
    const cost = this.#cost(next, { hurt, beganMs, about });
    this.costs.push(cost);
    this.#options.report(JSON.stringify(cost));
  }

  #cost({ kind, zone }: Drawn, of: Done & { readonly beganMs: number }): FaultCost {
    const { hurt, beganMs, about } = of;
    const all = this.#asking.map((asking) => ({ ...asking, away: asking.prober.away(beganMs) }));
    const elsewhere = all.filter((each) => !hurt.includes(each.zone));
    const longest = (told: typeof all) =>
      bySystem((system) =>
        Math.max(0, ...told.filter((each) => each.system === system).map(({ away }) => away.longestMs)),
      );
    const failed = (told: typeof all) =>
      bySystem((system) => told.reduce((sum, each) => sum + (each.system === system ? each.away.failed : 0), 0));
    const codes: Partial<Record<System, Record<string, number>>> = {};
    for (const { system, away } of all)
      for (const [code, count] of Object.entries(away.codes)) {
        const counts = codes[system] ?? {};
        codes[system] = { ...counts, [code]: (counts[code] ?? 0) + count };
      }
    return {
      ...{ kind, zone, recoveredMs: Math.round(performance.now() - beganMs), codes, ...(about && { about }) },
      ...{
        elsewhere: longest(elsewhere),
        anywhere: longest(all),
        failed: failed(all),
        failedElsewhere: failed(elsewhere),
      },
      asked: all.reduce((sum, { away }) => sum + away.asked, 0),
    };
  }
}

type Ask = (count: number) => Promise<unknown>;

/** One question of each system and level, through one instance. */
function questions(
  client: JadeClient,
  { zone, databaseId }: { readonly zone: string; readonly databaseId: string },
): Record<System, Ask> {
  const config = client.config.namespace("asked");
  const vectors = client.vectors(databaseId);
  const put = (consistency: Consistency): Ask => {
    return (count) => client.kv.put(`asked/${zone}/${consistency}/${count % 50}`, count, { consistency });
  };
  const get = (consistency: Consistency): Ask => {
    return () => client.kv.get("asked", { consistency });
  };
  return {
    "put one": put("one"),
    "put quorum": put("quorum"),
    "put all": put("all"),
    "get one": get("one"),
    "get quorum": get("quorum"),
    "config write": (count) => config.put(zone, count),
    "config read": () => config.get("asked"),
    "config follower read": () => config.get("asked", { consistency: "serializable" }),
    "vector write": (count) => vectors.upsert({ id: `${zone}-${count % 50}`, values: [count, 1] }),
    "vector search": () => vectors.search({ vector: [1, 1] }, { topK: 1, consistency: "strong" }),
    "vector follower search": () => vectors.search({ vector: [1, 1] }, { topK: 1, consistency: "eventual" }),
  };
}
