// Where the microseconds of one put and one get go: a CPU profile under load, split by the module that each sample is in.
// A native function (SQL, RPC, digest) counts for the module that called it. What the profiler does not see of the process's CPU
// time (HTTP and WebSocket parsing, RPC transport, SQLite's commit and fsync, GC threads) is the last line.
// Options: --seconds N of each profile, --json.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import Table from "cli-table3";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { root } from "../lib/root.mjs";
import { cpuProfileOf, startInspectedServer } from "./lib/cpu-profile.mjs";
import { startLoader } from "./lib/loader.mjs";

const VALUE_BYTES = 500;
const LIVE_KEYS = 20_000;
const BUNDLE = join(root, "dist/worker/worker.js");

/** First match wins: function name (of a native: of its caller) and module path. */
const STAGES = [
  ["gateway to coordinator", /./, /coordinator-call|objects\/mailbox/],
  ["RPC: coordinator to replicas", /^(#callReplica|send|\(anonymous\))$/, /objects\/(coordinator|handover)/],
  ["auth", /./, /gateway\/(authenticator|access|cached|token|rate)|src\/access\//],
  ["parse and validate", /./, /gateway\/(body|query|issues|schemas|write-identity)|node_modules\/zod|wire\/raw-json/],
  ["build the answer", /./, /gateway\/answers/],
  ["route, count, log", /./, /src\/gateway\/|src\/telemetry\/|node_modules\/|src\/worker/],
  ["session frames", /./, /objects\/session|wire\/session|wire\/answer-window/],
  ["coordinator", /./, /objects\/coordinator|replication\/(quorum|write-call|read-call|link|routes)|src\/cluster\//],
  ["log: write the row (SQL)", /./, /storage\/(commit-log|drain)/],
  [
    "flush and compaction",
    /./,
    /storage\/(flush-job|merge-job|maintenance|table-builder|table-writer|block-stream|compaction|bucket-order|manifest)/,
  ],
  ["memtable, caches, tables", /./, /src\/storage\//],
  ["replica: stamp, merge, frames", /./, /src\/(kv|replication|wire)\/|objects\/key-value-replica/],
];
const ITEMS = [
  { id: "put, HTTP", transport: "http", op: "put", connections: 64, inFlight: 1 },
  { id: "get, HTTP", transport: "http", op: "get", connections: 64, inFlight: 1 },
  { id: "put, 64 sessions x 8", transport: "session", op: "put", connections: 64, inFlight: 8 },
  { id: "get, 64 sessions x 8", transport: "session", op: "get", connections: 64, inFlight: 8 },
];
const REST = "workerd: HTTP, sockets, RPC, commit, GC threads";

/** Gives a function line → module path, from the comments that the bundler leaves. */
function moduleByLine(bundle) {
  const starts = [];
  for (const [index, line] of readFileSync(bundle, "utf8").split("\n").entries()) {
    const path = /^\/\/ ((?:src|objects|node_modules|migrations|dist)\/\S+)$/.exec(line)?.[1];
    if (path) starts.push([index, path]);
  }
  if (starts.length < 50) throw new Error(`${bundle} does not say which module is where`);
  return (line) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle][0] <= line) low = middle;
      else high = middle;
    }
    return starts[low][1];
  };
}

function stageOf({ functionName, module }) {
  return STAGES.find(([, names, modules]) => names.test(functionName || "(anonymous)") && modules.test(module))?.[0];
}

/** Microseconds of samples by stage. */
function splitByStage(profile, moduleAt) {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node])));
  const stages = new Map();
  for (const [index, id] of profile.samples.entries()) {
    let node = nodes.get(id);
    const name = node.callFrame.functionName;
    if (name === "(idle)" || name === "(program)") continue;
    while (node && !node.callFrame.url.endsWith("worker.js")) node = parents.get(node.id);
    const frame = node?.callFrame;
    const stage =
      name === "(garbage collector)"
        ? "garbage collection"
        : frame && stageOf({ functionName: frame.functionName, module: moduleAt(frame.lineNumber) });
    if (stage) stages.set(stage, (stages.get(stage) ?? 0) + profile.timeDeltas[index]);
  }
  return stages;
}

export async function run(options) {
  await buildAll({ quiet: true });
  const moduleAt = moduleByLine(BUNDLE);
  const server = await startInspectedServer({ env: { JADE_LOG_LEVEL: "warn" } });
  const loader = startLoader();
  try {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "stages", replicationFactor: 3 });
    admin.close();
    for (const prefix of ["live-", "old-", "new-"]) {
      const rows = { port: server.port, apiKey, prefix, count: LIVE_KEYS, valueBytes: VALUE_BYTES };
      const { errors, firstError } = await loader.preload(rows);
      if (errors > 0) throw new Error(firstError);
    }
    const keys = { oldCount: LIVE_KEYS, liveCount: LIVE_KEYS, newCount: LIVE_KEYS, seed: 1, run: 1, putKeys: "mixed" };
    const columns = [];
    for (const item of ITEMS) {
      const phase = { ...item, keys, valueBytes: VALUE_BYTES, port: server.port, apiKey, warmupSeconds: 0 };
      await loader.phase({ ...phase, seconds: 2 }, server.groupId);
      const { result, profile } = await cpuProfileOf(server.inspectorPort, () =>
        loader.phase({ ...phase, seconds: options.seconds }, server.groupId),
      );
      const stages = splitByStage(profile, moduleAt);
      const perOperation = [...stages].map(([stage, us]) => [stage, us / result.count]);
      const totalUs = (result.serverCpu / result.perSecond) * 1e6;
      const seenUs = perOperation.reduce((sum, [, us]) => sum + us, 0);
      const all = new Map([...perOperation, [REST, Math.max(0, totalUs - seenUs)]]);
      columns.push({ id: item.id, perSecond: result.perSecond, totalUs, stages: Object.fromEntries(all) });
      console.error(`${item.id}: ${Math.round(result.perSecond)}/s, ${totalUs.toFixed(1)} µs of CPU each`);
    }
    const names = [...STAGES.map(([name]) => name), "garbage collection", REST];
    const table = new Table({
      head: ["µs of CPU an operation", ...columns.map(({ id }) => id)],
      style: { head: [], border: [], compact: true },
    });
    for (const name of names) table.push([name, ...columns.map(({ stages }) => (stages[name] ?? 0).toFixed(1))]);
    table.push(["sum", ...columns.map(({ totalUs }) => totalUs.toFixed(1))]);
    console.log(table.toString());
    if (options.json) console.log(JSON.stringify({ suite: "stages", results: columns }));
    return 0;
  } finally {
    loader.dispose();
    await server.dispose();
  }
}
