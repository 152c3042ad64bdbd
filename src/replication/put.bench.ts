// What one put costs in JavaScript: the coordinator and three replicas with their engines in one Node process, SQL and RPC left out.
// Run: npx node src/replication/put.bench.ts [rounds] [puts in a turn] [hot] (after the WASM build); `hot`: all on one key.
// Must not: be part of the checks.

import { readFileSync } from "node:fs";
import type { Caller, StorageNode } from "../access/types.ts";
import { UsageMeter } from "../kv/usage.ts";
import { openEngine } from "../storage/engine.ts";
import { createKernels } from "../storage/kernels.ts";
import { MemoryBlobStore } from "../storage/memory-blob-store.ts";
import type { RepairableEngine, SqlStorage } from "../storage/types.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { actorOf } from "../wire/clock.ts";
import { readRequests, writeAnswer, writeRequest } from "../wire/session.ts";
import { QuorumCoordinator } from "./quorum-coordinator.ts";
import { Replica } from "./replica.ts";

const sql: SqlStorage = { exec: () => [], transactionSync: (run) => run() };
const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const [rounds = "8", depth = "128", keys] = process.argv.slice(2);
const BATCH = Number(depth);
const PUTS_PER_ROUND = 40_000;
/** CPU of this thread: what other processes do meanwhile does not count. */
const cpuUs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return user + system;
};
let seed = 1;
const random = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) >>> 0;
};

interface Node {
  readonly engine: RepairableEngine;
  readonly replica: Replica;
}

function openNode(number: number): Node {
  const engine = openEngine({
    sql,
    blobs: new MemoryBlobStore(),
    kernels,
    clock: Date.now,
    random: (count) => Uint8Array.from({ length: count }, () => random() & 0xff),
    objectName: `n${number}`,
  });
  let reserved = 0;
  const replica = new Replica({
    timeOriginMs: 0,
    engine,
    facts: {
      reservedCounter: () => reserved,
      reserveCounter: (upTo) => {
        reserved = upTo;
      },
      isErased: () => false,
      routeRevision: () => 0,
      isRebuilding: () => false,
      isFilling: () => false,
      isFilled: () => true,
      stampFloor: () => 0,
      purgeHorizon: () => 0,
    },
    hints: { add: () => true },
    actor: actorOf(number, 1),
    now: Date.now,
    counterBlock: 65_536,
    usage: new UsageMeter(),
  });
  return { engine, replica };
}

const nodes = new Map([1, 2, 3].map((number) => [`n${number}`, openNode(number)]));
let handleUs = 0;
let turn: (() => void)[] = [];
const coordinator = new QuorumCoordinator(
  {
    call: (nodeId, frame) => {
      const began = cpuUs();
      const answer = nodes.get(nodeId)!.replica.handle(frame) as Uint8Array;
      handleUs += cpuUs() - began;
      return Promise.resolve(answer);
    },
    now: Date.now,
    schedule: (run) => {
      turn.push(run);
    },
    setTimer: () => 0,
    clearTimer: () => undefined,
    replicaTimeoutMs: 2000,
  },
  { stampZone: "z1" },
);
const ring: StorageNode[] = [1, 2, 3].map((number) => ({
  id: `n${number}`,
  number,
  incarnation: 1,
  zone: `z${number}`,
  weight: 1,
  state: "active",
}));
coordinator.useView({ revision: 1, nodes: ring });
const caller: Caller = {
  tenant: 1,
  canWrite: true,
  replicationFactor: 3,
  defaultConsistency: "quorum",
  conflictPolicy: "siblings",
};
const value = new TextEncoder().encode(`"${"x".repeat(498)}"`);
let fresh = 0;

function requestFrame(): Uint8Array {
  const writer = new ByteWriter(1 << 17);
  for (let id = 0; id < BATCH; id++) {
    const spread = random() % 2 === 0 ? `fresh-1-${fresh++}` : `live-${random() % 20_000}`;
    const key = keys === "hot" ? "hot" : spread;
    const writeId = Uint8Array.from({ length: 16 }, () => random() & 0xff);
    writeRequest(writer, { id, op: "put", key, writeId, value });
  }
  return writer.take();
}

async function settle(): Promise<void> {
  for (let idle = 0; idle < 4; ) {
    await Promise.resolve();
    const due = turn;
    turn = [];
    for (const run of due) run();
    idle = due.length > 0 ? 0 : idle + 1;
  }
}

const means = { total: 0, coordinator: 0, replicas: 0, maintenance: 0 };
for (let round = 0; round < Number(rounds); round++) {
  const frames = Array.from({ length: PUTS_PER_ROUND / BATCH }, requestFrame);
  const out = new ByteWriter(8192);
  let maintainUs = 0;
  let written = 0;
  handleUs = 0;
  const began = cpuUs();
  for (const frame of frames) {
    out.reset();
    for (const request of readRequests(frame)) {
      coordinator.submit(caller, request, (answer) => {
        writeAnswer(out, answer);
        if (answer.kind === "written") written++;
      });
    }
    await settle();
    const before = cpuUs();
    for (const { engine } of nodes.values()) while (engine.maintenanceDue) await engine.runMaintenance();
    maintainUs += cpuUs() - before;
  }
  const totalUs = cpuUs() - began;
  const puts = frames.length * BATCH;
  if (written !== puts) throw new Error(`${written} of ${puts} puts were written`);
  const us = (sum: number): string => (sum / puts).toFixed(2);
  console.log(
    `put ${us(totalUs)} µs: coordinator ${us(totalUs - handleUs - maintainUs)}, three replicas ${us(handleUs)}, flush and merges ${us(maintainUs)}`,
  );
  if (round < 2) continue;
  means.total += totalUs / puts / (Number(rounds) - 2);
  means.replicas += handleUs / puts / (Number(rounds) - 2);
  means.maintenance += maintainUs / puts / (Number(rounds) - 2);
  means.coordinator += (totalUs - handleUs - maintainUs) / puts / (Number(rounds) - 2);
}
console.log("mean without the first two", means);
