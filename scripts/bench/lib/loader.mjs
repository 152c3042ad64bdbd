// Talks to the load generator's process and looks at the servers' CPU meanwhile.

import { fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { treeCpuMs } from "../../lib/server-process.mjs";

/** Below this share of a core a server counts as idle. */
const IDLE_SHARE = 0.05;
const SETTLE_LIMIT_MS = 20_000;

/** A process of this folder that answers each message `{id, …}` with `{id, result}` or `{id, error}`. */
export function startChild(file) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { stdio: "inherit" });
  const waiting = new Map();
  let lastId = 0;
  child.on("message", ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  });
  child.on("exit", (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`the load generator ended with ${code}`));
  });
  const ask = (message) =>
    new Promise((resolve, reject) => {
      waiting.set(++lastId, { resolve, reject });
      child.send({ id: lastId, ...message });
    });
  return { ask, dispose: () => child.kill() };
}

export function startLoader() {
  const { ask, dispose } = startChild("load-process.mjs");
  return {
    preload: (preload) => ask({ preload }),
    /** Runs a phase; adds `serverCpu`, in cores, of the server's processes. */
    async phase(phase, groupId) {
      const beganMs = performance.now();
      const began = treeCpuMs(groupId);
      const result = await ask({ phase });
      return { ...result, serverCpu: (treeCpuMs(groupId) - began) / (performance.now() - beganMs) };
    },
    dispose,
  };
}

/** Waits until a server's background work is done, so that it does not slow down somebody else's phase. Gives the time it took. */
export async function settle(groupId, limitMs = SETTLE_LIMIT_MS) {
  const beganMs = performance.now();
  while (performance.now() - beganMs < limitMs) {
    const before = treeCpuMs(groupId);
    await sleep(400);
    if ((treeCpuMs(groupId) - before) / 400 < IDLE_SHARE) break;
  }
  return performance.now() - beganMs;
}
