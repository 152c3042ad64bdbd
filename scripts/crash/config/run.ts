// kill -9 of the server while the configuration store is written to, watched, leased, locked and delivered from: `npm run crash -- --config`.
// Guarantees: every write is repeated under its write id until it is answered, so each must be there once; everything that watches, holds or
// receives goes on over the kills, and is compared with the log in the end. Must not: print anything but a summary.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Config, JadeClient } from "../../../src/client/index.ts";
import { watchProblems } from "../../history/commit-order.ts";
import { seededRandom } from "../../lib/seeded.mjs";
import { type RunningServer, startServer } from "../../lib/server-process.mjs";
import { LeaseLoad } from "./leases.ts";
import { LockLoad } from "./locks.ts";
import { Receiver } from "./receiver.ts";
import type { ConfigCrashResult } from "./result.ts";
import { type Line, Watcher } from "./watcher.ts";

export interface ConfigCrashOptions {
  readonly writes: number;
  readonly kills: number;
  readonly seed: number;
  readonly lanes: number;
  readonly report?: (line: string) => void;
}

const KEYS_PER_LANE = 5;
const END = "w/end";
const RETRIES = { attempts: 1000, baseMs: 20, maxMs: 200 };
const PATIENCE_MS = 120_000;

interface Written {
  value: string;
  count: number;
}

export class ConfigCrash {
  readonly #options: ConfigCrashOptions;
  readonly #random: () => number;
  readonly #base = mkdtempSync(join(tmpdir(), "jade-config-crash-"));
  readonly #written = new Map<string, Written>();
  readonly result: ConfigCrashResult = {
    ...{ acknowledged: 0, kills: 0, slowestStartMs: 0, revisions: 0, webhookRequests: 0, webhookRepeats: 0 },
    ...{ leasesEnded: 0, latestLeaseMs: 0, earliestLeaseMs: Number.POSITIVE_INFINITY, locks: 0, problems: [] },
  };
  #server!: RunningServer;

