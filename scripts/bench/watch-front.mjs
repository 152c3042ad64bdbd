// Crowds of connections through the watch front: each with one watch of one key. What a connection costs, in time and in memory.

import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { JadeClient } from "../../src/client/index.ts";
import { WATCH_BOUNDS } from "../../src/config/watch-budget.ts";
import { WatchHub } from "../../src/config/watch-hub.ts";
import { FRAMES } from "../../src/server/watch/frames.ts";
import { freePort, processesNamed, startServer, treeCpuMs, treeMemoryBytes } from "../lib/server-process.mjs";
import { note, orLost, PAUSE_MS, quantile, rowOf, startWatchers, startWriter, TARGET_MS } from "./lib/watchers.mjs";

/** specs/2: state of a watch, and with its connection. Bytes. */
const STATE_BYTES = 5 * 1024;
const CONNECTION_BYTES = 15 * 1024;
const FRONT = "watch-front";

/** `ports`: the crowds take them in turns. */
async function startCrowds({ ports, apiKey, connections, clients }) {
  const crowds = Array.from({ length: clients }, () => startWatchers("crowd-load.mjs"));
  const each = connections / clients;
  const opened = crowds.map((crowd, at) =>
    crowd.ask({ open: { port: ports[at % ports.length], apiKey, connections: each, network: 1 + at } }),
  );
  await Promise.all(opened);
  return {
    take: async () => {
      const parts = await Promise.all(crowds.map((crowd) => crowd.ask({ take: { deliveries: each } })));
      const count = parts.reduce((sum, part) => sum + part.count, 0);
      if (count !== connections) throw new Error(`${count} deliveries instead of ${connections}`);
      return {
        latenciesMs: parts.flatMap((part) => part.latenciesMs),
        lastMs: Math.max(...parts.map((p) => p.lastMs)),
      };
    },
    dispose: () => {
      for (const crowd of crowds) crowd.dispose();
    },
  };
}

async function measureCrowd(item, seconds) {
  const rows = await measureServed(item, seconds);
  const bare = await measureBare(item, seconds);
  note(`${item.id}: ${(rows[0].value / bare.value).toFixed(2)} times what bare sockets take on this machine`);
  return [...rows, bare];
}

async function measureServed(item, seconds) {
  const port = await freePort();
  const args = ["--watch-port", String(port), "--watch-fronts", String(item.fronts)];
  const server = await startServer({ args, env: { JADE_LOG_LEVEL: "warn" } });
  let crowds;
  let writer;
  try {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "bench-front" });
    admin.close();
    writer = await startWriter({ port: server.port, apiKey });
    const before = { fronts: processesNamed(server.groupId, FRONT), tree: treeMemoryBytes(server.groupId) };
    const beganMs = performance.now();
    crowds = await startCrowds({ ...item, ports: [port], apiKey });
    note(`${item.id}: ${item.connections} connections after ${Math.round(performance.now() - beganMs)} ms`);
    await sleep(3000);
    return await measureChanges({ server, writer, crowds, before }, item, seconds);
  } finally {
    writer?.close();
    crowds?.dispose();
    await server.dispose();
  }
}

const roundsOf = (seconds) => Math.max(8, Math.round(seconds * 2));

/** `tell` makes a change and says how long that took; resolves to how long the changes were on their way to the crowds. */
async function deliver(crowds, rounds, tell) {
  const [latencies, lasts, writes] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    const taken = crowds.take();
    writes.push(await tell());
    const { latenciesMs, lastMs } = await orLost(taken);
    latencies.push(...latenciesMs);
    lasts.push(lastMs);
    await sleep(PAUSE_MS);
  }
  for (const list of [latencies, lasts, writes]) list.sort((a, b) => a - b);
  const [p50Ms, p99Ms] = [0.5, 0.99].map((share) => quantile(latencies, share));
  return { p50Ms, p99Ms, lastP50Ms: quantile(lasts, 0.5), writeP50Ms: quantile(writes, 0.5) };
}

