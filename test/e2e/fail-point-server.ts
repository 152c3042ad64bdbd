// A workerd with the fail points bound to this process: each point calls here, and is answered, held, or answered with kill -9.
// Guarantees: the shipped Worker and the shipped configuration, plus one binding; killed means SIGKILL while the object is parked.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../scripts/lib/server-process.mjs";
import { type SettingsInput, settingsSchema } from "../../src/cluster/settings.ts";
import { prepareDataDir } from "../../src/server/data-dir.ts";
import { copyWorkers, writeConfigFile } from "../../src/server/worker-files.ts";
import { workerdBinary } from "../../src/server/workerd-binary.ts";
import { workerdConfig } from "../../src/server/workerd-config.ts";
import type { FailPoint } from "../../src/storage/fail-points.ts";

export const ROOT_KEY = "jdb.root.failpoints";
const READY_TIMEOUT_MS = 90_000;

export interface Armed {
  readonly point: FailPoint;
  /** Hits to let pass before. */
  readonly skip?: number;
}

export class FailPointServer {
  readonly dataDir: string;
  readonly hits = new Map<string, number>();
  readonly #settings: SettingsInput;
  readonly #http: Server;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #port = 0;
  #armed: { readonly point: FailPoint; left: number } | undefined;
  #died: ((point: FailPoint) => void) | undefined;
  #stalled: { readonly path: string; readonly waiting: ServerResponse[] } | undefined;

  constructor(dataDir: string, settings: SettingsInput) {
    this.dataDir = dataDir;
    this.#settings = settings;
    this.#http = createServer((request, response) => this.#reached(request.url ?? "", response));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get blobsDir(): string | undefined {
    return this.#settings?.storage?.blobStore === "disk" ? join(this.dataDir, "blobs") : undefined;
  }

  #reached(path: string, response: ServerResponse): void {
    const point = path.split("/").pop() as FailPoint;
    this.hits.set(point, (this.hits.get(point) ?? 0) + 1);
    if (this.#armed?.point === point && this.#armed.left-- === 0) {
      this.#armed = undefined;
      this.#child?.kill("SIGKILL");
      this.#died?.(point);
      return;
    }
    if (this.#stalled?.path === path) this.#stalled.waiting.push(response);
    else response.writeHead(204).end();
  }

  /** Resolves when the process was killed at the point. */
  arm({ point, skip = 0 }: Armed): Promise<void> {
    return new Promise((resolve) => {
      this.#armed = { point, left: skip };
      this.#died = () => void this.#exited.then(resolve);
    });
  }

  get isArmed(): boolean {
    return this.#armed !== undefined;
  }

  disarm(): void {
    this.#armed = undefined;
  }

  /** Holds a node at a point until the function returned is called. */
  stall(nodeId: string, point: FailPoint): () => void {
    const stalled = { path: `/${nodeId}/${point}`, waiting: [] as ServerResponse[] };
    this.#stalled = stalled;
    return () => {
      this.#stalled = undefined;
      for (const response of stalled.waiting) response.writeHead(204).end();
    };
  }

  /** Starts workerd on the data directory. `untilReady` false: returns when it listens. */
  async start(untilReady = true): Promise<void> {
    if (!this.#http.listening) await new Promise<void>((resolve) => this.#http.listen(0, "127.0.0.1", resolve));
    const { port: harnessPort } = this.#http.address() as AddressInfo;
    this.#port = await freePort();
    const dir = prepareDataDir(this.dataDir);
    const plain = workerdConfig({
      address: `127.0.0.1:${this.#port}`,
      objectsDir: dir.objects,
      blobsDir: dir.blobs,
      ...copyWorkers("dist", dir.run),
      settings: settingsSchema.parse(this.#settings),
      rootKeyHash: createHash("sha256").update(ROOT_KEY).digest("hex"),
    });
    const text = plain
      .replace(
        "services = [",
        `services = [(name = "failPoints", external = (address = "127.0.0.1:${harnessPort}", http = ())),`,
      )
      .replace("bindings = [", 'bindings = [(name = "FAIL_POINTS", service = "failPoints"),');
    writeConfigFile(join(dir.run, "workerd.capnp"), text);
    this.#child = spawn(workerdBinary(), ["serve", "workerd.capnp", "config"], {
      cwd: dir.run,
      stdio: process.env.JADE_DEBUG ? "inherit" : "ignore",
    });
    const child = this.#child;
    this.#exited = new Promise((resolve) => child.once("close", () => resolve()));
    const end = performance.now() + READY_TIMEOUT_MS;
    while (untilReady ? !(await this.#answers("/v1/ready")) : !(await this.#answers("/v1/health"))) {
      if (performance.now() > end) throw new Error(`workerd was not ready within ${READY_TIMEOUT_MS} ms`);
      if (child.exitCode !== null || child.signalCode !== null) throw new Error("workerd ended");
      await sleep(20);
    }
  }

  async #answers(path: string): Promise<boolean> {
    try {
      const response = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(5000) });
      await response.arrayBuffer();
      return response.ok;
    } catch {
      return false; // not listening yet
    }
  }

  async kill9(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#exited;
  }

  async end(): Promise<void> {
    await this.kill9();
    this.#http.closeAllConnections();
    this.#http.close();
  }
}
