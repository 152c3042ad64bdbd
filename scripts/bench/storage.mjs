// One storage node with many small rows: memory, space, write amplification, cold wake, and reads while it compacts.
// Twice: with the default memory, and with a memory budget of less than a tenth of the data.
// Options: --count N rows (1 000 000), --seconds N of each timed phase.

import { readdirSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { metricsOf, sumOf } from "../lib/metrics.mjs";
import { startServer, treeMemoryBytes } from "../lib/server-process.mjs";
import { settle, startLoader } from "./lib/loader.mjs";

const VALUE_BYTES = 100;
/** Of `old-123456` and the like, on average. */
const KEY_BYTES = 10;
const MIB = 1024 * 1024;
const COLD_WAKE_LIMIT_MS = 2000;
const P99_RATIO_LIMIT = 3;
const SPACE_RATIO_LIMIT = 1.3;
const note = (text) => console.error(text);

const SIZES = [
  { id: "default", title: "default memory", memtableMiB: 32, blockCacheMiB: 128, rowCacheMiB: 16 },
  { id: "tight", title: "a tenth of the data in memory", memtableMiB: 4, blockCacheMiB: 4, rowCacheMiB: 1 },
];

const budgetMiB = ({ memtableMiB, blockCacheMiB, rowCacheMiB }) => 3 * memtableMiB + blockCacheMiB + rowCacheMiB;

function diskBytes(directory) {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size;
  return bytes;
}

/** Gets over one session, few at a time: what they wait for is the storage node. */
function getPhase({ port, apiKey, count, seconds, seed }) {
  const keys = { oldCount: count, liveCount: 1, newCount: count, seed, run: seed, putKeys: "mixed" };
  const phase = { transport: "session", op: "get", connections: 1, inFlight: 4, keys, valueBytes: VALUE_BYTES };
  return { ...phase, port, apiKey, seconds, warmupSeconds: Math.min(1, seconds) };
}

/** A server with one storage node and the memory of `size`, in a directory of its own. */
async function startNode({ memtableMiB, blockCacheMiB, rowCacheMiB }) {
  const dataDir = await mkdtemp(join(tmpdir(), "jade-storage-"));
  const config = `${dataDir}.yaml`;
  await writeFile(config, JSON.stringify({ storage: { zones: 1, nodes: 1, memtableMiB, blockCacheMiB, rowCacheMiB } }));
  const options = { dataDir, args: ["--config", config], env: { JADE_LOG_LEVEL: "warn" } };
  let server = await startServer(options);
  return {
    dataDir,
    server: () => server,
    async restart() {
      await server.stop();
      server = await startServer({ ...options, port: server.port, rootKey: server.rootKey });
    },
    async dispose() {
      await server.dispose();
      for (const path of [dataDir, config, `${dataDir}.log`]) await rm(path, { recursive: true, force: true });
    },
  };
}

async function createTenant(server) {
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "bench", replicationFactor: 1 });
  admin.close();
  return apiKey;
}

/** Half of the keys are the range that is read as `old-*`, half as `new-*`. Gives the seconds it took. */
async function load({ loader, server, apiKey, count }) {
  const beganMs = performance.now();
  for (const prefix of ["old-", "new-"]) {
    const rows = { port: server.port, apiKey, prefix, count: count / 2, valueBytes: VALUE_BYTES };
    const { errors, firstError } = await loader.preload(rows);
    if (errors > 0) throw new Error(`${errors} puts failed, first: ${firstError}`);
  }
  return (performance.now() - beganMs) / 1000;
}

