// Keeps the process that ends TLS running. Guarantees: one that dies is started anew on the same ports; it ends with `stop`.
// Must not: read the key itself, or give the process other secrets.
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../package-root.ts";
import type { TlsFrontOptions } from "./front.ts";
import { TLS_OPTIONS, type TlsReport } from "./front-process.ts";
import { FRONT_RESTART_MS, FRONT_START_MS } from "./limits.ts";

export class TlsKeeper {
  #options: TlsFrontOptions;
  readonly #report: (line: string) => void;
  #child: ChildProcess | undefined;
  #isListening = false;
  #isStopping = false;

  constructor(options: TlsFrontOptions, report: (line: string) => void) {
    this.#options = options;
    this.#report = report;
  }

  /** Gives the ports. @throws when it cannot listen or serve its certificate. */
  async start(): Promise<readonly number[]> {
    const ports = await this.#startOne();
    this.#isListening = true;
    const listens = this.#options.listens.map((listen, index) => ({ ...listen, port: ports[index]! }));
    this.#options = { ...this.#options, listens };
    return ports;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const child = this.#child;
    if (!child) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.connected) child.disconnect();
    await ended;
  }

  #startOne(): Promise<readonly number[]> {
    const { PATH, HOME, TZ, LANG } = process.env;
    const child = fork(join(packageRoot(), "dist/cli.js"), ["tls-front"], {
      env: { PATH, HOME, TZ, LANG, [TLS_OPTIONS]: JSON.stringify(this.#options) },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child = child;
    child.once("exit", (code, signal) => {
      this.#child = undefined;
      if (this.#isStopping || !this.#isListening) return;
      this.#report(`the TLS front ended (${signal ?? `exit code ${code}`}): restarting`);
      setTimeout(() => this.#again(), FRONT_RESTART_MS);
    });
    return portsOf(child);
  }

  #again(): void {
    if (this.#isStopping) return;
    // Its exit starts the next attempt.
    this.#startOne().catch((error) => this.#report(`the TLS front: ${error.message}`));
  }
}

function portsOf(child: ChildProcess): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`it does not listen after ${FRONT_START_MS / 1000} s`));
    }, FRONT_START_MS);
    const end = (act: () => void): void => {
      clearTimeout(timer);
      act();
    };
    child.once("exit", (code) => end(() => reject(new Error(`it ended with ${code}`))));
    child.once("error", (error) => end(() => reject(error)));
    child.on("message", (told: TlsReport) =>
      end(() => ("ports" in told ? resolve(told.ports) : reject(new Error(told.problem)))),
    );
  });
}
