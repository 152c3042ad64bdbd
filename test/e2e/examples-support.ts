// Runs programs of docs/examples as they stand against a real server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "vitest";
import type { RunningServer } from "../../scripts/lib/server-process.mjs";
import { JadeClient } from "../../src/client/index.ts";
import { startWithGrpc } from "./etcd/grpc-front.ts";

export const EXAMPLES = join(import.meta.dirname, "../../docs/examples");
/** Those that are held to a time, in a file of tests of their own. */
export const TIMED = { change: "config-change.mjs", election: "scheduler-election.mjs" } as const;

export class Examples {
  readonly server: RunningServer;
  /** Where the gRPC front listens. */
  readonly grpc: string;
  readonly apiKey: string;
  /** Those that were run. */
  readonly run = new Set<string>();

  constructor(server: RunningServer, grpc: string, apiKey: string) {
    this.server = server;
    this.grpc = grpc;
    this.apiKey = apiKey;
  }

  static async start(): Promise<Examples> {
    const { server, grpc } = await startWithGrpc();
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "examples" });
    admin.close();
    return new Examples(server, grpc, apiKey);
  }

  /** The line that an example prints. */
  async printed(file: string, more: NodeJS.ProcessEnv = {}) {
    this.run.add(file);
    const env = { ...process.env, JADE_URL: this.server.url, JADE_API_KEY: this.apiKey, ...more };
    const child = spawn(process.execPath, [join(EXAMPLES, file)], { env, timeout: 120_000, killSignal: "SIGKILL" });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (text) => {
      stdout += text;
    });
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    const [status] = await once(child, "close");
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
    console.log(`${file}: ${stdout.trim()}`);
    return JSON.parse(stdout);
  }
}
