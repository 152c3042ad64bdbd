// Measured on real clusters on this machine: throughput of one to three instances, the hop to a peer, and what the bucket's latency costs.
// All instances, the bucket and the load share the machine: ratios and CPU time tell something, rates by themselves little.
import { setTimeout as sleep } from "node:timers/promises";
import { Machines } from "../../faults/machines.ts";
import { httpLoad, requestBytes } from "./http-load.mjs";
import { Recorder } from "./measure.mjs";
import { atLeast, atMost, lineOf as row } from "./report.mjs";

const LATENCIES_MS = [0, 5, 20, 50, 100];
const VALUE = JSON.stringify("x".repeat(498));
const KEYS = 2000;
const WARMUP_SECONDS = 1;
const MANY = 1024;
/** A put of so many may take seconds on a busy machine. */
const MANY_SECONDS = 10;
/** Of a run at no latency: what many writers at once keep at 20 ms. */
const KEPT_LEAST = 0.7;
/** Keys that are there when a node joins, of JOIN_VALUE bytes: some 200 MB with three copies. */
const JOIN_KEYS = 64_000;
const JOIN_VALUE = "x".repeat(1022);
const JOIN_BATCH = 100;
/** Of p99 at rest: what a node that joins may cost those who go on. */
const JOIN_FELT_MOST = 3;
/** Of key-value's time at no latency: it must not feel the bucket. Twice, as this machine is shared. */
const FELT_MOST = 2;

async function withMachines(instances, run) {
  const machines = await Machines.start({ instances, network: false, disk: false, clock: false });
  try {
    const root = machines.client("z1", machines.rootKey, { attempts: 20 });
    const { apiKey } = await root.tenants.create({ tenantId: "bench" });
    root.close();
    return await run(machines, apiKey);
  } finally {
    await machines.dispose();
  }
}

/** Runs what `next(port)` gives over `connections` to each of `zones`; adds the servers' and our own CPU, in ms an answer. */
async function measure(machines, { zones, connections, next, seconds }) {
  const recorder = new Recorder({ warmupSeconds: WARMUP_SECONDS, seconds });
  const [began, ownBegan, beganMs] = [machines.cpuMs(), process.cpuUsage(), performance.now()];
  await Promise.all(
    zones.map((zone) => {
      const port = Number(new URL(machines.url(zone)).port);
      return httpLoad({ port, connections, next: () => next(port), recorder });
    }),
  );
  const own = process.cpuUsage(ownBegan);
  const tookMs = performance.now() - beganMs;
  const result = recorder.result(1);
  const share = { serverCores: (machines.cpuMs() - began) / tookMs, ownCores: (own.user + own.system) / 1000 / tookMs };
  return { ...result, ...share };
}

const note = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const host = (port) => `127.0.0.1:${port}`;

function putOf(apiKey) {
  let count = 0;
  const body = () => `{"key":"k${count++ % KEYS}","value":${VALUE}}`;
  return (port) => requestBytes({ method: "POST", path: "/v1/key-value", host: host(port), apiKey, body: body() });
}

function getOf(apiKey) {
  let count = 0;
  const path = () => `/v1/key-value?key=k${count++ % KEYS}`;
  return (port) => requestBytes({ method: "GET", path: path(), host: host(port), apiKey });
}

function configPutOf(apiKey) {
  let count = 0;
  const path = () => `/v1/config/keys/k${count++ % KEYS}`;
  return (port) => requestBytes({ method: "PUT", path: path(), host: host(port), apiKey, body: `{"value":${VALUE}}` });
}

