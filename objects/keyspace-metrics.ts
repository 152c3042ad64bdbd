// How the counts of objects of which there are many (configuration keyspaces, shards of vectors and their copies) come into /metrics without
// asking each: one that works reports to the Coordinator. Keyspace stands for all of them here.
// Guarantees: a keyspace sends at most one report in REPORT_MS; counters are sent as differences, gauges as they are; the Coordinator holds the
// gauges of a bounded number of keyspaces, those heard of last. A keyspace that sleeps keeps what it said last. Must not: delay an answer.
import { zoneHere } from "../src/cluster/placement.ts";
import { SampleSums, type Samples, sumSamples } from "../src/telemetry/sample-sums.ts";
import type { Env } from "./env.ts";
import type { CoordinatorRpc, KeyspaceReport } from "./rpc.ts";
import { withDeadline } from "./with-deadline.ts";

const REPORT_MS = 2000;
const REPORT_DEADLINE_MS = 1000;
/** Of so many keyspaces gauges are held. */
const MAX_KEYSPACES = 20_000;
const COUNTER = /_total(\{|$)/;

export interface KeyspaceMeterOptions {
  readonly env: Env;
  /** Of the object; not its name, which holds the tenant's. */
  readonly id: string;
  /** Where its kind is summed. */
  readonly to: keyof CoordinatorRpc & `report${"Keyspace" | "Vector"}Metrics`;
  /** Undefined = there is nothing to tell. */
  readonly read: () => Samples | undefined;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** In a keyspace. */
export class KeyspaceMeter {
  readonly #options: KeyspaceMeterOptions;
  #told: Samples = {};
  #isPlanned = false;

  constructor(options: KeyspaceMeterOptions) {
    this.#options = options;
  }

  /** After each call. */
  touch(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setTimeout(() => {
      this.#isPlanned = false;
      this.#options.waitUntil(this.#report(false));
    }, REPORT_MS);
  }

  /** Before an erasure. */
  async end(): Promise<void> {
    await this.#report(true);
  }

  async #report(isGone: boolean): Promise<void> {
    const { env, id, read, to } = this.#options;
    const samples = Object.entries(read() ?? {});
    const counters = samples.filter(([name]) => COUNTER.test(name));
    const delta = counters.map(([name, value]) => [name, value - (this.#told[name] ?? 0)]);
    const gauges = samples.filter(([name]) => !COUNTER.test(name));
    const hasGauges = !isGone && gauges.length > 0;
    const report = { counters: Object.fromEntries(delta), gauges: hasGauges ? Object.fromEntries(gauges) : null };
    try {
      const coordinator = env.COORDINATOR.get(env.COORDINATOR.idFromName(zoneHere(env)));
      await withDeadline(coordinator[to](id, report), REPORT_DEADLINE_MS, "Coordinator");
      this.#told = Object.fromEntries(counters);
    } catch {
      // Told with the next report.
    }
  }
}

/** In the Coordinator. */
export class KeyspaceSums {
  readonly #counters = new SampleSums();
  readonly #gauges = new Map<string, Samples>();
  readonly #countName: string;

  /** `countName`: of the gauge that tells how many there are. */
  constructor(countName: string) {
    this.#countName = countName;
  }

  add(id: string, { counters, gauges }: KeyspaceReport): void {
    this.#counters.add(counters);
    this.#gauges.delete(id);
    if (gauges) this.#gauges.set(id, gauges);
    if (this.#gauges.size <= MAX_KEYSPACES) return;
    for (const oldest of this.#gauges.keys()) {
      this.#gauges.delete(oldest);
      break;
    }
  }

  samples(): Samples {
    const sums = sumSamples([...this.#gauges.values()]);
    return { ...this.#counters.samples(), ...sums, [this.#countName]: this.#gauges.size };
  }
}
