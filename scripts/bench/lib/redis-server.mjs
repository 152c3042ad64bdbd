// A Redis of one's own for comparison: appendonly with fsync at every commit, in a temporary directory. Undefined when not installed.

import { spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, startGroup, temporaryDirectory } from "../../lib/server-process.mjs";

function canConnect(port) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.unref();
    setTimeout(() => resolve(false), 500).unref();
  });
}

export async function startRedis() {
  const command = process.env.JADE_BENCH_REDIS ?? "redis-server";
  const version = spawnSync(command, ["--version"], { encoding: "utf8" });
  if (version.error) return undefined;
  const directory = await temporaryDirectory("redis");
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"];
  const group = startGroup({
    command,
    args: [...args, "--save", "", "--dir", directory],
    env: {},
    logPath: join(directory, "log"),
  });
  while (!(await canConnect(port))) await sleep(50);
  return {
    version: /v=([\d.]+)/.exec(version.stdout)?.[1] ?? "unknown",
    port,
    groupId: group.groupId,
    async dispose() {
      await group.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
