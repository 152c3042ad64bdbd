// Starts `jade-db serve` from dist/ for end-to-end tests and ends it, whatever happens.
// Guarantees: each server has a free port, a data directory of its own and no configuration from the outside.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const COMMAND = fileURLToPath(new URL("../../bin/jade-db.mjs", import.meta.url));
const READY_TIMEOUT_MS = 90_000;

export interface ServeProcessOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Run by the shell in the process that becomes the server. */
  readonly shell?: string;
}

export function temporaryDir(): string {
  return mkdtempSync(join(tmpdir(), "jade-e2e-"));
}

export class ServeProcess {
  static readonly #running = new Set<ServeProcess>();
  readonly #child: ChildProcess;
  readonly exited: Promise<number | NodeJS.Signals>;
  stdout = "";
  stderr = "";

  constructor({ args = [], env = {}, shell = ":" }: ServeProcessOptions = {}) {
    const { PATH, HOME } = process.env;
    const command = [process.execPath, COMMAND, "serve", ...args];
    this.#child = spawn("sh", ["-c", `${shell}; exec "$@"`, "sh", ...command], {
      env: { PATH, HOME, ...env },
      stdio: "pipe",
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    ServeProcess.#running.add(this);
    this.exited = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        ServeProcess.#running.delete(this);
        resolve(code ?? signal ?? "SIGKILL");
      });
    });
  }

  /** A server on a free port that has printed that it is ready. */
  static async ready(dataDir: string, options: ServeProcessOptions = {}): Promise<ServeProcess> {
    const server = new ServeProcess({
      ...options,
      args: ["--port", "0", "--data-dir", dataDir, ...(options.args ?? [])],
    });
    await server.waitFor(() => server.url !== undefined && /^ready /m.test(server.stdout));
    return server;
  }

  /** Ends every server a test left running. */
  static async endAll(): Promise<void> {
    const left = [...ServeProcess.#running];
    for (const server of left) server.kill("SIGKILL");
    await Promise.all(left.map((server) => server.exited));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get url(): string | undefined {
    return this.stdout.match(/^JadeDB +(https?:\S+)/m)?.[1];
  }

  get rootKey(): string | undefined {
    return this.stdout.match(/^root key +(\S+)/m)?.[1];
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async get(path: string): Promise<Response> {
    return fetch(`${this.url}${path}`);
  }

  async waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    let ended = false;
    void this.exited.then(() => {
      ended = true;
    });
    while (!(await condition())) {
      if (ended || performance.now() > deadline) {
        throw new Error(`${ended ? "serve ended" : "serve did not get there in time"}\n${this.stdout}\n${this.stderr}`);
      }
      await sleep(20);
    }
  }
}

/** The process number of the workerd that serves a data directory. */
export function workerdPid(dataDir: string): number {
  const lock = JSON.parse(readFileSync(join(dataDir, "instance.lock"), "utf8")) as {
    readonly workerd: { readonly pid: number };
  };
  return lock.workerd.pid;
}

export function removeDir(path: string): void {
  rmSync(path, { recursive: true, force: true });
}
