// The watch benchmark: from a write to its arrival at every watch, through one instance.
// Guarantees: the time of each delivery runs from before the write was sent, so it holds the commit too; every delivery is waited for,
// one that is missing fails the run. Exit: 0 = all targets reached.

import { fork } from "node:child_process";
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Table from "cli-table3";
import { JadeClient } from "../../src/client/index.ts";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.ts";
import { readConfigAnswer } from "../../src/wire/config-answers.ts";
import { writeConfigCallBody } from "../../src/wire/config-requests.ts";
import { readAnswers, writeRequest } from "../../src/wire/session.ts";
import { buildAll } from "../build.mjs";
import { startServer, treeCpuMs, treeMemoryBytes } from "../lib/server-process.mjs";
import { openSession } from "./lib/session-load.mjs";

/** The spec's: from commit to the last client. Ms. */
const TARGET_MS = 100;
/** Between two writes: far enough apart that each finds the server idle. Ms. */
const PAUSE_MS = 250;
const LOST_AFTER_MS = 30_000;
const note = (text) => console.error(text);

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
];

function startWatchers() {
  const child = fork(fileURLToPath(new URL("lib/watch-load.mjs", import.meta.url)), { stdio: "inherit" });
  const waiting = new Map();
  let lastId = 0;
  child.on("message", ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  });
  return {
    ask: (message) =>
      new Promise((resolve, reject) => {
        waiting.set(++lastId, { resolve, reject });
        child.send({ id: lastId, ...message });
      }),
    dispose: () => child.kill(),
  };
}

/** Writes one key after the other over a session. */
async function startWriter({ port, apiKey }) {
  const session = await openSession({ port, apiKey });
  let answered;
  session.onMessage = (payload) => {
    for (const answer of readAnswers(payload)) answered(answer);
  };
  return {
    async put(key, valueBytes) {
      const beganMs = performance.timeOrigin + performance.now();
      const value = new TextEncoder().encode(`${beganMs.toFixed(3)} `.padEnd(valueBytes, "x"));
      const body = new ByteWriter();
      writeConfigCallBody(body, { request: { kind: "put", key, value } });
      const writer = new ByteWriter();
      writeRequest(writer, { id: 1, op: "config", key: "default", value: body.view() });
      const answer = await new Promise((resolve) => {
        answered = resolve;
        session.send(writer.take());
      });
      if (answer.kind !== "config" || readConfigAnswer(new ByteReader(answer.body)).kind !== "put")
        throw new Error(`a write failed: ${JSON.stringify(answer)}`);
      return performance.timeOrigin + performance.now() - beganMs;
    },
    close: session.close,
  };
}

const quantile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

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
  const watchers = startWatchers();
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
      const lost = sleep(LOST_AFTER_MS).then(() => Promise.reject(new Error("a delivery is missing")));
      const { latenciesMs } = await Promise.race([taken, lost]);
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
    return {
      ...{ id: item.id, title: item.title, unit: "ms", target: item.target, value: p99Ms, ok: p99Ms < item.target },
      ...{ baseline: item.target, ratio: p99Ms / item.target, p50Ms: quantile(latencies, 0.5), p99Ms },
      ...{ lastP50Ms: quantile(lasts, 0.5), writeP50Ms: quantile(writes, 0.5), serverMs, memoryBytes },
    };
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
    "target",
    "ok",
    "last p50 ms",
    "write p50 ms",
    "CPU ms a write",
    "bytes a watch",
  ];
  const table = new Table({ head, style: { head: [], border: [], compact: true } });
  for (const row of rows) {
    table.push([
      ...[row.id, row.title, row.p50Ms.toFixed(1), row.p99Ms.toFixed(1), `${row.target} ms`, row.ok ? "ok" : "MISSED"],
      ...[row.lastP50Ms.toFixed(1), row.writeP50Ms.toFixed(1), row.serverMs.toFixed(1), Math.round(row.memoryBytes)],
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
  for (const item of items) rows.push(await measureAlone(item, options.seconds));
  print(rows);
  if (options.json) console.log(JSON.stringify({ suite: "watch", results: rows.map(({ title, ...row }) => row) }));
  return rows.every(({ ok }) => ok) ? 0 : 1;
}
