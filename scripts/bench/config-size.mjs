// How a keyspace bears its size: 10 000 keys beside 100 000 and 1 000 000 of 500 bytes, each on a server of its own, in turns.
// Rows: cold wake, memory, disk, p99 of puts and gets against those with 10 000 keys, a range of 1 000, a compaction; and all of it with a
// tenth of the data in memory. Limits: the spec's. Guarantees: phases of two sizes alternate, so that they meet the same machine.
import { readdirSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import { configOp, JadeClient } from "../../src/client/index.ts";
import { startServer, treeCpuMs, treeMemoryBytes } from "../lib/server-process.mjs";
import { seededRandom, valueText } from "./lib/keys.mjs";
import { settle } from "./lib/loader.mjs";
import { round } from "./lib/report.mjs";

const VALUE_BYTES = 500;
const SMALL_KEYS = 10_000;
const PUTS_PER_TXN = 100;
const TXNS_AT_ONCE = 4;
const IN_FLIGHT = 8;
const RANGE_KEYS = 1000;
const RANGES = 30;
const ROUNDS = 3;
/** The server rests when it did so in this many looks in a row, each of which took no longer. */
const CALM_LOOKS = 5;
const CALM_MS = 1000;
const MIB = 1024 * 1024;
const note = (text) => console.error(text);

/** `cacheMiB`: less than a tenth of keys and values. Limits in MiB. */
export const SIZES = [
  { id: "size-100k", title: "100 000 keys", keys: 100_000, memoryMiB: 150, diskMiB: 700, cacheMiB: 64 },
  {
    id: "size-1m",
    title: "1 000 000 keys, a tenth in memory",
    keys: 1_000_000,
    memoryMiB: 1500,
    diskMiB: 7000,
    cacheMiB: 48,
  },
];

function diskBytes(directory) {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size;
  return bytes;
}

const keyOf = (i) => `size/${String(i).padStart(8, "0")}`;

/** A server whose one keyspace is to hold `keys`. */
async function open({ keys, cacheMiB = 64 }) {
  const dataDir = await mkdtemp(join(tmpdir(), "jade-size-"));
  const config = `${dataDir}.yaml`;
  await writeFile(config, JSON.stringify({ config: { cacheMiB } }));
  const options = { dataDir, args: ["--config", config], env: { JADE_LOG_LEVEL: "warn" } };
  let server = await startServer(options);
  const emptyBytes = treeMemoryBytes(server.groupId);
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "size" });
  admin.close();
  const connect = () => new JadeClient({ url: server.url, apiKey, transport: "session", timeoutMs: 120_000 });
  const place = {
    keys,
    dataDir,
    emptyBytes,
    client: connect(),
    groupId: () => server.groupId,
    async restart() {
      place.client.close();
      await server.stop();
      const beganMs = performance.now();
      server = await startServer({ ...options, port: server.port, rootKey: server.rootKey });
      const readyMs = performance.now();
      place.client = connect();
      const { found } = await place.client.config.get(keyOf(keys - 1));
      if (!found) throw new Error("the last key is gone after a restart");
      return { wakeMs: performance.now() - readyMs, startMs: performance.now() - beganMs };
    },
    async dispose() {
      place.client.close();
      await server.dispose();
      await rm(dataDir, { recursive: true, force: true });
      await rm(config, { force: true });
    },
  };
  return place;
}

/** Writes each key once, in an order that is not theirs. */
async function writeAll({ client, keys }, round_) {
  const value = JSON.parse(valueText(VALUE_BYTES, seededRandom(7 + round_)));
  const step = 7919; // coprime to every size here
  let next = 0;
  const beganMs = performance.now();
  const work = async () => {
    while (next < keys) {
      const from = next;
      next += PUTS_PER_TXN;
      const puts = Array.from({ length: Math.min(PUTS_PER_TXN, keys - from) }, (_, i) =>
        configOp.put(keyOf(((from + i) * step) % keys), value),
      );
      await client.config.runTxn({ compare: [], success: puts, failure: [] });
    }
  };
  await Promise.all(Array.from({ length: TXNS_AT_ONCE }, work));
  return performance.now() - beganMs;
}

