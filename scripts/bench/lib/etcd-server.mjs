// An etcd of one's own for comparison, as Debian installs it: one member, fsync at every commit. Undefined when not installed.

import { spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, startGroup, temporaryDirectory } from "../../lib/server-process.mjs";

export async function startEtcd() {
  const command = process.env.JADE_BENCH_ETCD ?? "etcd";
  const version = spawnSync(command, ["--version"], { encoding: "utf8" });
  if (version.error) return undefined;
  const directory = await temporaryDirectory("etcd");
  const [port, peerPort] = [await freePort(), await freePort()];
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const start = () =>
    startGroup({
      command,
      args: [
        ...["--name", "bench", "--data-dir", join(directory, "data"), "--log-level", "error"],
        ...["--listen-client-urls", client, "--advertise-client-urls", client],
        ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `bench=${peer}`],
      ],
      env: {},
      logPath: join(directory, "log"),
    });
  let group = start();
  await untilHealthy(client);
  return {
    version: /etcd Version: ([\d.]+)/.exec(version.stdout)?.[1] ?? "unknown",
    port,
    dataDir: join(directory, "data"),
    get groupId() {
      return group.groupId;
    },
    /** On the same data. Gives when it was started, of performance.now(). */
    async restart() {
      await group.stop();
      const beganMs = performance.now();
      group = start();
      await untilHealthy(client);
      return beganMs;
    },
    async dispose() {
      await group.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function untilHealthy(client) {
  for (;;) {
    const healthy = await fetch(`${client}/health`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (healthy) return;
    await sleep(50);
  }
}
