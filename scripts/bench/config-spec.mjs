// The spec's latencies at the spec's load: 500 writes a second with twice as many reads, by sessions and over HTTP from the owner, and through
// a follower.
// Guarantees: open loop, each request's time runs from when it was due, so a stall counts for all that it held up. A run that did not
// reach its rate says so and fails.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { startServer } from "../lib/server-process.mjs";
import { startRawServer } from "./lib/raw-server.mjs";

const WRITES_PER_SECOND = 500;
const READS_PER_SECOND = 1000;
const KEYS = 5000;
const VALUE = JSON.stringify({ value: "x".repeat(500) });
/** specs/2. Ms. */
const BOUNDS = { write: { p50: 10, p99: 50 }, read: { p50: 2, p99: 10 } };
const WARMUP_SECONDS = 2;
const AT_ONCE = 64;
const SESSIONS = 16;

/** Resolves to the status when the answer is whole. */
function call(bench, method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${bench.apiKey}`,
      ...(body && { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    };
    const sent = request(
      { agent: bench.agent, host: "127.0.0.1", port: bench.port, method, path, headers },
      (answer) => {
        answer.on("end", () => resolve(answer.statusCode)).on("error", reject);
        answer.resume();
      },
    );
    sent.on("error", reject).end(body);
  });
}

const keyOf = (at) => `spec/${at % KEYS}`;
const pathOf = (at) => `/v1/config/keys/${keyOf(at)}`;

/** Starts `perSecond` calls a second, on time; gives what each took from then. */
async function atRate({ perSecond, seconds, fromMs }, start) {
  const times = [];
  let errors = 0;
  const running = new Set();
  const count = perSecond * seconds;
  for (let at = 0; at < count; at++) {
    const dueMs = fromMs + (at * 1000) / perSecond;
    while (dueMs > performance.now()) await sleep(Math.max(1, dueMs - performance.now()));
    const work = start(at).then(
      (status) => {
        times.push(performance.now() - dueMs);
        if (status >= 300) errors++;
      },
      () => errors++,
    );
    running.add(work);
    work.finally(() => running.delete(work));
  }
  await Promise.all(running);
  const tookSeconds = (performance.now() - fromMs) / 1000;
  return { times: times.sort((a, b) => a - b), errors, perSecond: times.length / tookSeconds };
}

async function loaded({ write, read }, seconds) {
  const fromMs = performance.now() + 10;
  const random = () => Math.floor(Math.random() * KEYS);
  const [writes, reads] = await Promise.all([
    atRate({ perSecond: WRITES_PER_SECOND, seconds, fromMs }, (at) => write(random(), at)),
    atRate({ perSecond: READS_PER_SECOND, seconds, fromMs }, (at) => read(random(), at)),
  ]);
  return { write: writes, read: reads };
}

function rowsOf(id, title, kind, { times, errors, perSecond }) {
  const quantile = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  const [p50Ms, p99Ms] = [quantile(0.5), quantile(0.99)];
  const wanted = kind === "write" ? WRITES_PER_SECOND : READS_PER_SECOND;
  return ["p50", "p99"].map((metric) => {
    const value = metric === "p50" ? p50Ms : p99Ms;
    const baseline = BOUNDS[kind][metric];
    const isReached = value < baseline && errors === 0 && perSecond > 0.95 * wanted;
    const what = `${title}: ${kind} ${metric}, ${Math.round(perSecond)}/s, below ${baseline} ms`;
    const shown = { id: `spec-${id}-${kind}-${metric}`, title: what, unit: "ms", metric: "p50", value, baseline };
    return { ...shown, ratio: value / baseline, target: 1, ok: isReached, p50Ms, p99Ms, errors, serverCpu: Number.NaN };
  });
}

const overHttp = (readPath) => (bench) => ({
  write: (key) => call(bench, "PUT", pathOf(key), VALUE),
  read: (key) => call(bench, "GET", `${pathOf(key)}${readPath}`),
});

/** What the SDK does by default. */
function overSessions({ sessions }) {
  const value = JSON.parse(VALUE);
  const of = (at) => sessions[at % sessions.length].config;
  return {
    write: (key, at) =>
      of(at)
        .put(keyOf(key), value)
        .then(() => 200),
    read: (key, at) =>
      of(at)
        .get(keyOf(key))
        .then(({ found }) => (found ? 200 : 404)),
  };
}

const WAYS = [
  { id: "session", title: `spec load, owner, ${SESSIONS} sessions`, callsOf: overSessions },
  { id: "direct", title: "spec load, owner, HTTP", callsOf: overHttp("") },
  {
    id: "follower",
    title: "spec load, reads by a follower, HTTP",
    callsOf: overHttp("?consistency=serializable&maxStalenessMs=1000"),
  },
];

/** What workerd itself makes of that load over HTTP: a write is one row of one table, a read calls an object that does nothing. */
async function measureRaw(seconds) {
  const raw = await startRawServer({ preload: KEYS, valueBytes: 500 });
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE, noDelay: true });
  const bench = { agent, port: raw.port, apiKey: "none" };
  const calls = {
    write: (key) => call(bench, "PUT", `/live-${key}`, VALUE),
    read: (key) => call(bench, "GET", `/live-${key}`),
  };
  try {
    await loaded(calls, WARMUP_SECONDS);
    const { write, read } = await loaded(calls, seconds);
    const rows = ["write", "read"].flatMap((kind) =>
      rowsOf("raw", "the same load, workerd alone, HTTP", kind, kind === "write" ? write : read),
    );
    return rows.map((row) => ({ ...row, target: null, ok: true }));
  } finally {
    agent.destroy();
    await raw.dispose();
  }
}

/** Rows for the table of `bench -- config`. */
export async function measureSpecLoad(seconds, note) {
  const directory = await mkdtemp(join(tmpdir(), "jade-bench-spec-"));
  const file = join(directory, "jade.yaml");
  await writeFile(file, "config: { serveFromFollowers: true }\n");
  const dataDir = join(directory, "data");
  const server = await startServer({ args: ["--config", file], dataDir, env: { JADE_LOG_LEVEL: "error" } });
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE, noDelay: true });
  const sessions = [];
  try {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "bench-spec" });
    admin.close();
    for (let at = 0; at < SESSIONS; at++)
      sessions.push(new JadeClient({ url: server.url, apiKey, transport: "session" }));
    const bench = { agent, port: server.port, apiKey, sessions };
    let next = 0;
    const fill = async () => {
      for (let at = next++; at < KEYS; at = next++) await call(bench, "PUT", pathOf(at), VALUE);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fill));
    const rows = [];
    for (const { id, title, callsOf } of WAYS) {
      const calls = callsOf(bench);
      await loaded(calls, WARMUP_SECONDS);
      const { write, read } = await loaded(calls, Math.max(5, seconds));
      rows.push(...rowsOf(id, title, "write", write), ...rowsOf(id, title, "read", read));
      for (const row of rows.slice(-4)) note(`${row.id} ${row.value.toFixed(2)} ms`);
    }
    rows.push(...(await measureRaw(Math.max(5, seconds))));
    for (const row of rows.slice(-4)) note(`${row.id} ${row.value.toFixed(2)} ms`);
    return rows;
  } finally {
    for (const session of sessions) session.close();
    agent.destroy();
    await server.dispose();
    await rm(directory, { recursive: true, force: true });
  }
}
