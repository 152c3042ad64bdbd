// One run of workerd: started, its port learnt, its health awaited, ended.
// Guarantees: the child never sees the environment's secrets; it is in its own process group, so that Ctrl-C reaches only us.

import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { ToldLines } from "./told-lines.ts";
import { dyingWithParent } from "./workerd-binary.ts";

/** Kept of stderr to explain a failed start. */
const STDERR_TAIL_CHARACTERS = 8192;
/** The first descriptor of the child behind its streams and events. */
const FIRST_INHERITED = 4;
const HEALTH_POLL_MS = 25;
const HEALTH_CALL_TIMEOUT_MS = 2000;

export interface WorkerdExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface WorkerdStart {
  readonly binary: string;
  /** Directory that holds `configFile`; workerd runs there. */
  readonly cwd: string;
  readonly configFile: string;
  /** The socket whose port tells that it listens, and what answers there. Left out: the gateway's. */
  readonly health?: HealthCheck;
  /** Listening sockets to take over by their names, in place of the addresses in the configuration. */
  readonly descriptors?: Readonly<Record<string, number | undefined>>;
  /** For a process in cluster mode. */
  readonly isExperimental?: boolean;
  /** What the child may see besides; for the bucket's credentials. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface HealthCheck {
  readonly event: "http" | "cluster";
  /** Answered with 200 by a process that serves. */
  readonly path: string;
}

const GATEWAY_HEALTH: HealthCheck = { event: "http", path: "/v1/health" };
/** On the port between the leaders' processes; 200 also means that it holds its lease in the bucket. */
export const LEADERS_HEALTH: HealthCheck = { event: "cluster", path: "/ready" };

/** What the child may see: enough to run and to log in the operator's time zone, no keys. */
function childEnvironment(cwd: string): NodeJS.ProcessEnv {
  const { PATH, HOME, TZ, LANG, LC_ALL, TMPDIR } = process.env;
  const kept = Object.entries({ PATH, HOME, TZ, LANG, LC_ALL, TMPDIR }).filter(([, value]) => value !== undefined);
  // workerd warns when PWD is not where it runs.
  return { ...Object.fromEntries(kept), PWD: cwd };
}

export class WorkerdProcess {
  readonly #child: ChildProcess;
  readonly #health: HealthCheck;
  /** Resolves once, also when the process could not be started at all. */
  readonly exited: Promise<WorkerdExit>;
  /** The port of the socket that `health` names; never resolves when the process ends first. */
  readonly listening: Promise<number>;
  #stderrTail = "";
  #ended = false;

  constructor(start: WorkerdStart) {
    this.#health = start.health ?? GATEWAY_HEALTH;
    const inherited = Object.entries(start.descriptors ?? {}).filter(
      (pair): pair is [string, number] => pair[1] !== undefined,
    );
    const flags = [
      ...(start.isExperimental ? ["--experimental"] : []),
      ...inherited.map(([name], index) => `--socket-fd=${name}=${FIRST_INHERITED + index}`),
      "--control-fd=3",
    ];
    const [command, ...args] = dyingWithParent([start.binary, "serve", ...flags, start.configFile, "config"]);
    this.#child = spawn(command!, args, {
      cwd: start.cwd,
      env: { ...childEnvironment(start.cwd), ...start.env },
      stdio: ["ignore", "inherit", "pipe", "pipe", ...inherited.map(([, descriptor]) => descriptor)],
      detached: true,
    });
    this.exited = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#keepStderr(String(error));
        this.#ended = true;
        resolve({ code: 127, signal: null });
      });
      this.#child.once("close", (code, signal) => {
        this.#ended = true;
        resolve({ code, signal });
      });
    });
    const lines = new ToldLines();
    const tell = (text: string): void => void process.stderr.write(text);
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#keepStderr(text);
      tell(lines.push(text));
    });
    this.#child.stderr?.once("end", () => tell(lines.end()));
    this.listening = listenEvent(this.#child.stdio[3] as Readable, this.#health.event);
  }

  #keepStderr(text: string): void {
    this.#stderrTail = (this.#stderrTail + text).slice(-STDERR_TAIL_CHARACTERS);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get stderrTail(): string {
    return this.#stderrTail;
  }

  get ended(): boolean {
    return this.#ended;
  }

  signal(name: NodeJS.Signals): void {
    if (!this.#ended) this.#child.kill(name);
  }

  /** True when it answered 200 in time, false when the process ended or the time is over. */
  async healthy(url: string, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (!this.#ended && performance.now() < deadline) {
      if (await answersHealth(url + this.#health.path)) return true;
      await sleep(HEALTH_POLL_MS);
    }
    return false;
  }
}

async function answersHealth(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(HEALTH_CALL_TIMEOUT_MS) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    // Not listening yet, or not answering yet: the caller asks again until its deadline.
    return false;
  }
}

/** workerd writes one JSON line for each socket it listens on. */
function listenEvent(control: Readable, event: HealthCheck["event"]): Promise<number> {
  return new Promise((resolve) => {
    let text = "";
    control.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      for (const line of text.split("\n").slice(0, -1)) {
        const port = portOf(line, event);
        if (port !== undefined) resolve(port);
      }
      text = text.slice(text.lastIndexOf("\n") + 1);
    });
  });
}

function portOf(line: string, wanted: HealthCheck["event"]): number | undefined {
  try {
    const { event, socket, port } = JSON.parse(line) as { readonly [field: string]: unknown };
    const isWanted = wanted === "cluster" ? event === "listen-cluster" : event === "listen" && socket === "http";
    return isWanted && typeof port === "number" ? port : undefined;
  } catch {
    // Not an event of ours.
    return undefined;
  }
}
