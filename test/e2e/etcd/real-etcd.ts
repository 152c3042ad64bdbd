// Starts Debian's etcd for comparisons, alone and empty, and ends it. Where it is not installed the tests that need it say so.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../scripts/lib/server-process.mjs";

const ETCD = "/usr/bin/etcd";
const ETCDCTL = "/usr/bin/etcdctl";
const READY_TIMEOUT_MS = 20_000;

/** Why the comparison cannot be made; undefined = it can. */
export function whyNoEtcd(): string | undefined {
  const missing = [ETCD, ETCDCTL].filter((path) => !existsSync(path));
  return missing.length === 0
    ? undefined
    : `${missing.join(" and ")} is not installed (apt-get install etcd-server etcd-client)`;
}

export class RealEtcd {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #dir: string;

  private constructor(url: string, child: ChildProcess, dir: string) {
    this.url = url;
    this.#child = child;
    this.#dir = dir;
  }

  /** `dataDir`: that it starts on, as `etcdctl snapshot restore` made it for `peerUrl`. It is removed at the end. */
  static async start(restored?: { readonly dataDir: string; readonly peerUrl: string }): Promise<RealEtcd> {
    const dir = restored?.dataDir ?? mkdtempSync(join(tmpdir(), "jade-etcd-"));
    const [url, peer] = [
      `http://127.0.0.1:${await freePort()}`,
      restored?.peerUrl ?? `http://127.0.0.1:${await freePort()}`,
    ];
    const args = ["--data-dir", dir, "--listen-client-urls", url, "--advertise-client-urls", url];
    const peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer];
    const child = spawn(ETCD, [...args, ...peers, "--initial-cluster", `default=${peer}`], { stdio: "ignore" });
    const etcd = new RealEtcd(url, child, dir);
    const deadline = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      const isUp = await fetch(`${url}/health`).then(
        (answer) => answer.ok,
        () => false,
      );
      if (isUp) return etcd;
      if (performance.now() > deadline || child.exitCode !== null) {
        await etcd.stop();
        throw new Error("etcd did not start");
      }
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    if (this.#child.exitCode === null) {
      this.#child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
