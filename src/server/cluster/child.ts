// One process of the cluster on this machine: an instance's supervisor, or the development bucket.
// Guarantees: one that ends unasked is started again within a second; its lines are told under its name; it dies with us.
// Must not: know what it does.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GOOD_RUN_MS, restartDelayMs } from "../backoff.ts";
import { packageRoot } from "../package-root.ts";
import { dyingWithParent } from "../workerd-binary.ts";

/** How often it is looked whether one that is held may run. Ms. */
const HELD_POLL_MS = 250;

export interface ChildOptions {
  readonly name: string;
  /** Of `jade-db`. */
  readonly args: () => readonly string[];
  readonly env: () => NodeJS.ProcessEnv;
  /** The beginning of a command line that starts it elsewhere, as in a network of its own. */
  readonly through?: readonly string[];
  /** It is not to be started now. */
  readonly isHeld?: () => boolean;
  readonly onLine: (line: string) => void;
  readonly report: (line: string) => void;
}

export class Child {
  readonly #options: ChildOptions;
  #process: ChildProcess | undefined;
  #isStopping = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  start(): void {
    this.#ended = this.#keep();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#process?.kill("SIGTERM");
    await this.#ended;
  }

  /** Undefined = it does not run. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** A second request to stop: it kills what it supervises. */
  hurry(): void {
    this.#process?.kill("SIGTERM");
  }

  async #keep(): Promise<void> {
    const { isHeld = () => false, report, name } = this.#options;
    let deaths = 0;
    while (!this.#isStopping) {
      if (isHeld()) {
        await sleep(HELD_POLL_MS);
        continue;
      }
      const startedAt = performance.now();
      const how = await this.#runOnce();
      if (this.#isStopping) return;
      if (isHeld()) {
        report(`${name} ended (${how}), and is held`);
        continue;
      }
      deaths = performance.now() - startedAt >= GOOD_RUN_MS ? 1 : deaths + 1;
      const delayMs = restartDelayMs(deaths);
      report(`${name} ended (${how}): restarting in ${delayMs} ms`);
      await sleep(delayMs);
    }
  }

  #runOnce(): Promise<string> {
    const { args, env, through = [], onLine, report, name } = this.#options;
    const self = [...through, process.execPath, join(packageRoot(), "bin/jade-db.mjs"), ...args()];
    const [command, ...rest] = dyingWithParent(self as [string, ...string[]]);
    // Its own group, so that Ctrl-C reaches us only and we decide about the order.
    const child = spawn(command!, rest, { env: env(), stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.#process = child;
    eachLine(child.stdout, onLine);
    eachLine(child.stderr, (line) => report(`${name}: ${line}`));
    return new Promise((resolve) => {
      child.once("error", (error) => resolve(String(error)));
      child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
  }
}

function eachLine(stream: NodeJS.ReadableStream, tell: (line: string) => void): void {
  let text = "";
  stream.setEncoding("utf8").on("data", (part: string) => {
    const lines = (text + part).split("\n");
    text = lines.pop()!;
    for (const line of lines) tell(line);
  });
}
