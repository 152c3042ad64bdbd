// A real cluster on this machine, as `jade-db cluster start` runs it, with its processes by name so that each can be hurt.
// Guarantees: started on free ports in a directory of its own; `dispose` leaves nothing. Must not: signal what it did not start.
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { root } from "../lib/root.mjs";
import {
  freePort,
  type ProcessGroup,
  processTree,
  startGroup,
  temporaryDirectory,
  treeCpuMs,
  treeMemoryBytes,
} from "../lib/server-process.mjs";

const READY_MS = 90_000;
const POLL_MS = 50;

/** `instance` = its supervisor, with which both of its processes die; `zone` and `leaders` = one process, which the supervisor restarts. */
export type Part = "instance" | "zone" | "leaders" | "bucket";

export interface ClusterOptions {
  readonly instances: number;
  /** They reach each other through tunnels, as on several machines. */
  readonly overTls?: boolean;
}

interface Lock {
  readonly supervisor: { readonly pid: number };
  readonly workerd?: { readonly pid: number };
  readonly leaders?: { readonly pid: number };
}

export class Cluster {
  readonly rootKey: string;
  readonly zones: readonly string[];
  readonly directory: string;
  readonly logPath: string;
  readonly #port: number;
  readonly #group: ProcessGroup;

  private constructor(directory: string, port: number, { instances, overTls }: ClusterOptions) {
    this.rootKey = `jdb.root.${crypto.randomUUID().replaceAll("-", "")}`;
    this.zones = Array.from({ length: instances }, (_, index) => `z${index + 1}`);
    this.directory = directory;
    this.logPath = `${directory}.log`;
    this.#port = port;
    this.#group = startGroup({
      command: process.execPath,
      args: [
        ...[join(root, "dist/cli.js"), "cluster", "start", "--instances", String(instances), "--port", String(port)],
        ...["--data-dir", directory, ...(overTls ? ["--peer-port", String(port + instances)] : [])],
        ...["--shared-port", String(port + 2 * instances)],
      ],
      env: { JADE_ROOT_KEY: this.rootKey, JADE_LOG_LEVEL: "error" },
      logPath: this.logPath,
    });
  }

  static async start(options: ClusterOptions): Promise<Cluster> {
    const port = await portsInARow(options.instances * 2 + 1);
    const cluster = new Cluster(await temporaryDirectory("cluster"), port, options);
    try {
      await Promise.all(cluster.zones.map((zone) => cluster.untilReady(zone)));
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
    return cluster;
  }

  url(zone: string): string {
    return `http://127.0.0.1:${this.#port + this.zones.indexOf(zone)}`;
  }

  /** Of all instances together. */
  get sharedUrl(): string {
    return `http://127.0.0.1:${this.#port + 2 * this.zones.length}`;
  }

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
      if (performance.now() > end || !this.#group.isRunning)
        throw new Error(`${zone} is not ready in time; the log:\n${this.#log().slice(-3000)}`);
      await sleep(POLL_MS);
    }
  }

  #log(): string {
    try {
      return readFileSync(this.logPath, "utf8");
    } catch {
      return ""; // nothing was written yet
    }
  }

  pid(part: Part, zone: string): number {
    if (part === "bucket") {
      const last = [...this.#log().matchAll(/^bucket .*\(process (\d+)/gm)].at(-1);
      if (!last) throw new Error("the bucket has not told its process");
      return Number(last[1]);
    }
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

  cpuMs(): number {
    return treeCpuMs(this.#group.groupId);
  }

  memoryBytes(): number {
    return treeMemoryBytes(this.#group.groupId);
  }

  stop(): Promise<void> {
    return this.#group.stop();
  }

  async dispose(): Promise<void> {
    await this.#group.kill9();
    await rm(this.directory, { recursive: true, force: true });
    await rm(this.logPath, { force: true });
  }
}

/** The first of so many free ports one after the other. */
async function portsInARow(count: number): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = await freePort();
    const others = Array.from({ length: count - 1 }, (_, index) => first + index + 1);
    if (first + count < 65_536 && (await Promise.all(others.map(isFree))).every(Boolean)) return first;
  }
  throw new Error("no free ports in a row");
}

async function isFree(port: number): Promise<boolean> {
  const { createServer } = await import("node:net");
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
