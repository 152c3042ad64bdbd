// The key-value benchmark: one instance of its own, the baseline `raw`, Redis when installed; measured in turns, in one run.
// Guarantees: `raw` is measured before and after every item and their mean is its baseline; an item with failed requests is not ok.
// Exit: 0 = all targets reached, 1 = some not or failed.

import { availableParallelism, cpus } from "node:os";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { startServer } from "../lib/server-process.mjs";
import { BATCH_SIZE, HOP_PHASE, ITEMS, RAW_PHASE, REDIS_ITEMS, VALUE_BYTES } from "./kv-items.mjs";
import { profiled, startInspectedServer } from "./lib/cpu-profile.mjs";
import { seededRandom, valueText } from "./lib/keys.mjs";
import { settle, startLoader } from "./lib/loader.mjs";
import { startRawServer } from "./lib/raw-server.mjs";
import { redisPreload } from "./lib/redis-load.mjs";
import { startRedis } from "./lib/redis-server.mjs";
import { printTable, round } from "./lib/report.mjs";

const LIVE_KEYS = 20_000;
const NEW_KEYS = 2_000;
const WARMUP_SECONDS = 1;
const note = (text) => console.error(text);

/** The two tenants with their data: gets need old keys that have left the memtable. */
async function prepare({ server, loader, items, oldCount }) {
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const apiKeys = {};
  for (const [tenantId, replicationFactor] of [
    ["rf3", 3],
    ["rf1", 1],
  ]) {
    if (!items.some((item) => item.tenant === tenantId)) continue;
    const { apiKey } = await admin.tenants.create({ tenantId: `bench-${tenantId}`, replicationFactor });
    apiKeys[tenantId] = apiKey;
    const readsOld = items.some((item) => item.tenant === tenantId && item.op === "get");
    const ranges = readsOld
      ? [
          ["old-", oldCount],
          ["live-", LIVE_KEYS],
        ]
      : [["live-", LIVE_KEYS]];
    for (const [prefix, count] of ranges) {
      const began = performance.now();
      const { errors, firstError } = await loader.preload({
        port: server.port,
        apiKey,
        prefix,
        count,
        valueBytes: VALUE_BYTES,
      });
      if (errors > 0) throw new Error(`preloading failed ${errors} times, first: ${firstError}`);
      note(
        `preloaded ${count} keys ${prefix}* for ${tenantId}: ${Math.round((count / (performance.now() - began)) * 1000)} keys/s`,
      );
    }
  }
  admin.close();
  return apiKeys;
}

function phaseOf(bench, shape, seed) {
  const { seconds, putKeys, oldCount } = bench.options;
  const keys = { putKeys, oldCount, liveCount: LIVE_KEYS, newCount: NEW_KEYS, seed, run: seed };
  return { ...shape, keys, valueBytes: VALUE_BYTES, seconds, warmupSeconds: Math.min(WARMUP_SECONDS, seconds) };
}

async function measureRaw(bench, shape = RAW_PHASE) {
  await settle(bench.server.groupId);
  const phase = phaseOf(bench, shape, ++bench.seed);
  const result = await bench.loader.phase(
    { ...phase, port: bench.raw.port, seconds: Math.max(1, phase.seconds / 2) },
    bench.raw.groupId,
  );
  if (result.errors > 0) throw new Error(`raw failed: ${result.firstError}`);
  note(`  ${shape.transport} ${round(result.perSecond)}/s`);
  return result;
}

async function measureItem(bench, item) {
  const apiKey = bench.apiKeys[item.tenant];
  const { port, groupId } = bench.server;
  if (item.op === "get")
    await bench.loader.preload({ port, apiKey, prefix: "new-", count: NEW_KEYS, valueBytes: VALUE_BYTES });
  const phase = { ...phaseOf(bench, item, ++bench.seed), port, apiKey };
  const { cpuProfile: directory } = bench.options;
  const run = () => bench.loader.phase(phase, groupId);
  const { inspectorPort } = bench.server;
  const result = directory ? await profiled({ inspectorPort, directory, name: item.id, note }, run) : await run();
  note(
    `${item.id} ${round(result.perSecond)}/s, server ${result.serverCpu.toFixed(2)} cores, client ${result.clientCpu.toFixed(2)}`,
  );
  if (result.errors > 0) note(`  ${result.errors} failed; first: ${result.firstError}`);
  return result;
}

