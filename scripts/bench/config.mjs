// The config benchmark: one keyspace of one instance against Debian's etcd, on the same machine, in turns, in one run.
// Guarantees: etcd is measured before and after every item and the mean is its baseline; an item with failed requests is not ok.
// Exit: 0 = all targets reached, 1 = some not, failed, or etcd is not installed.

import { availableParallelism, cpus } from "node:os";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { freePort, startServer } from "../lib/server-process.mjs";
import { measureSizes, SIZES } from "./config-size.mjs";
import { measureSpecLoad } from "./config-spec.mjs";
import { profiled, startInspectedServer } from "./lib/cpu-profile.mjs";
import { etcdPreload } from "./lib/etcd-load.mjs";
import { startEtcd } from "./lib/etcd-server.mjs";
import { JSON_ITEMS, measureJson, measureJsonPeer } from "./lib/json-faces.mjs";
import { seededRandom, valueText } from "./lib/keys.mjs";
import { settle, startLoader } from "./lib/loader.mjs";
import { printTable, round } from "./lib/report.mjs";
import { hasWrk } from "./lib/wrk.mjs";

const VALUE_BYTES = 500;
/** Rows of config-spec.mjs. */
const SPEC_LOAD = "spec-load";
const LIVE_KEYS = 20_000;
const WARMUP_SECONDS = 1;
const note = (text) => console.error(text);

/** `metric` "p50": ratio = our median to etcd's, which must not be above the target. */
const ITEMS = [
  { id: "put-64", title: "put, 1 session / 1 client, 64 in flight", op: "config-put", inFlight: 64, target: 1.5 },
  { id: "get-64", title: "linearizable get, 64 in flight", op: "config-get", inFlight: 64, target: 2 },
  { id: "put-1", title: "put, one in sequence: p50", op: "config-put", inFlight: 1, target: 1.5, metric: "p50" },
  { id: "get-1", title: "get, one in sequence: p50", op: "config-get", inFlight: 1, target: 1.5, metric: "p50" },
  { id: "put-64x8", title: "put, 64 sessions x 8", op: "config-put", connections: 64, inFlight: 8, target: null },
  { id: "get-64x8", title: "get, 64 sessions x 8", op: "config-get", connections: 64, inFlight: 8, target: null },
  {
    id: "grpc-put-64",
    title: "gRPC: put through etcd3, 64 in flight",
    op: "config-put",
    inFlight: 64,
    target: null,
    isGrpc: true,
  },
  {
    id: "grpc-get-64",
    title: "gRPC: get through etcd3, 64 in flight",
    op: "config-get",
    inFlight: 64,
    target: null,
    isGrpc: true,
  },
  ...JSON_ITEMS,
];
/** specs/2: a second. */
const ABSOLUTES = [
  { id: "spec-writes", versus: "put-64x8", title: "spec: more than 10 000 writes a second", target: 10_000 },
  {
    id: "spec-reads",
    versus: "get-64x8",
    title: "spec: 100 000 reads a second, over followers; one owner",
    target: 100_000,
  },
];

function phaseOf(bench, { op, connections = 1, inFlight }) {
  const { seconds } = bench.options;
  const seed = ++bench.seed;
  const keys = { putKeys: "overwrite", oldCount: 0, liveCount: LIVE_KEYS, newCount: 0, seed, run: seed };
  const warmupSeconds = Math.min(WARMUP_SECONDS, seconds);
  return { op, connections, inFlight, keys, valueBytes: VALUE_BYTES, seconds, warmupSeconds };
}

async function measurePeer(bench, item) {
  if (!bench.etcd) return undefined;
  if (item.kind === "json") return measureJsonPeer({ ...bench, note }, item);
  await settle(bench.etcd.groupId);
  const phase = { ...phaseOf(bench, item), transport: "etcd", port: bench.etcd.port, connections: 1 };
  const result = await bench.loader.phase({ ...phase, seconds: Math.max(1, phase.seconds / 2) }, bench.etcd.groupId);
  if (result.errors > 0) throw new Error(`etcd failed: ${result.firstError}`);
  note(
    `  etcd ${round(result.perSecond)}/s, p50 ${result.p50Ms.toFixed(2)} ms, ${result.serverCpu.toFixed(2)} cores, client ${result.clientCpu.toFixed(2)}`,
  );
  return result;
}

async function measureItem(bench, item) {
  const { port, groupId, inspectorPort } = bench.server;
  await settle(groupId);
  const way = item.isGrpc
    ? { transport: "etcd", port: bench.grpcPort, connections: 1 }
    : { transport: "session", port };
  const phase = { ...phaseOf(bench, item), ...way, apiKey: bench.apiKey };
  const { cpuProfile: directory } = bench.options;
  const isJson = item.kind === "json";
  const run = () => (isJson ? measureJson({ ...bench, note }, item) : bench.loader.phase(phase, groupId));
  const result = directory ? await profiled({ inspectorPort, directory, name: item.id, note }, run) : await run();
  if (isJson) return result;
  note(
    `${item.id} ${round(result.perSecond)}/s, p50 ${result.p50Ms.toFixed(2)} ms, server ${result.serverCpu.toFixed(2)} cores, client ${result.clientCpu.toFixed(2)}`,
  );
  if (result.errors > 0) note(`  ${result.errors} failed; first: ${result.firstError}`);
  return result;
}

