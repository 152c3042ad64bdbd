// A cluster on this machine whose instances can be hurt as machines are: each with a network, a disk and a clock of its own where this machine
// permits them, and all before a bucket that can be made slow or wrong.
// Guarantees: `dispose` leaves nothing. Must not: be taken for what users start: that is `jade-db cluster start` (cluster.ts).
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Child } from "../../src/server/cluster/child.ts";
import { freePort, processTree, temporaryDirectory, treeCpuMs } from "../lib/server-process.mjs";
import { BucketWay } from "./bucket-way.ts";
import { Clocks } from "./clock.ts";
import { Deployment } from "./deployment.ts";
import { Disk } from "./disk.ts";
import { Network } from "./network.ts";

const GATEWAY_PORT = 8787;
const PEER_PORT = 8700;
const LEADERS_PORT = 8701;
const STOP_MS = 60_000;

/** What each instance has of its own. */
export interface Own {
  readonly network: boolean;
  readonly disk: boolean;
  readonly clock: boolean;
}

export interface MachinesOptions extends Own {
  readonly instances: number;
}

/** What this machine does not permit, and why. */
export function refusals(): Partial<Record<keyof Own, string>> {
  const directory = `/tmp/jade-faults-try-${process.pid}`;
  const found = { network: Network.refusal(), disk: Disk.refusal(directory), clock: Clocks.refusal() };
  return Object.fromEntries(Object.entries(found).filter(([, why]) => why !== undefined));
}

export class Machines extends Deployment {
  /** Stays after {@link dispose}. */
  readonly logPath: string;
  readonly network: Network | undefined;
  readonly clocks: Clocks | undefined;
  readonly disks = new Map<string, Disk>();
  way!: BucketWay;
  readonly #env: NodeJS.ProcessEnv;
  readonly #children = new Map<string, Child>();
  readonly #ports = new Map<string, number>();
  #bucketUrl = "";
  #isOver = false;

  private constructor(directory: string, { instances, network, disk, clock }: MachinesOptions) {
    super(directory, instances);
    this.logPath = `${directory}.log`;
    const configFile = join(directory, "config.json");
    mkdirSync(directory, { recursive: true });
    writeFileSync(configFile, JSON.stringify({ config: { serveFromFollowers: true } }));
    const { PATH, HOME } = process.env;
    this.#env = {
      ...{ PATH, HOME, JADE_CONFIG_FILE: configFile, JADE_LOG_LEVEL: "warn" },
      ...{ JADE_ROOT_KEY: this.rootKey, JADE_CLUSTER_KEY: randomBytes(32).toString("hex") },
      ...{ AWS_REGION: "auto", AWS_ACCESS_KEY_ID: "jade", AWS_SECRET_ACCESS_KEY: randomBytes(32).toString("hex") },
    };
    process.on("exit", this.#onExit);
    if (network) this.network = Network.open(instances);
    if (clock) this.clocks = Clocks.open(join(directory, "clocks"));
    if (disk) for (const zone of this.zones) this.disks.set(zone, Disk.open(join(directory, zone)));
  }

  static async start(options: MachinesOptions): Promise<Machines> {
    const machines = new Machines(await temporaryDirectory("faults"), options);
    try {
      await machines.#startBucket();
      for (const [index, zone] of machines.zones.entries()) {
        if (!machines.network) machines.#ports.set(zone, await freePort());
        machines.#startInstance(zone, index);
      }
      await Promise.all(machines.zones.map((zone) => machines.untilReady(zone)));
    } catch (error) {
      await machines.dispose();
      throw error;
    }
    return machines;
  }

  url(zone: string): string {
    const index = this.zones.indexOf(zone);
    if (this.network) return `http://${this.network.address(index)}:${GATEWAY_PORT}`;
    return `http://127.0.0.1:${this.#ports.get(zone)}`;
  }