  constructor(options: ConfigCrashOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    const settings = { webhooks: { allowedNetworks: ["127.0.0.1"] } };
    writeFileSync(join(this.#base, "jade.yaml"), JSON.stringify(settings));
  }

  async run(): Promise<ConfigCrashResult> {
    const receiver = await Receiver.start();
    try {
      await this.#start();
      await this.#load(receiver);
      return this.result;
    } finally {
      await receiver.end();
      await this.#server?.kill9().catch(() => undefined);
      if (this.result.problems.length === 0) rmSync(this.#base, { recursive: true, force: true });
      else this.#options.report?.(`the data directory stays: ${this.#base}`);
    }
  }

  async #start(): Promise<void> {
    const before = this.#server as RunningServer | undefined;
    const again = before ? { port: before.port, rootKey: before.rootKey } : {};
    const args = ["--config", join(this.#base, "jade.yaml"), "--log-level", "error"];
    this.#server = await startServer({ dataDir: join(this.#base, "data"), ...again, args });
  }

  async #load(receiver: Receiver): Promise<void> {
    const { result } = this;
    const admin = new JadeClient({ url: this.#server.url, apiKey: this.#server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "crash" });
    admin.close();
    const client = new JadeClient({ url: this.#server.url, apiKey, retries: RETRIES, timeoutMs: PATIENCE_MS });
    const { config } = client;
    const watchers = [{ prefix: "" }, { prefix: "w/1/" }, "w/2/0"].map((range) => new Watcher(config, range));
    await config.webhooks.create({
      url: receiver.url,
      prefix: "w/",
      retryBaseMs: 20,
      startRevision: 2,
      batchEvents: 50,
    });
    const leases = new LeaseLoad(config, result);
    const locks = new LockLoad(config, result);
    let isOver = false;
    const beside = [leases.run(() => isOver), locks.run(() => isOver)];
    const lanes = Array.from({ length: this.#options.lanes }, (_, lane) => this.#lane(config, lane));
    const killing = this.#kills();
    await Promise.all([...lanes, killing]);
    isOver = true;
    await Promise.all(beside);
    await leases.ended(watchers[0]!);
    const { revision } = await config.put(END, "end");
    result.revisions = revision;
    await this.#judge(config, { watchers, receiver, revision });
    leases.judge(watchers[0]!);
    locks.judge();
    for (const watcher of watchers) watcher.close();
    client.close();
  }

  async #lane(config: Config, lane: number): Promise<void> {
    const count = Math.ceil(this.#options.writes / this.#options.lanes);
    for (let n = 0; n < count; n++) {
      const key = `w/${lane}/${n % KEYS_PER_LANE}`;
      const value = `${lane}.${n}`;
      const held = this.#written.get(key) ?? { value, count: 0 };
      const { version } = await config.put(key, value);
      if (version !== held.count + 1)
        this.#problem(`${key}=${value} is version ${version}, after ${held.count} writes`);
      this.#written.set(key, { value, count: held.count + 1 });
      this.result.acknowledged++;
    }
  }

  #problem(text: string): void {
    if (this.result.problems.length < 50) this.result.problems.push(text);
  }

  /** Spread over the writes; of workerd alone, or of all processes. */
  async #kills(): Promise<void> {
    const { kills, writes } = this.#options;
    for (let kill = 1; kill <= kills; kill++) {
      while (this.result.acknowledged < (writes * kill) / (kills + 1)) await sleep(5);
      await sleep(this.#random() * 50);
      const beganMs = performance.now();
      if (this.#random() < 0.5) {
        const lock = readFileSync(join(this.#server.dataDir, "instance.lock"), "utf8");
        process.kill((JSON.parse(lock) as { workerd: { pid: number } }).workerd.pid, "SIGKILL");
        await this.#answers();
      } else {
        await this.#server.kill9();
        await this.#start();
      }
      this.result.kills++;
      this.result.slowestStartMs = Math.max(this.result.slowestStartMs, Math.round(performance.now() - beganMs));
    }
  }

  async #answers(): Promise<void> {
    const ready = (): Promise<boolean> =>
      fetch(`${this.#server.url}/v1/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
    // The old process may answer once more.
    await sleep(100);
    while (!(await ready())) await sleep(20);
  }

  async #judge(config: Config, { watchers, receiver, revision }: Judged): Promise<void> {
    for (const [key, { value, count }] of this.#written) {
      const read = await config.get(key);
      if (!read.found || read.value !== value) this.#problem(`lost: ${key}=${value} was acknowledged`);
      else if (read.version !== count) this.#problem(`twice: ${key} is version ${read.version} after ${count} writes`);
    }
    const [all, ...others] = watchers;
    await all!.until(revision, PATIENCE_MS);
    for (const problem of watchProblems(all!.events, 2)) this.#problem(`watch: ${problem}`);
    for (const other of others) await this.#sameLines(other, all!);
    const wanted = all!.lines.filter(({ key }) => key.startsWith("w/"));
    await receiver.until(wanted.length, PATIENCE_MS);
    const got = receiver.firstSeen;
    for (const [index, line] of wanted.entries()) {
      if (textOf(line) === (got[index] && textOf(got[index]))) continue;
      this.#problem(`webhook: event ${index} is ${JSON.stringify(got[index])}, not ${textOf(line)}`);
      break;
    }
    if (got.length !== wanted.length) this.#problem(`webhook: ${got.length} events, not ${wanted.length}`);
    this.result.webhookRequests = receiver.requests;
    this.result.webhookRepeats = receiver.repeats;
  }

  async #sameLines(watcher: Watcher, all: Watcher): Promise<void> {
    const wanted = all.lines.filter(({ key }) => watcher.covers(key)).map(textOf);
    await watcher.until(Number(wanted.at(-1)?.split(" ")[0] ?? 0), PATIENCE_MS);
    const got = watcher.lines.map(textOf);
    if (got.join() !== wanted.join())
      this.#problem(`watch of ${watcher.name}: ${got.length} events, not ${wanted.length}`);
  }
}

interface Judged {
  readonly watchers: readonly Watcher[];
  readonly receiver: Receiver;
  readonly revision: number;
}

function textOf({ revision, type, key }: Line): string {
  return `${revision} ${type} ${key}`;
}
