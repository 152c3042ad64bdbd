// What clients do to a cluster while it is hurt, through different instances, and whether all of it is still there at the end.
// Guarantees: every acknowledged write is looked for; configuration is judged by the linearizability checker, its watch event by event; a
// check that takes too long is a problem. Must not: know what is done to the cluster.
import { setTimeout as sleep } from "node:timers/promises";
import { isJadeError, type JadeClient } from "../../src/client/index.ts";
import { Lane, type LoadCounts } from "../crash/load.ts";
import { type Group, HistoryClient } from "../history/clients.ts";
import { commitProblems, watchProblems } from "../history/commit-order.ts";
import { checkLinearizable } from "../history/linearizable.ts";
import { Choices } from "../history/made-up.ts";
import type { Operation } from "../history/operations.ts";
import { END, EventLog } from "../history/run.ts";
import { convergenceProblems } from "./converged.ts";
import type { Deployment } from "./deployment.ts";
import { LockClients } from "./locks.ts";

const KEYS = ["a", "b", "c"];
/** Of one history; then the next one begins, on other keys. */
const OPERATIONS = 12;
const VECTOR_PAUSE_MS = 100;
const CHECK_TIMEOUT_MS = 60_000;
/** Longer than any run. Ms. */
const WATCH_PATIENCE_MS = 24 * 3_600_000;
const PATIENT = { attempts: 2000, timeoutMs: 120_000 };
/** Of instances that are killed, beside what is told by one that runs. */
const AWAY = ["networkFailure", "timedOut", "badAnswer", "unavailable"];

export interface WorkloadCounts extends LoadCounts {
  histories: number;
  operations: number;
  events: number;
  vectors: number;
  locks: number;
}

/** Of the vectors that were acknowledged, those that a read does not give. */
export async function vectorProblems(
  acknowledged: readonly string[],
  get: (id: string) => Promise<unknown>,
): Promise<string[]> {
  const problems: string[] = [];
  for (const id of acknowledged) {
    try {
      await get(id);
    } catch (error) {
      problems.push(`the vector ${id} was acknowledged, then: ${isJadeError(error) ? error.code : error}`);
    }
  }
  return problems;
}

export class Workload {
  readonly problems: string[] = [];
  readonly counts: WorkloadCounts = {
    ...{ acknowledged: 0, unknown: 0, retried: 0, abandoned: 0, repeated: 0, reads: 0, unavailable: 0 },
    ...{ histories: 0, operations: 0, events: 0, vectors: 0, locks: 0 },
  };
  readonly #cluster: Pick<Deployment, "zones" | "client">;
  readonly #apiKey: string;
  readonly #seed: number;
  readonly #clients: JadeClient[] = [];
  readonly #lanes: Lane[];
  readonly #histories: Operation[][] = [];
  readonly #vectors: string[] = [];
  readonly locks = new LockClients();
  #databaseId = "";
  #live: EventLog | undefined;
  #isStopped = false;
  #working: Promise<unknown> = Promise.resolve();