/** What one to three instances do together, and what it costs to ask one whose neighbours hold two of three copies. */
export async function instances({ seconds }) {
  const lines = [];
  const first = {};
  for (const count of [1, 2, 3]) {
    await withMachines(count, async (machines, apiKey) => {
      for (const [op, next] of [
        ["put", putOf(apiKey)],
        ["get", getOf(apiKey)],
      ]) {
        const all = { zones: machines.zones, connections: Math.ceil(48 / count), next, seconds };
        const many = await measure(machines, all);
        const alone = await measure(machines, { zones: ["z1"], connections: 1, next, seconds });
        first[op] ??= { many, alone };
        const cpuMs = (many.serverCores / many.perSecond) * 1000;
        const name = `${count} instance${count > 1 ? "s" : ""}, ${op} at quorum`;
        lines.push(
          row(`instances.${count}.${op}`, `${name}, 48 at once`, many.perSecond, "a second"),
          row(`instances.${count}.${op}.ratio`, "… to one instance", many.perSecond / first[op].many.perSecond, "x"),
          row(`instances.${count}.${op}.cores`, "… the servers' share of the CPU", many.serverCores, "cores"),
          row(`instances.${count}.${op}.load`, "… the load's own", many.ownCores, "cores"),
          row(`instances.${count}.${op}.cpu`, "… CPU time of the servers", cpuMs, "ms each"),
          row(`instances.${count}.${op}.p50`, `${name}, one at a time through one: p50`, alone.p50Ms, "ms"),
          row(
            `instances.${count}.${op}.hop`,
            "… more than with one instance",
            alone.p50Ms - first[op].alone.p50Ms,
            "ms",
          ),
        );
      }
    });
  }
  return lines;
}

/** Writes at a bucket that answers so much later. */
export async function bucket({ seconds }) {
  const lines = [];
  await withMachines(3, async (machines, apiKey) => {
    const one = { zones: ["z1"], seconds };
    let untouched;
    await measure(machines, { ...one, connections: 4, next: configPutOf(apiKey) });
    for (const ms of LATENCIES_MS) {
      machines.way.delay(ms);
      await sleep(500);
      const alone = await measure(machines, { ...one, connections: 1, next: configPutOf(apiKey) });
      const config = await measure(machines, { ...one, connections: 64, next: configPutOf(apiKey) });
      const kv = await measure(machines, { ...one, connections: 16, next: putOf(apiKey) });
      untouched ??= kv;
      const feels = kv.p50Ms / untouched.p50Ms;
      const name = `bucket ${ms} ms away`;
      lines.push(
        row(`bucket.${ms}.alone.p50`, `${name}: a configuration put, one at a time, p50`, alone.p50Ms, "ms"),
        row(`bucket.${ms}.alone.p99`, "… p99", alone.p99Ms, "ms"),
        row(`bucket.${ms}.config`, "… 64 at once", config.perSecond, "a second"),
        row(`bucket.${ms}.config.p50`, "… p50", config.p50Ms, "ms"),
        row(`bucket.${ms}.config.p99`, "… p99", config.p99Ms, "ms"),
        row(`bucket.${ms}.kv.p50`, "… key-value put at quorum, 16 at once, p50", kv.p50Ms, "ms"),
        row(`bucket.${ms}.kv.p99`, "… p99", kv.p99Ms, "ms"),
        row(`bucket.${ms}.kv.ratio`, "… p50 to that at 0 ms", feels, "x", atMost(feels, FELT_MOST)),
      );
    }
  });
  return lines;
}

/** Many writers at once: what gathers their writes must hide the bucket's latency. */
export async function many({ seconds }) {
  const best = {};
  await withMachines(3, async (machines, apiKey) => {
    const load = {
      zones: ["z1"],
      connections: MANY,
      next: configPutOf(apiKey),
      seconds: Math.max(MANY_SECONDS, seconds),
    };
    // In turn, so that what else runs on the machine meets both.
    for (const ms of [0, 20, 0, 20]) {
      machines.way.delay(ms);
      await sleep(500);
      const { perSecond, errors, firstError } = await measure(machines, load);
      if (errors > 0) console.error(`${errors} of the puts failed, such as: ${firstError}`);
      best[ms] = Math.max(best[ms] ?? 0, perSecond);
    }
  });
  const kept = best[20] / best[0];
  return [
    row("many.0", `bucket 0 ms away: configuration puts, ${MANY} at once`, best[0], "a second"),
    row("many.20", "… 20 ms away", best[20], "a second"),
    row("many.kept", "… to that at 0 ms", kept, "x", atLeast(kept, KEPT_LEAST)),
  ];
}