/** The same crowd at processes that only write to sockets, as many as there are fronts: the machine's own bound. */
async function measureBare({ id, title, connections, fronts, clients, valueBytes }, seconds) {
  const processes = Array.from({ length: fronts }, () => startWatchers("bare-fan-out.mjs"));
  let crowds;
  try {
    const listening = await Promise.all(processes.map((process) => process.ask({ listen: 0 })));
    crowds = await startCrowds({ ports: listening.map(({ port }) => port), apiKey: "none", connections, clients });
    await sleep(3000);
    const spread = await deliver(crowds, roundsOf(seconds), async () => {
      const beganMs = performance.now();
      await Promise.all(processes.map((process) => process.ask({ tell: valueBytes })));
      return performance.now() - beganMs;
    });
    const bare = {
      id: `${id}-bare`,
      title: `${title}: bare sockets instead`,
      target: null,
      value: spread.p99Ms,
      ...spread,
    };
    return { ...rowOf(bare), ok: true };
  } finally {
    crowds?.dispose();
    for (const process of processes) process.dispose();
  }
}

async function measureChanges({ server, writer, crowds, before }, item, seconds) {
  const { connections, valueBytes } = item;
  const idle = processesNamed(server.groupId, FRONT);
  const memoryBytes = (treeMemoryBytes(server.groupId) - before.tree) / connections;
  const cpuMs = treeCpuMs(server.groupId);
  const rounds = roundsOf(seconds);
  const spread = await deliver(crowds, rounds, () => writer.put("hot", valueBytes));
  const serverMs = (treeCpuMs(server.groupId) - cpuMs) / rounds;
  const frontMs = (processesNamed(server.groupId, FRONT).cpuMs - idle.cpuMs) / rounds;
  const costUs = (frontMs * 1000) / connections;
  note(
    `${item.id}: a change costs the fronts ${costUs.toFixed(1)} us a connection, the rest of the server ${(serverMs - frontMs).toFixed(1)} ms; ` +
      `${TARGET_MS} ms for 9 000, 50 000, 100 000 connections: ${[9000, 50_000, 100_000].map((count) => ((count * costUs) / 1000 / TARGET_MS).toFixed(1)).join(", ")} cores for fronts`,
  );
  const crowd = rowOf({ ...item, value: spread.p99Ms, ...spread, serverMs, memoryBytes });
  const title = `${connections} connections: memory of one in the fronts (RSS)`;
  const value = (idle.memoryBytes - before.fronts.memoryBytes) / connections;
  return [crowd, rowOf({ id: `${item.id}-memory`, title, unit: "bytes", value, target: CONNECTION_BYTES })];
}

/** The heap of one connection with one watch, its socket apart. */
function measureState({ id, title, connections }) {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  const none = () => undefined;
  const hub = new WatchHub({
    source: { revision: 1, term: 1, compactedRevision: 2, lastSeq: 0, log: () => [], endedBy: none },
    registry: { added: none, removed: none, ended: none, remember: none },
    now: Date.now,
    bounds: WATCH_BOUNDS,
  });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let at = 1; at <= connections; at++) {
    const connection = hub.connect(at, { send: none, close: none }, FRAMES.binary);
    hub.receive(connection, { kind: "create", key: `config/service-${at}/limits`, rangeEnd: "", startRevision: 0 });
  }
  collect();
  const value = (process.memoryUsage().heapUsed - before) / connections;
  if (hub.watchCount !== connections) throw new Error("some watches were refused");
  return [rowOf({ id, title, unit: "bytes", value, target: STATE_BYTES })];
}

export const FRONT_ITEMS = [
  {
    id: "front-9k",
    title: "9 000 connections through 2 fronts, one key",
    ...{ connections: 9000, fronts: 2, clients: 2, valueBytes: 200, target: TARGET_MS, measure: measureCrowd },
  },
  {
    id: "front-50k",
    title: "50 000 connections through 4 fronts, one key, 1 KB",
    ...{ connections: 50_000, fronts: 4, clients: 4, valueBytes: 1024, target: TARGET_MS, measure: measureCrowd },
  },
  { id: "watch-state", title: "state of a watch of its own key", connections: 50_000, measure: measureState },
];
