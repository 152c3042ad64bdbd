// Starts real servers for benchmarks, the demo and end-to-end tests, each in a process group of its own with its own directory.
// Guarantees: a started server answers /v1/ready; `kill9` ends every process of it at once; `stop` leaves nothing running.
// Must not: touch a process it did not start.

import { spawn } from "node:child_process";
import { createWriteStream, existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "./root.mjs";

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export function temporaryDirectory(name) {
  return mkdtemp(join(tmpdir(), `jade-${name}-`));
}

/** The fields of /proc/<id>/stat behind the name (state, parent, group, …); undefined when there is no such process, or no /proc. */
function statFields(id) {
  try {
    return readFileSync(`/proc/${id}/stat`, "utf8").split(") ").pop().split(" ");
  } catch {
    return undefined; // it ended between the listing and the read
  }
}

/** A process and all below it, parents first (Linux; elsewhere only itself). A supervisor's children may have groups of their own. */
export function processTree(rootId) {
  if (!existsSync("/proc/self/stat")) return [rootId];
  const childrenOf = new Map();
  for (const name of readdirSync("/proc")) {
    const fields = /^\d+$/.test(name) ? statFields(name) : undefined;
    if (fields) childrenOf.set(Number(fields[1]), [...(childrenOf.get(Number(fields[1])) ?? []), Number(name)]);
  }
  const tree = [rootId];
  for (const id of tree) tree.push(...(childrenOf.get(id) ?? []));
  return tree;
}

/** utime + stime in milliseconds of a process and all below it (0 without /proc). */
export function treeCpuMs(rootId) {
  let ticks = 0;
  for (const id of processTree(rootId)) {
    const fields = statFields(id);
    if (fields) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * 10;
}

/** Resident memory in bytes of a process and all below it (0 without /proc). */
export function treeMemoryBytes(rootId) {
  let pages = 0;
  for (const id of processTree(rootId)) {
    const fields = statFields(id);
    if (fields) pages += Number(fields[21]);
  }
  return pages * 4096;
}

/** Processes below one, by a word of their command lines (Linux): `{ids, count, memoryBytes, cpuMs}` of all of them. */
export function processesNamed(rootId, word) {
  const found = processTree(rootId).filter((id) => {
    try {
      return readFileSync(`/proc/${id}/cmdline`, "utf8").includes(word);
    } catch {
      return false; // it ended
    }
  });
  const sum = (fieldsOf) => found.reduce((total, id) => total + fieldsOf(statFields(id) ?? []), 0);
  return {
    ids: found,
    count: found.length,
    memoryBytes: sum((fields) => Number(fields[21] ?? 0)) * 4096,
    cpuMs: sum((fields) => Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 10,
  };
}

function isRunning(id) {
  if (existsSync("/proc/self/stat")) return !["Z", "X", undefined].includes(statFields(id)?.[0]);
  try {
    process.kill(id, 0);
    return true;
  } catch {
    return false;
  }
}

function groupIsAlive(groupId) {
  try {
    process.kill(-groupId, 0);
    return true;
  } catch {
    return false;
  }
}

function signalAll(ids, signal) {
  for (const id of ids) {
    try {
      process.kill(id, signal);
    } catch {
      // It ended by itself.
    }
  }
}

/** Starts a command as the leader of a new process group; its output goes to `logPath`. */
export function startGroup({ command, args, env, logPath, cwd = root }) {
  const log = createWriteStream(logPath, { flags: "a" });
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const groupId = child.pid;
  const endGroup = (signal) => {
    if (groupIsAlive(groupId)) process.kill(-groupId, signal);
  };
  const onExit = () => signalAll(processTree(groupId), "SIGKILL");
  process.on("exit", onExit);
  return {
    child,
    groupId,
    get isRunning() {
      return child.exitCode === null && child.signalCode === null;
    },
    /** Also reaches children that made a group of their own. The signals are sent before this returns its promise. */
    async kill9() {
      const tree = processTree(groupId);
      signalAll(tree, "SIGKILL");
      endGroup("SIGKILL");
      await exited;
      while (tree.some(isRunning)) await sleep(2);
      process.off("exit", onExit);
    },
    async stop() {
      const tree = processTree(groupId);
      signalAll([groupId], "SIGTERM"); // once: a second one means "at once" to the supervisor
      const timer = setTimeout(() => signalAll(processTree(groupId), "SIGKILL"), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
      signalAll(tree.filter(isRunning), "SIGKILL");
      process.off("exit", onExit);
    },
  };
}

/** Polls until `url` answers 200. Throws with the log's end when the process dies or time is up. */
export async function waitUntilReady({ url, group, logPath }) {
  const end = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      await response.arrayBuffer();
      if (response.ok) return;
    } catch {
      // Not listening yet.
    }
    if (!group.isRunning || Date.now() > end) {
      const log = existsSync(logPath) ? readFileSync(logPath, "utf8").slice(-3000) : "";
      throw new Error(
        `${url} ${group.isRunning ? "is not ready in time" : "will never be ready: the server ended"}; its log:\n${log}`,
      );
    }
    await sleep(50);
  }
}

/**
 * `jade-db serve` from dist/, of this checkout or of `build`. Give `dataDir`, `port` and `rootKey` of an earlier one to start that one again.
 * Gives {url, port, rootKey, dataDir, groupId, stop, kill9, dispose}; dispose also deletes a directory made here.
 */
export async function startServer({ dataDir, port, rootKey, args = [], env = {}, build = root } = {}) {
  const cli = join(build, "dist/cli.js");
  if (!existsSync(cli)) throw new Error(`${cli} does not exist; run: npm run build`);
  const ownsDirectory = dataDir === undefined;
  const directory = dataDir ?? (await temporaryDirectory("data"));
  const chosenPort = port ?? (await freePort());
  const key = rootKey ?? `jdb.root.${crypto.randomUUID().replaceAll("-", "")}`;
  const logPath = `${directory}.log`;
  const group = startGroup({
    command: process.execPath,
    args: [cli, "serve", "--port", String(chosenPort), ...args],
    env: { JADE_ROOT_KEY: key, JADE_DATA_DIR: directory, ...env },
    logPath,
    cwd: build,
  });
  const url = `http://127.0.0.1:${chosenPort}`;
  await waitUntilReady({ url: `${url}/v1/ready`, group, logPath });
  return {
    url,
    port: chosenPort,
    rootKey: key,
    dataDir: directory,
    logPath,
    groupId: group.groupId,
    stop: group.stop,
    kill9: group.kill9,
    async dispose() {
      await group.stop();
      if (!ownsDirectory) return;
      await rm(directory, { recursive: true, force: true });
      await rm(logPath, { force: true });
    },
  };
}