/** Batches of new keys. */
function fillOf(apiKey) {
  let batch = 0;
  return (port) => {
    const at = batch++ * JOIN_BATCH;
    const operations = Array.from({ length: JOIN_BATCH }, (_, i) => ({
      op: "put",
      key: `j${at + i}`,
      value: JOIN_VALUE,
    }));
    const body = JSON.stringify({ operations });
    return requestBytes({ method: "POST", path: "/v1/key-value/batch", host: host(port), apiKey, body });
  };
}

/** A second storage node joins in a zone while others read and write: how long and how many bytes, and what that costs them. */
export async function joining({ seconds }) {
  return await withMachines(3, async (machines, apiKey) => {
    const fill = fillOf(apiKey);
    const zones = machines.zones;
    for (let keys = 0; keys < JOIN_KEYS; ) {
      const { count, errors, firstError } = await measure(machines, { zones, connections: 2, next: fill, seconds: 5 });
      if (errors > 0) throw new Error(`${errors} batches failed, such as: ${firstError}`);
      keys += count * JOIN_BATCH;
      note(`${keys} keys are there`);
    }
    const load = { zones, connections: 2, seconds };
    const ops = { put: putOf(apiKey), get: getOf(apiKey) };
    const both = (window) =>
      Promise.all(Object.values(ops).map((next) => measure(machines, { ...load, ...window, next })));
    await both({ seconds: 1 });
    const rest = await both({});
    const root = machines.client("z1", machines.rootKey, { attempts: 20 });
    const beganMs = performance.now();
    const { operationId } = await root.clusterNodes.add({ zone: "z1", graceSeconds: 0 });
    const during = [];
    let operation = await root.clusterNodes.operation(operationId);
    while (["waiting", "filling", "joint", "switching"].includes(operation.state)) {
      note(`${operation.state}: ${operation.progress.keysMoved} keys moved ${operation.waitingFor}`);
      during.push(await both({ seconds: 2 }));
      operation = await root.clusterNodes.operation(operationId);
    }
    const tookSeconds = (performance.now() - beganMs) / 1000;
    root.close();
    const { bytesMoved, keysMoved } = operation.progress;
    const lines = [
      row("join.seconds", "a second storage node in one of three zones, under load: serves after", tookSeconds, "s", {
        ok: ["cleaning", "finished"].includes(operation.state),
      }),
      row("join.keys", "… keys moved", keysMoved, "keys"),
      row("join.bytes", "… bytes moved", bytesMoved / 1e6, "MB"),
      row("join.rate", "… a GB would take", tookSeconds / (bytesMoved / 1e9), "s"),
    ];
    for (const [at, op] of Object.keys(ops).entries()) {
      const p99Ms = median(during.map((window) => window[at].p99Ms));
      const errors = during.reduce((sum, window) => sum + window[at].errors, 0);
      lines.push(
        row(`join.${op}.rest`, `${op} at quorum, 12 at once with the others, p99 at rest`, rest[at].p99Ms, "ms"),
        row(`join.${op}.p99`, "… meanwhile (median of windows of 2 s)", p99Ms, "ms"),
        row(
          `join.${op}.felt`,
          "… to that at rest",
          p99Ms / rest[at].p99Ms,
          "x",
          atMost(p99Ms / rest[at].p99Ms, JOIN_FELT_MOST),
        ),
        row(`join.${op}.errors`, "… refused or failed", errors, "answers", atMost(errors, 0)),
      );
    }
    return lines;
  });
}
