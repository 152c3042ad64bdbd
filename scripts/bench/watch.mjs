// The watch benchmark: from a write to its arrival at every watch, through one instance.
// Guarantees: the time of each delivery runs from before the write was sent, so it holds the commit too; every delivery is waited for,
// one that is missing fails the run. Exit: 0 = all targets reached.

import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import Table from "cli-table3";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { startServer, treeCpuMs, treeMemoryBytes } from "../lib/server-process.mjs";
import { note, orLost, PAUSE_MS, quantile, rowOf, startWatchers, startWriter, TARGET_MS } from "./lib/watchers.mjs";
import { FOLLOWER_ITEMS } from "./watch-follower.mjs";
import { FRONT_ITEMS } from "./watch-front.mjs";

const ITEMS = [
  { id: "watch-1k", title: "1 000 connections, one key", connections: 1000, target: TARGET_MS },
  { id: "watch-9k", title: "9 000 connections, one key", connections: 9000, target: TARGET_MS },
  {
    id: "watch-50k-keys",
    title: "50 connections x 1 000 watches, 50 000 keys",
    ...{ connections: 50, watchesEach: 1000, keyOf: "own", target: TARGET_MS },
  },
  {
    id: "watch-50k-storm",
    title: "50 connections x 1 000 watches, one key, 1 KB",
    ...{ connections: 50, watchesEach: 1000, valueBytes: 1024, target: TARGET_MS },
  },
  ...FRONT_ITEMS,
  ...FOLLOWER_ITEMS,
];

/** Each item has a server of its own: memory that another left would hide what it costs. */
async function measureAlone(item, seconds) {
  const server = await startServer({ env: { JADE_LOG_LEVEL: "warn" } });
  try {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "bench-watch" });
    admin.close();
    return await measure({ server, apiKey, seconds }, item);
  } finally {
    await server.dispose();
  }
}

async function measure({ server, apiKey, seconds }, item) {
  const { connections, watchesEach = 1, keyOf = "one", valueBytes = 200 } = item;
  const watchers = startWatchers("watch-load.mjs");
  const writer = await startWriter({ port: server.port, apiKey });
  try {
    const before = treeMemoryBytes(server.groupId);
    const openedMs = performance.now();
    await watchers.ask({ open: { port: server.port, apiKey, connections, watchesEach, keyOf } });
    note(`${item.id}: ${connections * watchesEach} watches after ${Math.round(performance.now() - openedMs)} ms`);
    await sleep(1000);
    const memoryBytes = (treeMemoryBytes(server.groupId) - before) / (connections * watchesEach);
    const latencies = [];
    const lasts = [];
    const writes = [];
    const cpuMs = treeCpuMs(server.groupId);
    const rounds = Math.max(5, Math.round((seconds * 1000) / PAUSE_MS / 2));
    const deliveries = keyOf === "own" ? 1 : connections * watchesEach;
    for (let round = 0; round < rounds; round++) {
      const key = keyOf === "own" ? `k/${Math.floor(Math.random() * connections * watchesEach)}` : "hot";
      const taken = watchers.ask({ take: { deliveries } });
      writes.push(await writer.put(key, valueBytes));
      const { latenciesMs } = await orLost(taken);
      if (latenciesMs.length !== deliveries)
        throw new Error(`${latenciesMs.length} deliveries instead of ${deliveries}`);
      latencies.push(...latenciesMs.slice(0, 20_000));
      lasts.push(latenciesMs.reduce((most, ms) => Math.max(most, ms), 0));
      await sleep(PAUSE_MS);
    }
    const serverMs = (treeCpuMs(server.groupId) - cpuMs) / rounds;
    await watchers.ask({ close: true });
    for (const list of [latencies, lasts, writes]) list.sort((a, b) => a - b);
    const p99Ms = quantile(latencies, 0.99);
    const spread = { p50Ms: quantile(latencies, 0.5), p99Ms, lastP50Ms: quantile(lasts, 0.5) };
    return [rowOf({ ...item, value: p99Ms, ...spread, writeP50Ms: quantile(writes, 0.5), serverMs, memoryBytes })];
  } finally {
    writer.close();
    watchers.dispose();
    await sleep(1500);
  }
}

function print(rows) {
  const head = [
    "id",
    "what",
    "p50 ms",
    "p99 ms",
    "value",
    "target",
    "ok",
    "last p50 ms",
    "write p50 ms",
    "CPU ms a write",
  ];
  const table = new Table({ head: [...head, "bytes a watch"], style: { head: [], border: [], compact: true } });
  const shown = (value, digits = 1) => (value === undefined ? "" : value.toFixed(digits));
  for (const row of rows) {
    const isReached = row.ok ? "ok" : "MISSED";
    const target = row.target === null ? "" : `${row.target} ${row.unit}`;
    table.push([
      ...[row.id, row.title, shown(row.p50Ms), shown(row.p99Ms), `${shown(row.value)} ${row.unit}`, target],
      ...[row.target === null ? "" : isReached, shown(row.lastP50Ms), shown(row.writeP50Ms), shown(row.serverMs)],
      shown(row.memoryBytes, 0),
    ]);
  }
  console.log(table.toString());
}

export async function run(options) {
  const items = ITEMS.filter((item) => !options.only || options.only.includes(item.id));
  if (items.length === 0) {
    console.error(`--only knows: ${ITEMS.map((item) => item.id).join(", ")}`);
    return 2;
  }
  await buildAll({ quiet: true });
  note(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}`);
  const rows = [];
  for (const item of items) rows.push(...(await (item.measure ?? measureAlone)(item, options.seconds)));
  print(rows);
  if (options.json)
    console.log(
      JSON.stringify({
        suite: "watch",
        results: rows.map(({ title, connections, watchesEach, keyOf, valueBytes, ...row }) => row),
      }),
    );
  return rows.every(({ ok }) => ok) ? 0 : 1;
}