  protected log(): string {
    try {
      return readFileSync(this.logPath, "utf8");
    } catch {
      return ""; // nothing was written yet
    }
  }

  protected get isRunning(): boolean {
    return !this.#isOver;
  }

  protected bucketPid(): number {
    return this.#children.get("bucket")!.pid!;
  }

  #note(name: string, line: string): void {
    appendFileSync(this.logPath, `${new Date().toISOString()} ${name}: ${line}\n`);
  }

  #startBucket(): Promise<void> {
    return new Promise((resolve, reject) => {
      const bucket = new Child({
        name: "bucket",
        // The front holds on to the port that it got first.
        args: () => {
          const port = new URL(this.#bucketUrl || "http://127.0.0.1:0").port || "0";
          return ["dev-bucket", "--data-dir", join(this.directory, "bucket"), "--bucket", "jade", "--port", port];
        },
        env: () => this.#env,
        onLine: (line) => {
          this.#note("bucket", line);
          if (this.#bucketUrl) return;
          this.#bucketUrl = /^bucket +(\S+)/.exec(line)?.[1] ?? "";
          const host = this.network?.bucketAddress ?? "127.0.0.1";
          BucketWay.open(this.#bucketUrl, host, this.zones).then((way) => {
            this.way = way;
            resolve();
          }, reject);
        },
        report: (line) => this.#note("bucket", line),
      });
      this.#children.set("bucket", bucket);
      bucket.start();
    });
  }

  #peer(zone: string, index: number): string {
    return this.network
      ? `${this.network.address(index)}:${PEER_PORT}`
      : `unix:${join(this.directory, zone, "zone.sock")}`;
  }

  #startInstance(zone: string, index: number): void {
    const { network, clocks } = this;
    const peers = this.zones.flatMap((other, at) => ["--peer", `${other}=${this.#peer(other, at)}`]);
    const own = network?.address(index);
    const at = own
      ? ["--host", own, "--insecure-public-http", "--private-network", "--cluster-address", `${own}:${LEADERS_PORT}`]
      : ["--host", "127.0.0.1"];
    const port = ["--port", String(this.#ports.get(zone) ?? GATEWAY_PORT), "--data-dir", join(this.directory, zone)];
    const path = clocks ? { PATH: clocks.path(zone) } : {};
    const child = new Child({
      name: zone,
      through: network?.through(index) ?? [],
      args: () => ["serve", "--cluster", "s3://jade/deployment", "--zone", zone, ...peers, ...port, ...at],
      env: () => ({ ...this.#env, ...path, AWS_ENDPOINT_URL: this.way.endpoint(zone) }),
      onLine: (line) => this.#note(zone, line),
      report: (line) => this.#note(zone, line),
    });
    this.#children.set(zone, child);
    child.start();
  }

  cpuMs(): number {
    const ours = [...this.#children.values()].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    return ours.reduce((sum, pid) => sum + treeCpuMs(pid), 0);
  }

  /** Every instance, then the bucket, asked to end. */
  async stop(): Promise<void> {
    const { bucket, ...instances } = Object.fromEntries(this.#children);
    const stopped = Promise.all(Object.values(instances).map((child) => child!.stop())).then(() => bucket?.stop());
    await Promise.race([stopped, sleep(STOP_MS, undefined, { ref: false })]);
  }

  #killAll(): void {
    for (const child of this.#children.values()) {
      if (child.pid === undefined) continue;
      // None may be started again by who sees it end.
      void child.stop();
      for (const pid of processTree(child.pid)) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended by itself.
        }
      }
    }
    this.way?.close();
  }

  #close(): void {
    this.#isOver = true;
    this.#killAll();
    for (const disk of this.disks.values()) disk.close();
    this.network?.close();
  }

  readonly #onExit = (): void => this.#close();

  async dispose(): Promise<void> {
    process.off("exit", this.#onExit);
    this.#close();
    await sleep(500);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}
