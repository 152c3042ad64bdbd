// The front processes of an instance, on one port that they share. Guarantees: one that dies is started anew; all end with `stop`.
// Must not: give them secrets.
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { type Samples, sumSamples } from "../../telemetry/sample-sums.ts";
import { packageRoot } from "../package-root.ts";
import type { CertificateFiles } from "../tls/certificate.ts";
import { FRONT_OPTIONS, type FrontProcessOptions, type FrontReport, type FrontSamples } from "./front-process.ts";
import { FRONT_RESTART_MS, FRONT_START_MS } from "./limits.ts";

export interface FrontsOptions {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly count: number;
  /** Given: it speaks TLS. */
  readonly tls?: CertificateFiles | undefined;
  readonly limits: Pick<FrontProcessOptions, "maxClients" | "maxPerKey" | "maxUnreadBytes">;
  readonly report: (line: string) => void;
}

export class WatchFronts {
  readonly #options: FrontsOptions;
  readonly #children = new Set<ChildProcess>();
  readonly #samples = new Map<ChildProcess, Samples>();
  #port = 0;
  #isStopping = false;

  constructor(options: FrontsOptions) {
    this.#options = options;
  }

  /** Gives the port. The first one finds it. */
  async start(): Promise<number> {
    try {
      this.#port = await this.#startOne(this.#options.port);
      const others = Array.from({ length: this.#options.count - 1 }, () => this.#startOne(this.#port));
      await Promise.all(others);
    } catch (error) {
      await this.stop();
      throw error;
    }
    return this.#port;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const ended = [...this.#children].map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of this.#children) if (child.connected) child.disconnect();
    await Promise.all(ended);
  }

  #startOne(port: number): Promise<number> {
    const { url, host, count, limits, tls } = this.#options;
    const options: FrontProcessOptions = { url, host, port, reusePort: count > 1, tls, ...limits };
    const { PATH, HOME, TZ, LANG } = process.env;
    const child = fork(join(packageRoot(), "dist/cli.js"), ["watch-front"], {
      env: { PATH, HOME, TZ, LANG, [FRONT_OPTIONS]: JSON.stringify(options) },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#children.add(child);
    child.on("message", (report: FrontReport) => {
      if (!("samples" in report)) return;
      this.#samples.set(child, report.samples);
      if (child.connected) child.send({ samples: sumSamples([...this.#samples.values()]) } satisfies FrontSamples);
    });
    child.once("exit", (code, signal) => {
      this.#children.delete(child);
      this.#samples.delete(child);
      if (this.#isStopping || this.#port === 0) return;
      this.#options.report(`a watch front ended (${signal ?? `exit code ${code}`}): restarting`);
      setTimeout(() => this.#again(), FRONT_RESTART_MS);
    });
    return listening(child);
  }

  #again(): void {
    if (this.#isStopping) return;
    // Its exit starts the next attempt.
    this.#startOne(this.#port).catch((error) => this.#options.report(`a watch front: ${error.message}`));
  }
}

function listening(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`it did not listen within ${FRONT_START_MS / 1000} s`));
    }, FRONT_START_MS);
    child.once("message", (report: FrontReport) => {
      clearTimeout(timer);
      if ("port" in report) resolve(report.port);
      else reject(new Error("problem" in report ? report.problem : "it does not say its port"));
    });
    child.once("exit", () => {
      clearTimeout(timer);
      reject(new Error("it ended at its start"));
    });
  });
}