function row(item, measured, peers) {
  const { perSecond, p50Ms, p99Ms, errors, serverCpu, microsecondsEach } = measured;
  const isTime = item.metric === "p50";
  const mean = (field) => peers.reduce((sum, peer) => sum + peer[field], 0) / peers.length;
  const value = isTime ? p50Ms : perSecond;
  const baseline = peers.length === 0 ? Number.NaN : mean(isTime ? "p50Ms" : "perSecond");
  const ratio = value / baseline;
  const isReached = item.target === null || (isTime ? ratio <= item.target : ratio >= item.target);
  const unit = isTime ? "ms" : "operations/s";
  return {
    id: item.id,
    title: item.title,
    value,
    unit,
    baseline,
    ratio,
    target: item.target,
    ok: errors === 0 && isReached,
    p50Ms,
    p99Ms,
    errors,
    serverCpu,
    // Says more than the rate on a machine that has other things to do.
    ...(microsecondsEach ? { serverMicroseconds: microsecondsEach, peerMicroseconds: mean("microsecondsEach") } : {}),
  };
}

async function measureAll(bench, items) {
  const rows = [];
  for (const item of items) {
    const before = await measurePeer(bench, item);
    const measured = await measureItem(bench, item);
    const after = await measurePeer(bench, item);
    rows.push(row(item, measured, [before, after].filter(Boolean)));
  }
  for (const { id, versus, title, target } of ABSOLUTES) {
    const ours = rows.find((candidate) => candidate.id === versus);
    if (!ours) continue;
    const ratio = ours.value / target;
    rows.push({ ...ours, id, title, baseline: target, ratio, target: 1, ok: ours.errors === 0 && ratio >= 1 });
  }
  return rows;
}

/** `--only size`, `--only size-100k`: how it bears its size; no peer. */
async function runSizes(options) {
  await buildAll({ quiet: true });
  note(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}; ${VALUE_BYTES}-byte values`);
  const rows = await measureSizes(options);
  if (options.json) console.log(JSON.stringify({ suite: "config", results: rows.map(({ title, ...row }) => row) }));
  return rows.every(({ ok }) => ok) ? 0 : 1;
}

export async function run(options) {
  if (options.only?.some((id) => id === "size" || SIZES.some((size) => size.id === id))) return runSizes(options);
  const wanted = ITEMS.filter(
    ({ id, kind }) => !options.only || options.only.some((only) => only === id || only === kind),
  );
  // A profiled server has no supervisor, and so no gRPC front.
  const items = wanted.filter(({ kind, isGrpc }) => (kind !== "json" || hasWrk()) && !(isGrpc && options.cpuProfile));
  if (!hasWrk() && wanted.some(({ kind }) => kind === "json"))
    note("wrk: not installed (apt-get install wrk); the JSON faces are left out");
  const hasSpecLoad = !options.only || options.only.includes(SPEC_LOAD);
  if (items.length === 0 && !hasSpecLoad) {
    console.error(
      `--only knows: ${["json", ...[...ITEMS, ...SIZES].map(({ id }) => id), "size", SPEC_LOAD].join(", ")}`,
    );
    return 2;
  }
  await buildAll({ quiet: true });
  note(
    `${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}; ${VALUE_BYTES}-byte values, ${LIVE_KEYS} keys`,
  );
  const etcd = await startEtcd();
  if (etcd) note(`etcd ${etcd.version}, through the npm package etcd3`);
  else note("etcd: not installed (apt-get install etcd-server, or set JADE_BENCH_ETCD); nothing to compare with");
  const grpcPort = await freePort();
  const args = ["--grpc-port", String(grpcPort)];
  const server = await (options.cpuProfile ? startInspectedServer : startServer)({
    args,
    env: { JADE_LOG_LEVEL: "warn" },
  });
  const loader = startLoader();
  const bench = { options, server, etcd, loader, grpcPort, seed: 0, apiKey: "" };
  try {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    bench.apiKey = (await admin.tenants.create({ tenantId: "bench-config" })).apiKey;
    admin.close();
    const preload = { prefix: "live-", count: LIVE_KEYS, valueBytes: VALUE_BYTES };
    const { errors, firstError } = await loader.preload({
      ...preload,
      port: server.port,
      apiKey: bench.apiKey,
      op: "config-put",
    });
    if (errors > 0) throw new Error(`preloading failed ${errors} times, first: ${firstError}`);
    const value = valueText(VALUE_BYTES, seededRandom(7));
    if (etcd) await etcdPreload({ ...preload, port: etcd.port, value });
    // The front's callers without credentials are another tenant.
    if (items.some(({ isGrpc }) => isGrpc)) await etcdPreload({ ...preload, port: grpcPort, value });
    const rows = await measureAll(bench, items);
    if (hasSpecLoad) rows.push(...(await measureSpecLoad(options.seconds, note)));
    printTable(rows);
    if (options.json) {
      const results = rows.map(({ title, serverCpu, ...result }) => result);
      console.log(JSON.stringify({ suite: "config", results }));
    }
    return etcd && rows.every((result) => result.ok) ? 0 : 1;
  } finally {
    loader.dispose();
    await Promise.all([server.dispose(), etcd?.dispose()]);
  }
}
