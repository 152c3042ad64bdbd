// Times of the engine's hot calls in Node, SQLite excluded. Run: npx node src/storage/engine.bench.ts (after the WASM build).
// Must not: be part of the checks.

import { readFileSync } from "node:fs";
import { openEngine } from "./engine.ts";
import { createKernels } from "./kernels.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";
import type { RowKey, SqlStorage } from "./types.ts";

/** SQL that stores nothing: what remains is the engine's own time. */
const sql: SqlStorage = { exec: () => [], transactionSync: (run) => run() };
const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
let seed = 1;
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) >>> 8;
};
const engine = openEngine({
  sql,
  blobs: new MemoryBlobStore(),
  kernels,
  clock: Date.now,
  random: (count) => Uint8Array.from({ length: count }, () => random() & 0xff),
  objectName: "bench",
});

const ROWS = 200_000;
const keys: RowKey[] = Array.from({ length: ROWS }, (_, i) => ({
  token: { hi: (random() << 8) >>> 0, lo: random() },
  tenant: i & 7,
  key: `user:profile:${i}`,
}));
const value = new Uint8Array(500).fill(7);
const answer = new Uint8Array(40);
const ids = Array.from({ length: ROWS }, () => Uint8Array.from({ length: 16 }, () => random() & 0xff));

function time(name: string, count: number, run: () => void): void {
  const start = performance.now();
  run();
  const micros = ((performance.now() - start) * 1000) / count;
  console.log(`${name}: ${micros.toFixed(3)} µs`);
}

async function drainMaintenance(): Promise<{ slices: number; worstMs: number; totalMs: number }> {
  let slices = 0;
  let worstMs = 0;
  let totalMs = 0;
  while (engine.maintenanceDue) {
    const start = performance.now();
    await engine.runMaintenance();
    const ms = performance.now() - start;
    worstMs = Math.max(worstMs, ms);
    totalMs += ms;
    slices++;
  }
  return { slices, worstMs: Math.round(worstMs * 100) / 100, totalMs: Math.round(totalMs) };
}

for (let round = 0; round < 4; round++) {
  console.log(`round ${round}`);
  const from = round * 40_000;
  time("put 500 B (commit per 64)", 40_000, () => {
    for (let i = from; i < from + 40_000; i++) {
      engine.put(keys[i]!, value);
      if (i % 64 === 63) engine.commit();
    }
    engine.commit();
  });
  time("addRecord 40 B", 40_000, () => {
    for (let i = from; i < from + 40_000; i++) engine.addRecord(1, ids[i]!, answer);
    engine.commit();
  });
  time("get from memtables", 40_000, () => {
    for (let i = from; i < from + 40_000; i++) engine.get(keys[i]!);
  });
  console.log("maintenance", await drainMaintenance());
  time("get from tables, first", 40_000, () => {
    for (let i = from; i < from + 40_000; i++) engine.get(keys[i]!);
  });
  time("get again (row cache / block cache)", 20_000, () => {
    for (let i = from; i < from + 20_000; i++) engine.get(keys[i]!);
  });
  time("get absent", 40_000, () => {
    for (let i = 0; i < 40_000; i++) engine.get({ ...keys[i]!, key: "absent" });
  });
  time("findRecord", 40_000, () => {
    for (let i = from; i < from + 40_000; i++) engine.findRecord(1, ids[i]!);
  });
}
const megabyte = new Uint8Array(1024 * 1024);
time("crc32c per MiB", 100, () => {
  for (let i = 0; i < 100; i++) kernels.crc32c(megabyte);
});
console.log(engine.stats());