  constructor(
    cluster: Pick<Deployment, "zones" | "client">,
    { apiKey, seed }: { readonly apiKey: string; readonly seed: number },
  ) {
    this.#cluster = cluster;
    this.#apiKey = apiKey;
    this.#seed = seed;
    this.#lanes = cluster.zones.map(
      (_, number) =>
        new Lane({
          ...{
            number,
            seed,
            keyCount: 20,
            maxValueBytes: 500,
            counts: this.counts,
            alsoTransient: AWAY,
          },
          problem: (text) => this.#problem(text),
        }),
    );
  }

  #problem(text: string): void {
    this.problems.push(text);
  }

  #client(zone: string, options: { readonly attempts: number; readonly timeoutMs?: number }): JadeClient {
    const client = this.#cluster.client(zone, this.#apiKey, options);
    this.#clients.push(client);
    return client;
  }

  /** Everything is made through the first instance: its leaders own it. */
  async start(): Promise<void> {
    const [first] = this.#cluster.zones;
    const client = this.#client(first!, PATIENT);
    const made = await client.databases.create({ name: "faults", vectorDimension: 4, metric: "euclidean" });
    this.#databaseId = made.databaseId;
    await client.config.namespace("faults").put("begin", "begin");
    const watching = this.#client(this.#cluster.zones[1]!, PATIENT).config.namespace("faults");
    this.#live = new EventLog(watching.watch<string>({ prefix: "" }, { startRevision: 2 }), WATCH_PATIENCE_MS);
    const isStopped = (): boolean => this.#isStopped;
    const lanes = this.#lanes.map((lane, index) => {
      const zone = this.#cluster.zones[index]!;
      return lane.run(this.#client(zone, { attempts: 1, timeoutMs: 10_000 }), isStopped);
    });
    const vectors = this.#cluster.zones.map((zone, index) => this.#insert(this.#client(zone, PATIENT), index));
    const locks = this.#cluster.zones.map((zone, client) => {
      const config = this.#client(zone, PATIENT).config.namespace("locks");
      return this.locks.run(config, { client, isStopped });
    });
    this.#working = Promise.all([...lanes, ...vectors, ...locks, this.#recordHistories()]);
  }

  async #insert(client: JadeClient, number: number): Promise<void> {
    const vectors = client.vectors(this.#databaseId);
    for (let count = 0; !this.#isStopped; count++) {
      const id = `v${number}-${count}`;
      try {
        await vectors.upsert({ id, values: [number, count, 1, 1] });
        this.#vectors.push(id);
        this.counts.vectors++;
      } catch (error) {
        this.#problem(`the vector ${id} was not taken: ${error}`);
      }
      await sleep(VECTOR_PAUSE_MS);
    }
  }

  /** One history after the other, its clients at all instances. */
  async #recordHistories(): Promise<void> {
    const configs = this.#cluster.zones.map((zone) => this.#client(zone, PATIENT).config.namespace("faults"));
    for (let number = 0; !this.#isStopped; number++) {
      const history: Operation[] = [];
      this.#histories.push(history);
      const known: Group["known"] = [];
      const keys = KEYS.map((key) => `g${number}/${key}`);
      const working = configs.map((config, index) => {
        const choices = new Choices(this.#seed * 1_000_003 + number * 1009 + index);
        const group: Group = { config, keys, history, known };
        const problem = (text: string): void => this.#problem(`history ${number}: ${text}`);
        const client = number * configs.length + index;
        return new HistoryClient({ number: client, group, choices, counts: this.counts, problem }).run(OPERATIONS);
      });
      await Promise.all(working);
    }
  }

  /** Ends what is under way, then looks for everything. */
  async finish(): Promise<void> {
    this.#isStopped = true;
    await this.#working;
    const reader = this.#client(this.#cluster.zones.at(-1)!, PATIENT);
    const config = reader.config.namespace("faults");
    const calledMs = performance.now();
    const { version, revision } = await config.put(END, END);
    const times = { client: -1, calledMs, returnedMs: performance.now() };
    const asked = { conditions: [], success: [{ kind: "put", key: END, value: END } as const], failure: [] };
    const outcome = { succeeded: true, results: [{ kind: "put", version } as const] };
    const end: Operation = { ...times, ...asked, outcome, revision };
    for (const lane of this.#lanes) await lane.verify(reader);
    const vectors = reader.vectors(this.#databaseId);
    for (const problem of await vectorProblems(this.#vectors, (id) => vectors.get(id))) this.#problem(problem);
    await this.#verifyConvergence();
    this.counts.locks = this.locks.holds.length;
    for (const problem of this.locks.problems()) this.#problem(problem);
    this.#judgeHistories();
    await this.#judgeWatch([...this.#histories.flat(), end]);
    for (const client of this.#clients) client.close();
  }

  async #verifyConvergence(): Promise<void> {
    const clients = this.#cluster.zones.map((zone) => [zone, this.#client(zone, PATIENT)] as const);
    for (const lane of this.#lanes) {
      const keys = lane.keys.map(({ key }) => key);
      for (const problem of await convergenceProblems(Object.fromEntries(clients), keys)) this.#problem(problem);
    }
  }

  #judgeHistories(): void {
    for (const [number, history] of this.#histories.entries()) {
      const { verdict } = checkLinearizable(history, { timeoutMs: CHECK_TIMEOUT_MS });
      this.counts.histories++;
      this.counts.operations += history.length;
      if (verdict !== "yes") this.#problem(`history ${number} of ${history.length} operations: ${verdict}`);
    }
  }

  async #judgeWatch(history: readonly Operation[]): Promise<void> {
    const live = this.#live!;
    const end = performance.now() + CHECK_TIMEOUT_MS;
    while (live.events.at(-1)?.key !== END && performance.now() < end) await sleep(VECTOR_PAUSE_MS);
    if (live.events.at(-1)?.key !== END) return this.#problem("watch: it did not tell the last write in time");
    this.counts.events += live.events.length;
    const own = live.events.filter(({ key }) => key !== "begin");
    for (const problem of [...watchProblems(live.events, 2), ...commitProblems(history, own)])
      this.#problem(`watch: ${problem}`);
  }
}
