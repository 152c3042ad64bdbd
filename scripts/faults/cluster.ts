// A real cluster on this machine, as `jade-db cluster start` runs it, with its processes by name so that each can be hurt.
// Guarantees: started on free ports in a directory of its own; `dispose` leaves nothing. Must not: signal what it did not start.
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../lib/root.mjs";
import {
  freePort,
  type ProcessGroup,
  startGroup,
  temporaryDirectory,
  treeCpuMs,
  treeMemoryBytes,
} from "../lib/server-process.mjs";
import { Deployment } from "./deployment.ts";

export interface ClusterOptions {
  readonly instances: number;
  /** They reach each other through tunnels, as on several machines. */
  readonly overTls?: boolean;
  /** Of each instance's configuration, as YAML. */
  readonly settings?: string;
}

export class Cluster extends Deployment {
  readonly logPath: string;
  readonly #port: number;
  readonly #group: ProcessGroup;

  private constructor(directory: string, port: number, { instances, overTls, settings }: ClusterOptions) {
    super(directory, instances);
    this.logPath = `${directory}.log`;
    this.#port = port;
    const configFile = join(directory, "jade.yaml");
    if (settings !== undefined) writeFileSync(configFile, settings);
    const config = settings === undefined ? {} : { JADE_CONFIG_FILE: configFile };
    this.#group = startGroup({
      command: process.execPath,
      args: [
        ...[join(root, "dist/cli.js"), "cluster", "start", "--instances", String(instances), "--port", String(port)],
        ...["--data-dir", directory, ...(overTls ? ["--peer-port", String(port + instances)] : [])],
        ...["--shared-port", String(port + 2 * instances)],
      ],
      env: { JADE_ROOT_KEY: this.rootKey, JADE_LOG_LEVEL: "error", ...config },
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

  protected log(): string {
    try {
      return readFileSync(this.logPath, "utf8");
    } catch {
      return ""; // nothing was written yet
    }
  }

  protected get isRunning(): boolean {
    return this.#group.isRunning;
  }

  protected bucketPid(): number {
    const last = [...this.log().matchAll(/^bucket .*\(process (\d+)/gm)].at(-1);
    if (!last) throw new Error("the bucket has not told its process");
    return Number(last[1]);
  }

  /** From its end on it is not started again, as `jade-db cluster instance stop` does it. */
  hold(zone: string): void {
    writeFileSync(join(this.directory, `${zone}.held`), "");
  }

  letGo(zone: string): void {
    rmSync(join(this.directory, `${zone}.held`));
  }

  /** A copy that `dispose` leaves. */
  keepLog(): string {
    const kept = `${this.logPath}.kept`;
    copyFileSync(this.logPath, kept);
    return kept;
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