function row(item, measured, baseline, target) {
  const ratio = measured.perSecond / baseline;
  const ok = measured.errors === 0 && measured.count > 0 && (target === null || ratio >= target);
  const unit = item.op === "batch" ? "keys/s" : "operations/s";
  const { p50Ms, p99Ms, errors, serverCpu } = measured;
  return {
    id: item.id,
    title: item.title,
    value: measured.perSecond,
    unit,
    baseline,
    ratio,
    target,
    ok,
    p50Ms,
    p99Ms,
    errors,
    serverCpu,
  };
}

async function measureItems(bench, items) {
  const rows = [];
  const raws = [await measureRaw(bench)];
  for (const item of items) {
    const measured = await measureItem(bench, item);
    raws.push(await measureRaw(bench));
    const [before, after] = raws.slice(-2);
    rows.push(row(item, measured, (before.perSecond + after.perSecond) / 2, item.target));
  }
  const mean = (field) => raws.reduce((sum, raw) => sum + raw[field], 0) / raws.length;
  const title = `raw: HTTP 64 connections, one SQL upsert each (mean of ${raws.length})`;
  const all = {
    perSecond: mean("perSecond"),
    p50Ms: mean("p50Ms"),
    p99Ms: mean("p99Ms"),
    errors: 0,
    count: 1,
    serverCpu: mean("serverCpu"),
  };
  const hop = await measureRaw(bench, HOP_PHASE);
  const hopTitle = "bound: HTTP 64 connections, one RPC to an object that does nothing";
  return [
    row({ id: "raw", title, op: "put" }, all, all.perSecond, null),
    row({ id: "hop", title: hopTitle, op: "get" }, { ...hop, count: 1 }, all.perSecond, null),
    ...rows,
  ];
}

/** Redis is only printed: `baseline` is Redis, `ratio` ours to it. */
async function measureRedis(bench, rows) {
  const redis = await startRedis();
  if (!redis) {
    note("redis: skipped, redis-server is not installed (apt-get install redis-server, or set JADE_BENCH_REDIS)");
    return [];
  }
  note(`redis ${redis.version}, appendfsync always`);
  try {
    const { oldCount } = bench.options;
    await redisPreload({
      port: redis.port,
      oldCount,
      liveCount: LIVE_KEYS,
      newCount: NEW_KEYS,
      value: valueText(VALUE_BYTES, seededRandom(7)),
    });
    const result = [];
    for (const item of REDIS_ITEMS) {
      const ours = rows.find((candidate) => candidate.id === item.versus);
      if (!ours) continue;
      await settle(bench.server.groupId);
      const phase = phaseOf(bench, { ...item, transport: "redis" }, ++bench.seed);
      const measured = await bench.loader.phase({ ...phase, port: redis.port }, redis.groupId);
      note(
        `${item.id} ${round(measured.perSecond)}/s, server ${measured.serverCpu.toFixed(2)} cores, client ${measured.clientCpu.toFixed(2)}`,
      );
      const compared = row({ ...item, title: `${item.versus} to ${item.title}` }, measured, measured.perSecond, null);
      result.push({ ...compared, value: ours.value, ratio: ours.value / measured.perSecond });
    }
    return result;
  } finally {
    await redis.dispose();
  }
}

export async function run(options) {
  const isWanted = (item, id) => (ITEMS.some((each) => each.id === id) ? item.id === id : item.id.startsWith(id));
  const items = ITEMS.filter((item) => !options.only || options.only.some((id) => isWanted(item, id)));
  if (items.length === 0) {
    console.error(`--only knows: ${ITEMS.map((item) => item.id).join(", ")}`);
    return 2;
  }
  await buildAll({ quiet: true });
  note(
    `${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}; ${VALUE_BYTES}-byte values, batches of ${BATCH_SIZE}`,
  );
  note(
    "load: one process, bare sockets (HTTP/1.1 keep-alive without pipelining; session frames), but for items sdk-* and redis-*",
  );
  const start = options.cpuProfile ? startInspectedServer : startServer;
  const server = await start({ env: { JADE_LOG_LEVEL: "warn" } });
  const raw = await startRawServer({ preload: LIVE_KEYS, valueBytes: VALUE_BYTES });
  const loader = startLoader();
  const bench = { options, server, raw, loader, seed: 0, apiKeys: {} };
  try {
    bench.apiKeys = await prepare({ server, loader, items, oldCount: options.oldCount });
    const rows = await measureItems(bench, items);
    const redisRows = options.only ? [] : await measureRedis(bench, rows);
    const all = [...rows, ...redisRows];
    printTable(all);
    if (options.json) {
      const results = all.map(({ title, serverCpu, ...result }) => result);
      console.log(JSON.stringify({ suite: "kv", results }));
    }
    return all.every((result) => result.ok) ? 0 : 1;
  } finally {
    loader.dispose();
    await Promise.all([server.dispose(), raw.dispose()]);
  }
}
