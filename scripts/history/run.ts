// Histories of concurrent clients of the real server, with kill -9 in between, judged by the checkers beside this file.
// Guarantees: every history is checked (a check that takes too long is a problem), and so is what a watcher of the whole keyspace was told,
// live and again from the log. Each group of keys is a history of its own. Must not: print anything but a summary.

import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Config, type ConfigWatch, JadeClient } from "../../src/client/index.ts";
import { type RunningServer, startServer } from "../lib/server-process.mjs";
import { type Group, HistoryClient } from "./clients.ts";
import { commitProblems, type SeenEvent, watchProblems } from "./commit-order.ts";
import { checkLinearizable } from "./linearizable.ts";
import { Choices } from "./made-up.ts";
import { type Operation, shownOperation } from "./operations.ts";

export interface HistoriesOptions {
  readonly histories: number;
  readonly seed: number;
  /** Of one history. */
  readonly clients: number;
  readonly operationsPerClient: number;
  /** Kill the server in every so many batches; 0 = never. */
  readonly killEvery: number;
  readonly checkTimeoutMs: number;
  readonly report?: (line: string) => void;
}

export interface HistoriesResult {
  histories: number;
  operations: number;
  unknown: number;
  retried: number;
  kills: number;
  events: number;
  /** States that the checker tried. */
  steps: number;
  slowestCheckMs: number;
  readonly problems: string[];
  /** The last batch's, for tests of the checker with real histories. */
  last: readonly Operation[];
}

/** Histories that run at once. */
const BATCH = 8;
const KEYS = ["a", "b", "c"];
export const END = "end";
const RETRIES = { attempts: 200, baseMs: 20, maxMs: 200 };
const PATIENCE_MS = 60_000;

export class Histories {
  readonly #options: HistoriesOptions;
  readonly #choices: Choices;
  readonly result: HistoriesResult = {
    ...{ histories: 0, operations: 0, unknown: 0, retried: 0, kills: 0, events: 0, steps: 0, slowestCheckMs: 0 },
    ...{ problems: [], last: [] },
  };
  #server: RunningServer | undefined;
  #apiKey = "";
  #batches = 0;

  constructor(options: HistoriesOptions) {
    this.#options = options;
    this.#choices = new Choices(options.seed);
  }

