// CPU profiles of the server's isolate through workerd's inspector: which functions an item spends its time in.
// Used with `--cpu-profile <directory>`: one `.cpuprofile` an item (Chrome's DevTools open it), and the top functions on stderr.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { freePort, startGroup, startServer, waitUntilReady } from "../../lib/server-process.mjs";

const workerd = createRequire(import.meta.url).resolve("workerd/bin/workerd");
const SAMPLING_INTERVAL_US = 250;
const TOP = 25;

/** Like startServer, but workerd itself with its inspector open, on the configuration that `serve` has written. */
export async function startInspectedServer(options) {
  const served = await startServer(options);
  await served.stop();
  const inspectorPort = await freePort();
  const args = ["serve", `-i127.0.0.1:${inspectorPort}`, "workerd.capnp", "config"];
  // Its sockets are files of that directory, and one that is there cannot be listened at.
  const cwd = join(served.dataDir, "run");
  await rm(join(cwd, "tell.sock"), { force: true });
  const group = startGroup({ command: workerd, args, env: {}, logPath: served.logPath, cwd });
  await waitUntilReady({ url: `${served.url}/v1/ready`, group, logPath: served.logPath });
  const dispose = async () => {
    await group.stop();
    await served.dispose();
  };
  return { ...served, groupId: group.groupId, inspectorPort, stop: group.stop, kill9: group.kill9, dispose };
}

/** A connection to the inspector: `send(method, params)` gives the result. */
async function connectInspector(port) {
  const targets = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
  const target = targets.find(({ title, id }) => `${title} ${id}`.includes("jade")) ?? targets[0];
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error(`no inspector at ${target.webSocketDebuggerUrl}`)));
  });
  const waiting = new Map();
  let lastId = 0;
  socket.addEventListener("message", ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    const entry = waiting.get(id);
    waiting.delete(id);
    if (error) entry?.reject(new Error(error.message));
    else entry?.resolve(result);
  });
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++lastId, { resolve, reject });
      socket.send(JSON.stringify({ id: lastId, method, params }));
    });
  return { send, close: () => socket.close() };
}

/** `name file:line`; a native function (SQL's `exec`, say) with the function that called it. */
function describeNode(node, parents) {
  const { functionName, url, lineNumber } = node.callFrame;
  const name = functionName || "(anonymous)";
  if (url !== "") return `${name} ${url.split("/").pop()}:${lineNumber + 1}`;
  const parent = parents.get(node.id);
  return parent === undefined || parent.callFrame.functionName === "(root)"
    ? name
    : `${name} <- ${describeNode(parent, parents)}`;
}

/** Share of samples by function, greatest first: [[name, share]]. */
export function topFunctions(profile) {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node])));
  const counts = new Map();
  for (const id of profile.samples) {
    const name = describeNode(nodes.get(id), parents);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.slice(0, TOP).map(([name, count]) => [name, count / profile.samples.length]);
}

/** Runs `work` under the profiler. Gives {result, profile}: what `work` gives, and a profile in Chrome's format. */
export async function cpuProfileOf(inspectorPort, work) {
  const inspector = await connectInspector(inspectorPort);
  await inspector.send("Profiler.enable");
  await inspector.send("Profiler.setSamplingInterval", { interval: SAMPLING_INTERVAL_US });
  await inspector.send("Profiler.start");
  const result = await work();
  const { profile } = await inspector.send("Profiler.stop");
  inspector.close();
  return { result, profile };
}

/** Runs `work` under the profiler and writes `<directory>/<name>.cpuprofile`. Gives what `work` gives. */
export async function profiled({ inspectorPort, directory, name, note }, work) {
  const { result, profile } = await cpuProfileOf(inspectorPort, work);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.cpuprofile`), JSON.stringify(profile));
  for (const [what, share] of topFunctions(profile)) note(`    ${(share * 100).toFixed(1).padStart(5)} %  ${what}`);
  return result;
}