/** Gets alone, then beside a client that writes at full speed, then while the storage node works off what that left behind. */
async function measureGets({ loader, server, apiKey, count, seconds }) {
  const gets = (seed) => loader.phase(getPhase({ ...server, apiKey, count: count / 2, seconds, seed }), server.groupId);
  await settle(server.groupId);
  const idle = await gets(1);
  const before = sumOf(await metricsOf(server.url), "jade_storage_compactions_total");
  const writer = startLoader();
  const keys = { oldCount: 1, liveCount: 1, newCount: 1, seed: 5, run: 5, putKeys: "fresh" };
  const puts = { transport: "session", op: "put", connections: 4, inFlight: 32, keys, valueBytes: VALUE_BYTES };
  const writing = writer.phase(
    { ...puts, port: server.port, apiKey, seconds: seconds * 2, warmupSeconds: 0 },
    server.groupId,
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  const whileWriting = await gets(2);
  const { count: written } = await writing;
  writer.dispose();
  const compacting = await gets(3);
  const compactions = sumOf(await metricsOf(server.url), "jade_storage_compactions_total") - before;
  await settle(server.groupId);
  return { idle, whileWriting, compacting, compactions, written };
}

async function measureWake(node, apiKey) {
  const beganMs = performance.now();
  await node.restart();
  const client = new JadeClient({ url: node.server().url, apiKey });
  const found = await client.kv.get("old-1");
  client.close();
  if (found === undefined) throw new Error("old-1 is gone after the restart");
  return performance.now() - beganMs;
}

/** What the storage node says of itself, and what its directory holds. */
async function measureSpace(node, rowsNow) {
  const metrics = await metricsOf(node.server().url);
  const of = (name) => sumOf(metrics, `jade_storage_${name}`);
  const logBytes = of("commit_bytes_total");
  const liveBytes = of("table_bytes") + of("record_segment_bytes") + of("memtable_bytes");
  return {
    liveBytes,
    rowsPerUserByte: of("table_bytes") / (rowsNow * (VALUE_BYTES + KEY_BYTES)),
    filesPerLiveByte: diskBytes(node.dataDir) / liveBytes,
    amplification: (logBytes + of("flush_bytes_total") + of("compaction_bytes_written_total")) / logBytes,
  };
}

async function measureSize(size, { count, seconds }) {
  const node = await startNode(size);
  const loader = startLoader();
  try {
    const server = node.server();
    const memoryMiB = () => treeMemoryBytes(server.groupId) / MIB;
    const emptyMiB = memoryMiB();
    const apiKey = await createTenant(server);
    const loadSeconds = await load({ loader, server, apiKey, count });
    note(`${size.id}: ${count} rows in ${loadSeconds.toFixed(1)} s`);
    const gets = await measureGets({ loader, server, apiKey, count, seconds });
    const residentMiB = memoryMiB();
    const rowsNow = count + gets.written;
    const space = await measureSpace(node, rowsNow);
    const wakeMs = await measureWake(node, apiKey);
    const budget = budgetMiB(size);
    const line = (what, value, unit = "", limit = null) => ({
      size: size.id,
      what,
      value,
      unit,
      limit,
      ok: limit === null || value <= limit,
    });
    return [
      line("rows stored", rowsNow),
      line("puts per second while loading", count / loadSeconds),
      line("bytes of rows stored / bytes of keys and values", space.rowsPerUserByte, "x"),
      line("memory budget by configuration", budget, "MiB"),
      line("rows and records / memory budget", space.liveBytes / MIB / budget, "x"),
      line("resident memory, empty", emptyMiB, "MiB"),
      line("resident memory, after all of it", residentMiB, "MiB"),
      line("resident memory above empty / budget", (residentMiB - emptyMiB) / budget, "x"),
      line("files on disk after compaction / rows and records", space.filesPerLiveByte, "x", SPACE_RATIO_LIMIT),
      line("written to log and tables / written to the log", space.amplification, "x"),
      line("start of the process to the first read", wakeMs, "ms", COLD_WAKE_LIMIT_MS),
      line("gets per second idle, 4 in flight", gets.idle.perSecond),
      line("get p50 idle", gets.idle.p50Ms, "ms"),
      line("get p99 idle", gets.idle.p99Ms, "ms"),
      line("get p50 beside a client that writes at full speed", gets.whileWriting.p50Ms, "ms"),
      line("get p99 beside a client that writes at full speed", gets.whileWriting.p99Ms, "ms"),
      line(
        `get p99 while it compacts (${gets.compactions} since idle) / idle`,
        gets.compacting.p99Ms / gets.idle.p99Ms,
        "x",
        P99_RATIO_LIMIT,
      ),
    ];
  } finally {
    loader.dispose();
    await node.dispose();
  }
}

const shown = (value) =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();

export async function run(given) {
  const options = { ...given, count: given.count ?? 1_000_000 };
  if (!(options.count >= 1000)) {
    console.error(`--count must be a number from 1000, got ${options.count}`);
    return 2;
  }
  await buildAll({ quiet: true });
  const rows = [];
  for (const size of SIZES) {
    if (options.only && !options.only.includes(size.id)) continue;
    rows.push(...(await measureSize(size, options)));
  }
  const table = new Table({
    head: ["memory", "what", "value", "limit", "ok"],
    style: { head: [], border: [], compact: true },
  });
  for (const { size, what, value, unit, limit, ok } of rows)
    table.push([
      size,
      what,
      `${shown(value)} ${unit}`,
      limit === null ? "" : `≤ ${limit} ${unit}`,
      ok ? "ok" : "MISSED",
    ]);
  console.log(table.toString());
  if (options.json) console.log(JSON.stringify({ suite: "storage", results: rows }));
  return rows.every(({ ok }) => ok) ? 0 : 1;
}