  async run(): Promise<HistoriesResult> {
    const { result } = this;
    try {
      this.#server = await startServer({ args: ["--log-level", "error"] });
      const admin = new JadeClient({ url: this.#server.url, apiKey: this.#server.rootKey });
      this.#apiKey = (await admin.tenants.create({ tenantId: "histories" })).apiKey;
      admin.close();
      while (result.histories < this.#options.histories && result.problems.length === 0) await this.#batch();
      return result;
    } finally {
      await this.#server?.dispose().catch(() => undefined);
    }
  }

  #client(attempts: number): JadeClient {
    const retries = attempts > 1 ? RETRIES : { attempts };
    return new JadeClient({ url: this.#server!.url, apiKey: this.#apiKey, retries, timeoutMs: 20_000 });
  }

  async #batch(): Promise<void> {
    const { clients, operationsPerClient, killEvery, seed } = this.#options;
    const namespace = `h${++this.#batches}`;
    const [asking, watching] = [this.#client(1), this.#client(2)];
    const watched = watching.config.namespace(namespace);
    const live = new EventLog(watched.watch<string>({ prefix: "" }, { startRevision: 2 }));
    const groups = Array.from({ length: BATCH }, (_, index): Group => {
      const keys = KEYS.map((key) => `g${index}/${key}`);
      return { config: asking.config.namespace(namespace), keys, history: [], known: [] };
    });
    const counts = this.result;
    const working = groups.flatMap((group, index) =>
      Array.from({ length: clients }, (_, client) => {
        const number = index * clients + client;
        const choices = new Choices(seed * 1_000_003 + this.#batches * 1009 + number);
        const problem = (text: string): void => void this.result.problems.push(`${namespace}: ${text}`);
        return new HistoryClient({ number, group, choices, counts, problem }).run(operationsPerClient);
      }),
    );
    const isKilled = killEvery > 0 && this.#batches % killEvery === 0;
    await Promise.all([...working, isKilled ? this.#kill() : undefined]);
    const history = groups.flatMap((group) => group.history);
    history.push(await this.#end(watched));
    this.#judge(groups.map((group) => group.history));
    await this.#judgeWatch(history, live, watched);
    asking.close();
    watching.close();
    this.result.last = history;
    if (this.#batches % 10 === 0) this.#options.report?.(`${this.result.histories} histories, no problem`);
  }

  /** Of workerd alone (its supervisor starts it again), or of all of it. */
  async #kill(): Promise<void> {
    await sleep(50 + this.#choices.below(400));
    this.result.kills++;
    const { dataDir, port, rootKey } = this.#server!;
    if (this.#choices.chance(0.5)) {
      const lock = JSON.parse(readFileSync(join(dataDir, "instance.lock"), "utf8")) as { workerd: { pid: number } };
      process.kill(lock.workerd.pid, "SIGKILL");
      return;
    }
    await this.#server!.kill9();
    this.#server = await startServer({ dataDir, port, rootKey, args: ["--log-level", "error"] });
  }

  /** The last write: whoever heard of it has heard of all. */
  async #end(config: Config): Promise<Operation> {
    const calledMs = performance.now();
    const { version, revision } = await config.put(END, END);
    const outcome = { succeeded: true, results: [{ kind: "put", version } as const] };
    const success = [{ kind: "put", key: END, value: END } as const];
    return {
      client: -1,
      conditions: [],
      success,
      failure: [],
      calledMs,
      returnedMs: performance.now(),
      outcome,
      revision,
    };
  }

  #judge(histories: readonly (readonly Operation[])[]): void {
    const { result } = this;
    for (const history of histories) {
      const beganMs = performance.now();
      const { verdict, steps, stuck } = checkLinearizable(history, { timeoutMs: this.#options.checkTimeoutMs });
      result.histories++;
      result.operations += history.length;
      result.steps += steps;
      result.slowestCheckMs = Math.max(result.slowestCheckMs, Math.round(performance.now() - beganMs));
      if (verdict === "yes") continue;
      const file = join(tmpdir(), `jade-history-${this.#options.seed}-${result.histories}.txt`);
      writeFileSync(file, (stuck?.operations ?? history).map(shownOperation).join("\n"));
      const at = stuck ? ` at: ${shownOperation(stuck.at)}` : "";
      result.problems.push(
        `history ${result.histories}: ${verdict === "no" ? "not linearizable" : "time-out"}, ${file}${at}`,
      );
    }
  }

  async #judgeWatch(history: readonly Operation[], live: EventLog, config: Config): Promise<void> {
    const again = new EventLog(config.watch<string>({ prefix: "" }, { startRevision: 2 }));
    await Promise.all([live.ended, again.ended]);
    this.result.events += live.events.length;
    const problems = [...watchProblems(live.events, 2), ...commitProblems(history, live.events)];
    if (JSON.stringify(live.events) !== JSON.stringify(again.events))
      problems.push("the log tells something else than was told live");
    for (const problem of problems) this.result.problems.push(`watch of batch ${this.#batches}: ${problem}`);
  }
}

/** Everything that a watch told, up to the last write. */
export class EventLog {
  readonly events: SeenEvent[] = [];
  readonly ended: Promise<void>;

  constructor(watch: ConfigWatch<string>, patienceMs = PATIENCE_MS * 5) {
    this.ended = this.#read(watch, patienceMs);
  }

  async #read(watch: ConfigWatch<string>, patienceMs: number): Promise<void> {
    const timer = setTimeout(() => watch.fail(new Error("a watch did not end in time")), patienceMs);
    for await (const { revision, events } of watch) {
      for (const event of events) this.events.push(seenEvent(revision, event));
      if (events.some(({ key }) => key === END)) break;
    }
    clearTimeout(timer);
  }
}

function seenEvent(
  revision: number,
  event: Awaited<ReturnType<ConfigWatch<string>["next"]>>["value"]["events"][number],
): SeenEvent {
  const key = String(event.key);
  if (event.type === "delete")
    return { revision, type: "delete", key, value: undefined, version: 0, createRevision: 0, modRevision: revision };
  const { value, version, createRevision, modRevision } = event.entry;
  return { revision, type: "put", key, value, version, createRevision, modRevision };
}
