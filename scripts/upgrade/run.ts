// A rolling upgrade, tried: three instances of an older build, brought to this one one after the other, under clients that go on all the while.
// Guarantees: every acknowledged write is looked for at the end (faults/workload.ts); a request that its client gave up is a problem; instances
// of both builds run together, each side by side with each. Must not: go on to the next instance before the last one is ready.
import { mkdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { type Away, Prober } from "../faults/prober.ts";
import { Workload } from "../faults/workload.ts";
import { root } from "../lib/root.mjs";
import { freePort, type ProcessGroup, startGroup, temporaryDirectory } from "../lib/server-process.mjs";
import { Balancer } from "./balancer.ts";

const READY_MS = 120_000;
/** What an instance's stop may take: both of its processes, on a busy machine. Ms. */
const STOP_MS = 60_000;
const POLL_MS = 50;
/** Between the last connection that a balancer sends and SIGTERM: as a pod's preStop. Ms. */
const DRAIN_MS = 2000;
/** Both builds side by side under load, before the next one. Ms. */
const SETTLE_MS = 3000;
const SEED = 1;

export interface DrillOptions {
  readonly oldBuild: { readonly directory: string; readonly commit: string };
  readonly instances: number;
  readonly report: (line: string) => void;
}

interface Step {
  readonly zone: string;
  readonly stoppedMs: number;
  readonly readyMs: number;
}

export class UpgradeDrill {
  readonly problems: string[] = [];
  readonly steps: Step[] = [];
  readonly #options: DrillOptions;
  readonly zones: readonly string[];
  readonly #rootKey = `jdb.root.${crypto.randomUUID().replaceAll("-", "")}`;
  readonly #groups = new Map<string, ProcessGroup>();
  readonly #urls = new Map<string, string>();
  #peers: readonly string[] = [];
  #directory = "";
  #bucketUrl = "";
  readonly #key = crypto.randomUUID().repeat(2);

  constructor(options: DrillOptions) {
    this.#options = options;
    this.zones = Array.from({ length: options.instances }, (_, index) => `z${index + 1}`);
  }

  /** As the workload asks for it: each instance by itself. */
  client(zone: string, apiKey: string, { attempts, timeoutMs = 60_000 }: { attempts: number; timeoutMs?: number }) {
    return new JadeClient({
      url: this.#urls.get(zone)!,
      apiKey,
      timeoutMs,
      retries: { attempts, baseMs: 20, maxMs: 200 },
    });
  }

  async run(): Promise<void> {
    this.#directory = await temporaryDirectory("upgrade");
    const { report, oldBuild } = this.#options;
    let balancer: Balancer | undefined;
    try {
      await this.#startBucket();
      const ports = await Promise.all(this.zones.map(() => freePort()));
      this.#peers = this.zones.flatMap((zone, index) => ["--peer", `${zone}=127.0.0.1:${ports[index]}`]);
      for (const zone of this.zones) this.#urls.set(zone, `http://127.0.0.1:${await freePort()}`);
      for (const zone of this.zones) this.#start(zone, oldBuild.directory);
      await Promise.all(this.zones.map((zone) => this.#untilReady(zone)));
      report(`${this.zones.length} instances of ${oldBuild.commit} are ready`);
      const admin = this.client("z1", this.#rootKey, { attempts: 20 });
      const { apiKey } = await admin.tenants.create({ tenantId: "upgrade" });
      admin.close();
      balancer = new Balancer(this.#urls);
      const workload = new Workload(this, { apiKey, seed: SEED });
      await workload.start();
      const asking = await this.#ask(await balancer.start(), apiKey);
      const beganMs = performance.now();
      for (const zone of this.zones) await this.#upgrade(zone, balancer);
      await sleep(SETTLE_MS);
      await Promise.all(asking.map((prober) => prober.stop()));
      for (const prober of asking) this.#judge(prober.name, prober.away(beganMs));
      await workload.finish();
      report(JSON.stringify(workload.counts));
      this.problems.push(...workload.problems);
    } finally {
      balancer?.stop();
      for (const group of this.#groups.values()) await group.kill9();
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  /** Through the balancer, with the SDK's own retries; what must wait for a takeover of leaders with more. */
  async #ask(url: string, apiKey: string): Promise<readonly Prober[]> {
    const patient = { retries: { attempts: 60, maxMs: 1000 }, timeoutMs: 60_000 };
    const [plain, session, waiting] = [
      new JadeClient({ url, apiKey }),
      new JadeClient({ url, apiKey, transport: "session" }),
      new JadeClient({ url, apiKey, ...patient }),
    ];
    const { databaseId } = await waiting.databases.create({ name: "asked", vectorDimension: 2, metric: "euclidean" });
    const quorum = { consistency: "quorum" } as const;
    const config = waiting.config.namespace("asked");
    const vectors = waiting.vectors(databaseId);
    const asking = [
      new Prober("key-value put, HTTP", (count) => plain.kv.put(`a/${count % 50}`, count, quorum)),
      new Prober("key-value get, HTTP", (count) => plain.kv.get(`a/${count % 50}`, quorum)),
      new Prober("key-value put, session", (count) => session.kv.put(`b/${count % 50}`, count, quorum)),
      new Prober("key-value get, session", (count) => session.kv.get(`b/${count % 50}`, quorum)),
      new Prober("configuration put", (count) => config.put("key", count)),
      new Prober("configuration get", () => config.get("key")),
      new Prober("vector upsert", (count) => vectors.upsert({ id: `v${count % 50}`, values: [count, 1] })),
      new Prober("vector search", () => vectors.search({ vector: [1, 1] }, { topK: 3 })),
    ];
    await config.put("key", 0);
    for (const prober of asking) prober.start();
    return asking;
  }

  #judge(name: string, away: Away): void {
    this.#options.report(`${name.padEnd(24)} ${JSON.stringify(away)}`);
    if (away.failed > 0)
      this.problems.push(`${name}: ${away.failed} of ${away.asked} failed: ${JSON.stringify(away.codes)}`);
    if (away.asked === 0) this.problems.push(`${name}: nothing was asked`);
  }

  async #upgrade(zone: string, balancer: Balancer): Promise<void> {
    balancer.takeOut(zone);
    await sleep(DRAIN_MS);
    const beganMs = performance.now();
    await this.#stop(zone);
    const stoppedMs = Math.round(performance.now() - beganMs);
    this.#start(zone, root);
    await this.#untilReady(zone);
    balancer.putBack(zone);
    const step = { zone, stoppedMs, readyMs: Math.round(performance.now() - beganMs) };
    this.steps.push(step);
    this.#options.report(
      `${zone} runs the present build: stopped after ${step.stoppedMs} ms, ready after ${step.readyMs} ms`,
    );
    await sleep(SETTLE_MS);
  }

  async #startBucket(): Promise<void> {
    const port = await freePort();
    this.#bucketUrl = `http://127.0.0.1:${port}`;
    const args = [
      "dev-bucket",
      "--data-dir",
      join(this.#directory, "bucket"),
      "--bucket",
      "jade",
      "--port",
      String(port),
    ];
    this.#run("bucket", root, args);
    const end = performance.now() + READY_MS;
    while (
      !(await fetch(this.#bucketUrl).then(
        () => true,
        () => false,
      ))
    ) {
      if (performance.now() > end) throw new Error("the bucket does not answer");
      await sleep(POLL_MS);
    }
  }

  #start(zone: string, build: string): void {
    const dataDir = join(this.#directory, zone);
    mkdirSync(dataDir, { recursive: true });
    const { port } = new URL(this.#urls.get(zone)!);
    const place = ["--cluster", "s3://jade/deployment", "--zone", zone, ...this.#peers];
    this.#run(zone, build, ["serve", ...place, "--port", port, "--data-dir", dataDir]);
  }

  #run(name: string, build: string, args: readonly string[]): void {
    const group = startGroup({
      command: process.execPath,
      args: [join(build, "dist/cli.js"), ...args],
      env: {
        ...{ JADE_ROOT_KEY: this.#rootKey, JADE_CLUSTER_KEY: this.#key, JADE_LOG_LEVEL: "error" },
        ...{ AWS_ENDPOINT_URL: this.#bucketUrl, AWS_REGION: "auto" },
        ...{ AWS_ACCESS_KEY_ID: "jade", AWS_SECRET_ACCESS_KEY: this.#key },
      },
      logPath: join(this.#directory, `${name}.log`),
    });
    this.#groups.set(name, group);
  }

  async #stop(zone: string): Promise<void> {
    const group = this.#groups.get(zone)!;
    process.kill(group.groupId, "SIGTERM");
    const end = performance.now() + STOP_MS;
    while (group.isRunning) {
      if (performance.now() > end) throw new Error(`${zone} does not stop`);
      await sleep(POLL_MS);
    }
  }

  async #untilReady(zone: string): Promise<void> {
    const end = performance.now() + READY_MS;
    for (;;) {
      const signal = AbortSignal.timeout(5000);
      const response = await fetch(`${this.#urls.get(zone)}/v1/ready`, { signal }).catch(() => undefined);
      await response?.arrayBuffer().catch(() => undefined);
      if (response?.ok) return;
      if (performance.now() > end || !this.#groups.get(zone)!.isRunning) {
        const log = readFileSync(join(this.#directory, `${zone}.log`), "utf8").slice(-3000);
        throw new Error(`${zone} is not ready; its log:\n${log}`);
      }
      await sleep(POLL_MS);
    }
  }
}
