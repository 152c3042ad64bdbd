// Instances of a cluster on this machine with a bucket of their own, each started and stopped by itself: by any build, with any table of zones.
// Guarantees: they reach each other over TLS as on several machines; `dispose` leaves nothing. Must not: end what it did not start.
import { mkdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { root } from "../lib/root.mjs";
import { freePort, type ProcessGroup, startGroup, temporaryDirectory } from "../lib/server-process.mjs";

const READY_MS = 120_000;
/** What an instance's stop may take: both of its processes, on a busy machine. Ms. */
const STOP_MS = 60_000;
const POLL_MS = 50;

export interface InstanceStart {
  /** The checkout whose build runs. */
  readonly build?: string;
  /** Of its table; left out: all. */
  readonly peers?: readonly string[];
}

export class Instances {
  readonly zones: readonly string[];
  readonly rootKey = `jdb.root.${crypto.randomUUID().replaceAll("-", "")}`;
  readonly urls = new Map<string, string>();
  readonly #key = crypto.randomUUID().repeat(2);
  readonly #groups = new Map<string, ProcessGroup>();
  readonly #ports = new Map<string, number>();
  readonly #directory: string;
  #bucketUrl = "";

  private constructor(zones: readonly string[], directory: string) {
    this.zones = zones;
    this.#directory = directory;
  }

  /** With the bucket; no instance runs yet. */
  static async prepare(zones: readonly string[]): Promise<Instances> {
    const made = new Instances(zones, await temporaryDirectory("instances"));
    for (const zone of zones) {
      made.#ports.set(zone, await freePort());
      made.urls.set(zone, `http://127.0.0.1:${await freePort()}`);
    }
    await made.#startBucket();
    return made;
  }

  /** Each instance by itself. */
  client(zone: string, apiKey: string, { attempts, timeoutMs = 60_000 }: { attempts: number; timeoutMs?: number }) {
    const retries = { attempts, baseMs: 20, maxMs: 200 };
    return new JadeClient({ url: this.urls.get(zone)!, apiKey, timeoutMs, retries });
  }

  start(zone: string, { build = root, peers = this.zones }: InstanceStart = {}): void {
    const dataDir = join(this.#directory, zone);
    mkdirSync(dataDir, { recursive: true });
    const { port } = new URL(this.urls.get(zone)!);
    const table = peers.flatMap((peer) => ["--peer", `${peer}=127.0.0.1:${this.#ports.get(peer)}`]);
    const place = ["--cluster", "s3://jade/deployment", "--zone", zone, ...table];
    this.#run(zone, build, ["serve", ...place, "--port", port, "--data-dir", dataDir]);
  }

  async stop(zone: string): Promise<void> {
    const group = this.#groups.get(zone)!;
    process.kill(group.groupId, "SIGTERM");
    const end = performance.now() + STOP_MS;
    while (group.isRunning) {
      if (performance.now() > end) throw new Error(`${zone} does not stop`);
      await sleep(POLL_MS);
    }
  }

  async untilReady(zone: string): Promise<void> {
    const end = performance.now() + READY_MS;
    for (;;) {
      const signal = AbortSignal.timeout(5000);
      const response = await fetch(`${this.urls.get(zone)}/v1/ready`, { signal }).catch(() => undefined);
      await response?.arrayBuffer().catch(() => undefined);
      if (response?.ok) return;
      if (performance.now() > end || !this.#groups.get(zone)!.isRunning) {
        const log = readFileSync(join(this.#directory, `${zone}.log`), "utf8").slice(-3000);
        throw new Error(`${zone} is not ready; its log:\n${log}`);
      }
      await sleep(POLL_MS);
    }
  }

  async dispose(): Promise<void> {
    for (const group of this.#groups.values()) await group.kill9();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #startBucket(): Promise<void> {
    const port = String(await freePort());
    this.#bucketUrl = `http://127.0.0.1:${port}`;
    const place = ["--data-dir", join(this.#directory, "bucket"), "--bucket", "jade", "--port", port];
    this.#run("bucket", root, ["dev-bucket", ...place]);
    const end = performance.now() + READY_MS;
    const answers = (): Promise<boolean> =>
      fetch(this.#bucketUrl).then(
        () => true,
        () => false,
      );
    while (!(await answers())) {
      if (performance.now() > end) throw new Error("the bucket does not answer");
      await sleep(POLL_MS);
    }
  }

  #run(name: string, build: string, args: readonly string[]): void {
    const group = startGroup({
      command: process.execPath,
      args: [join(build, "dist/cli.js"), ...args],
      env: {
        ...{ JADE_ROOT_KEY: this.rootKey, JADE_CLUSTER_KEY: this.#key, JADE_LOG_LEVEL: "error" },
        ...{ AWS_ENDPOINT_URL: this.#bucketUrl, AWS_REGION: "auto" },
        ...{ AWS_ACCESS_KEY_ID: "jade", AWS_SECRET_ACCESS_KEY: this.#key },
      },
      logPath: join(this.#directory, `${name}.log`),
    });
    this.#groups.set(name, group);
  }
}
