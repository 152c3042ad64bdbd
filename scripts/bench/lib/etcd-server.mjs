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
  const group = startGroup({
    command,
    args: [
      ...["--name", "bench", "--data-dir", join(directory, "data"), "--log-level", "error"],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `bench=${peer}`],
    ],
    env: {},
    logPath: join(directory, "log"),
  });
  for (;;) {
    const healthy = await fetch(`${client}/health`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (healthy) break;
    await sleep(50);
  }
  return {
    version: /etcd Version: ([\d.]+)/.exec(version.stdout)?.[1] ?? "unknown",
    port,
    groupId: group.groupId,
    async dispose() {
      await group.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