/** Latencies of one kind of call at random keys, in ms. */
async function timed({ client, keys }, { seconds, seed, call }) {
  const random = seededRandom(seed);
  const latencies = [];
  const endMs = performance.now() + seconds * 1000;
  const work = async () => {
    while (performance.now() < endMs) {
      const beganMs = performance.now();
      await call(client.config, keyOf(Math.floor(random() * keys)));
      latencies.push(performance.now() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return latencies;
}

const at = (latencies, share) =>
  latencies.sort((a, b) => a - b)[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
const VALUE = { text: "x".repeat(VALUE_BYTES - 11) };
const CALLS = { put: (config, key) => config.put(key, VALUE), get: (config, key) => config.get(key) };

/** p99 of both places, in turns. */
async function compare(small, large, { seconds }) {
  const result = {};
  for (const [name, call] of Object.entries(CALLS)) {
    const latencies = new Map([
      [small, []],
      [large, []],
    ]);
    for (let turn = 0; turn < ROUNDS * 2; turn++) {
      const place = turn % 2 === 0 ? small : large;
      await settle(place.groupId());
      latencies.get(place).push(...(await timed(place, { seconds: seconds / ROUNDS, seed: turn, call })));
    }
    result[name] = {
      small: at(latencies.get(small), 0.99),
      large: at(latencies.get(large), 0.99),
      p50: at(latencies.get(large), 0.5),
    };
  }
  return result;
}

async function ranges({ client, keys }) {
  const latencies = [];
  const random = seededRandom(5);
  for (let i = 0; i < RANGES; i++) {
    const start = keyOf(Math.floor(random() * (keys - RANGE_KEYS)));
    const beganMs = performance.now();
    const { items } = await client.config.rangePage({ start, limit: RANGE_KEYS });
    latencies.push(performance.now() - beganMs);
    if (items.length !== RANGE_KEYS) throw new Error(`a range of ${RANGE_KEYS} gave ${items.length}`);
  }
  return at(latencies, 0.5);
}

/** Overwrites each key, and compacts to the present: one ended version a key is to go. */
async function compaction(place) {
  await writeAll(place, 1);
  const { revision } = await place.client.config.status();
  await settle(place.groupId());
  const beganMs = performance.now();
  const cpuMs = treeCpuMs(place.groupId());
  await place.client.config.compact(revision);
  // Until the server rests. On a busy machine one look is not enough: it may have had no turn.
  for (let calm = 0; calm < CALM_LOOKS; )
    calm = (await settle(place.groupId(), Number.POSITIVE_INFINITY)) < CALM_MS ? calm + 1 : 0;
  return { seconds: (performance.now() - beganMs) / 1000, cpuSeconds: (treeCpuMs(place.groupId()) - cpuMs) / 1000 };
}

async function measureSize(small, size, { seconds }) {
  const place = await open(size);
  try {
    const loadMs = await writeAll(place, 0);
    note(`${size.id}: ${Math.round((size.keys / loadMs) * 1000)} keys a second in transactions of ${PUTS_PER_TXN}`);
    const wake = await place.restart();
    const memoryBytes = () => treeMemoryBytes(place.groupId());
    const wokenBytes = memoryBytes();
    const rangeMs = await ranges(place);
    const p99 = await compare(small, place, { seconds });
    const usedBytes = memoryBytes();
    const disk = diskBytes(place.dataDir);
    const compacted = await compaction(place);
    const row = (id, title, value, unit, target = null) => ({
      ...{ id: `${size.id}-${id}`, title: `${size.title}: ${title}`, value, unit, target },
      ok: target === null || value <= target,
    });
    return [
      row("wake", "first read after a start", wake.wakeMs, "ms"),
      row(
        "memory-woken",
        "memory after it, above an empty server",
        (wokenBytes - place.emptyBytes) / MIB,
        "MiB",
        size.memoryMiB,
      ),
      row(
        "memory",
        "memory after random puts and gets, above an empty server",
        (usedBytes - place.emptyBytes) / MIB,
        "MiB",
        size.memoryMiB,
      ),
      row("empty", "(an empty server)", place.emptyBytes / MIB, "MiB"),
      row("disk", "files, history of those puts included", disk / MIB, "MiB", size.diskMiB),
      row("put-p99", "put p99", p99.put.large, "ms"),
      row("put-ratio", `put p99 / that with ${SMALL_KEYS}`, p99.put.large / p99.put.small, "x", 1.2),
      row("get-p99", "get p99", p99.get.large, "ms"),
      row("get-ratio", `get p99 / that with ${SMALL_KEYS}`, p99.get.large / p99.get.small, "x", 1.2),
      row("range", `range of ${RANGE_KEYS} keys, p50`, rangeMs, "ms"),
      row("compaction", "compaction of an ended version a key, until it rests", compacted.seconds, "s"),
      row("compaction-cpu", "CPU of that", compacted.cpuSeconds, "s"),
      row("disk-after", "files after it", diskBytes(place.dataDir) / MIB, "MiB", size.diskMiB),
    ];
  } finally {
    await place.dispose();
  }
}

/** `only`: ids of sizes, or `size` for all. */
export async function measureSizes(options) {
  const { only } = options;
  const sizes = SIZES.filter(({ id }) => only.includes("size") || only.includes(id));
  const small = await open({ keys: SMALL_KEYS });
  const rows = [];
  try {
    await writeAll(small, 0);
    for (const size of sizes) rows.push(...(await measureSize(small, size, options)));
  } finally {
    await small.dispose();
  }
  const table = new Table({
    head: ["id", "what", "value", "unit", "target", "ok"],
    style: { head: [], border: [], compact: true },
  });
  for (const { id, title, value, unit, target, ok } of rows)
    table.push([id, title, round(value), unit, target ?? "", ok ? "ok" : "MISSED"]);
  console.log(table.toString());
  return rows;
}
