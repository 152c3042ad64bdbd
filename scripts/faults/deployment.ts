// Instances of a cluster that runs on this machine: where they listen, whether they serve, which processes are theirs.
// Must not: signal a process that is not of the deployment.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { processTree } from "../lib/server-process.mjs";

const READY_MS = 90_000;
const POLL_MS = 50;

/** `instance` = its supervisor, with which both of its processes die; `zone` and `leaders` = one process, which the supervisor restarts. */
export type Part = "instance" | "zone" | "leaders" | "bucket";

interface Lock {
  readonly supervisor: { readonly pid: number };
  readonly workerd?: { readonly pid: number };
  readonly leaders?: { readonly pid: number };
}

export abstract class Deployment {
  readonly rootKey: string;
  readonly zones: readonly string[];
  readonly directory: string;

  constructor(directory: string, instances: number) {
    this.rootKey = `jdb.root.${crypto.randomUUID().replaceAll("-", "")}`;
    this.zones = Array.from({ length: instances }, (_, index) => `z${index + 1}`);
    this.directory = directory;
  }

  abstract url(zone: string): string;
  abstract dispose(): Promise<void>;
  protected abstract bucketPid(): number;
  protected abstract log(): string;
  protected abstract get isRunning(): boolean;

  client(
    zone: string,
    apiKey: string,
    options: { readonly attempts: number; readonly timeoutMs?: number },
  ): JadeClient {
    const { attempts, timeoutMs = 60_000 } = options;
    return new JadeClient({
      url: this.url(zone),
      apiKey,
      timeoutMs,
      retries: { attempts, baseMs: 20, maxMs: 200 },
    });
  }

  async isReady(zone: string): Promise<boolean> {
    try {
      const response = await fetch(`${this.url(zone)}/v1/ready`, { signal: AbortSignal.timeout(5000) });
      await response.arrayBuffer();
      return response.ok;
    } catch {
      return false; // not there
    }
  }

  async untilReady(zone: string): Promise<void> {
    const end = performance.now() + READY_MS;
    while (!(await this.isReady(zone))) {
      if (performance.now() > end || !this.isRunning)
        throw new Error(`${zone} is not ready in time; the log:\n${this.log().slice(-3000)}`);
      await sleep(POLL_MS);
    }
  }

  pid(part: Part, zone: string): number {
    if (part === "bucket") return this.bucketPid();
    const lock = JSON.parse(readFileSync(join(this.directory, zone, "instance.lock"), "utf8")) as Lock;
    const holder = { instance: lock.supervisor, zone: lock.workerd, leaders: lock.leaders }[part];
    if (!holder) throw new Error(`${zone} has not told the process of its ${part}`);
    return holder.pid;
  }

  /** Also stops and continues, where a process alone is not all that is meant: of an instance its processes, too. */
  signal(part: Part, zone: string, signal: NodeJS.Signals): void {
    const pid = this.pid(part, zone);
    const all = part === "instance" && signal !== "SIGTERM" ? processTree(pid) : [pid];
    for (const each of all) process.kill(each, signal);
  }
}
