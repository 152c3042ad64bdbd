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
