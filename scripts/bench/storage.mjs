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
import { seededRandom } from "./lib/keys.mjs";
import { settle, startLoader } from "./lib/loader.mjs";

const VALUE_BYTES = 100;
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

async function measureSize(size, { count, seconds }) {
  const dataDir = await mkdtemp(join(tmpdir(), "jade-storage-"));
  const { memtableMiB, blockCacheMiB, rowCacheMiB } = size;
  const config = `${dataDir}.yaml`;
  await writeFile(config, JSON.stringify({ storage: { zones: 1, nodes: 1, memtableMiB, blockCacheMiB, rowCacheMiB } }));
  const options = { dataDir, args: ["--config", config], env: { JADE_LOG_LEVEL: "warn" } };
  let server = await startServer(options);
  const loader = startLoader();
  try {
    const emptyMiB = treeMemoryBytes(server.groupId) / MIB;
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "bench", replicationFactor: 1 });
    admin.close();
    // Half of the keys are the range that gets read as `old-*`, half as `new-*`.
    const half = Math.floor(count / 2);
    const beganMs = performance.now();
    for (const prefix of ["old-", "new-"]) {
      const { errors, firstError } = await loader.preload({
        port: server.port,
        apiKey,
        prefix,
        count: half,
        valueBytes: VALUE_BYTES,
      });
      if (errors > 0) throw new Error(`${errors} puts failed, first: ${firstError}`);
    }
    const loadSeconds = (performance.now() - beganMs) / 1000;
    note(`${size.id}: ${count} rows in ${loadSeconds.toFixed(1)} s`);
    const loadedMiB = treeMemoryBytes(server.groupId) / MIB;
    const gets = (seed) => loader.phase(getPhase({ ...server, apiKey, count: half, seconds, seed }), server.groupId);

    // Reads while flushes and compactions run: another client overwrites at full speed.
    await settle(server.groupId);
    const idle = await gets(1);
    const writer = startLoader();
    const before = await metricsOf(server.url);
    const writing = writer.phase(
      {
        transport: "session",
        op: "put",
        connections: 4,
        inFlight: 32,
        keys: { oldCount: 1, liveCount: 1, newCount: 1, seed: 5, run: 5, putKeys: "fresh" },
        valueBytes: VALUE_BYTES,
        seconds: seconds * 2,
        warmupSeconds: 0,
        port: server.port,
        apiKey,
      },
      server.groupId,
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    const whileWriting = await gets(2);
    const written = await writing;
    writer.dispose();
    const compacting = await gets(3);
    const during = await metricsOf(server.url);
    await settle(server.groupId);
    const peakMiB = treeMemoryBytes(server.groupId) / MIB;

    const metrics = await metricsOf(server.url);
    const of = (name) => sumOf(metrics, name);
    const rowsNow = count + written.count;
    const keyBytes = 11;
    const userBytes = rowsNow * (VALUE_BYTES + keyBytes);
    const logBytes = of("jade_storage_commit_bytes_total");
    const tableWrites = of("jade_storage_flush_bytes_total") + of("jade_storage_compaction_bytes_written_total");
    const tableBytes = of("jade_storage_table_bytes");
    const recordBytes = of("jade_storage_record_segment_bytes");
    const fileBytes = diskBytes(dataDir);

    await server.stop();
    const wakeBeganMs = performance.now();
    server = await startServer({ ...options, port: server.port, rootKey: server.rootKey });
    const client = new JadeClient({ url: server.url, apiKey });
    const found = await client.kv.get("old-1");
    const wakeMs = performance.now() - wakeBeganMs;
    client.close();
    if (found === undefined) throw new Error("old-1 is gone after the restart");
    const compactions =
      sumOf(during, "jade_storage_compactions_total") - sumOf(before, "jade_storage_compactions_total");
    const check = (what, value, unit, limit) => ({
      size: size.id,
      what,
      value,
      unit,
      limit,
      ok: limit === null || value <= limit,
    });
    const budget = budgetMiB(size);
    return [
      check("rows stored", rowsNow, "", null),
      check("puts per second while loading", count / loadSeconds, "", null),
      check("bytes stored (rows, encoded) per byte of key and value", tableBytes / userBytes, "x", null),
      check("memory of an idle, empty server", emptyMiB, "MiB", null),
      check("memory budget by configuration", budget, "MiB", null),
      check("data / memory budget", (tableBytes + recordBytes) / MIB / budget, "x", null),
      check("resident memory after loading", loadedMiB, "MiB", null),
      check("resident memory above an empty server / budget", (peakMiB - emptyMiB) / budget, "x", null),
      check("live pages / rows and records", of("jade_storage_database_bytes") / (tableBytes + recordBytes), "x", null),
      check("files on disk / rows and records", fileBytes / (tableBytes + recordBytes), "x", SPACE_RATIO_LIMIT),
      check(
        "write amplification: log and tables / rows and records in the log",
        (logBytes + tableWrites) / logBytes,
        "x",
        null,
      ),
      check("start of the process to the first read", wakeMs, "ms", COLD_WAKE_LIMIT_MS),
      check("get p99 idle", idle.p99Ms, "ms", null),
      check("get p99 while another client writes at full speed", whileWriting.p99Ms, "ms", null),
      check(
        `get p99 while it compacts (${compactions} compactions) / idle`,
        compacting.p99Ms / idle.p99Ms,
        "x",
        P99_RATIO_LIMIT,
      ),
      check("gets per second idle", idle.perSecond, "", null),
    ];
  } finally {
    loader.dispose();
    await server.dispose();
    for (const path of [dataDir, config, `${dataDir}.log`]) await rm(path, { recursive: true, force: true });
  }
}

const shown = (value) =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();

export async function run(options) {
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
