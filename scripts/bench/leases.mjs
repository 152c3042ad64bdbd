// The lease benchmark: many live leases of one keyspace, each kept alive each third of its time to live, each with a key.
// Guarantees: every lease's holder falls silent at a time of its own, and the deletion of its key is seen by a watch: early = before its time
// to live since its last keep-alive was sent, late = more than a second after its time to live since that was answered.
// Options: --count N leases (10 000), --seconds N of keeping alive before the first holder falls silent. Exit: 1 = a target is missed.
import { availableParallelism, cpus, loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { startServer, treeCpuMs, treeMemoryBytes } from "../lib/server-process.mjs";
import { seededRandom } from "./lib/keys.mjs";
import { printTable } from "./lib/report.mjs";

const TTL_SECONDS = 10;
const TTL_MS = TTL_SECONDS * 1000;
const KEEP_ALIVE_MS = TTL_MS / 3;
const SESSIONS = 8;
const GRANTS_AT_ONCE = 500;
const LATE_MS = 1000;
/** How often what is due is sent. Ms. */
const TICK_MS = 10;
const MIB = 1024 * 1024;
const note = (text) => console.error(text);

/** Grants all; each lease knows when it is due next and when its holder falls silent. */
async function grantAll(clients, count, seconds) {
  const random = seededRandom(11);
  const leases = Array.from({ length: count }, (_, i) => ({
    id: String(i + 1),
    key: `lease/${i}`,
    client: clients[i % SESSIONS],
  }));
  for (let from = 0; from < count; from += GRANTS_AT_ONCE)
    await Promise.all(
      leases.slice(from, from + GRANTS_AT_ONCE).map(async (lease) => {
        lease.sentMs = performance.now();
        await lease.client.config.leases.grant(TTL_SECONDS, { leaseId: lease.id });
        lease.answeredMs = performance.now();
        await lease.client.config.put(lease.key, lease.id, { leaseId: lease.id });
        lease.dueMs = lease.answeredMs + random() * KEEP_ALIVE_MS;
      }),
    );
  const startMs = performance.now();
  for (const lease of leases) lease.silentMs = startMs + (seconds + random() * TTL_SECONDS) * 1000;
  return { leases, startMs };
}

async function keepAlive(lease, counts) {
  lease.isUnderWay = true;
  lease.trySentMs = performance.now();
  counts.sent++;
  try {
    await lease.client.config.leases.keepAlive(lease.id);
    lease.sentMs = lease.trySentMs;
    lease.answeredMs = performance.now();
  } catch (error) {
    counts.failed++;
    counts.firstError ??= String(error);
  }
  lease.isUnderWay = false;
}

/** Keeps them alive until all holders are silent. `isWhole`: none is yet. */
async function keepAll(leases, counts) {
  let last = 0;
  for (const { silentMs } of leases) last = Math.max(last, silentMs);
  while (performance.now() < last) {
    const nowMs = performance.now();
    for (const lease of leases) {
      if (nowMs < lease.dueMs || nowMs >= lease.silentMs || lease.isUnderWay) continue;
      lease.dueMs += KEEP_ALIVE_MS;
      counts.lagMs = Math.max(counts.lagMs, nowMs - lease.dueMs + KEEP_ALIVE_MS);
      void keepAlive(lease, counts);
    }
    await sleep(TICK_MS);
  }
}

/** Notes when each key was seen to be deleted; resolves when all are. */
async function watchDeletions(client, byKey) {
  const watch = client.config.watch({ prefix: "lease/" }, { noPut: true });
  await watch.started;
  const ended = (async () => {
    let left = byKey.size;
    for await (const { events } of watch) {
      const nowMs = performance.now();
      for (const event of events) {
        const lease = byKey.get(event.key);
        if (event.type !== "delete" || !lease || lease.deletedMs !== undefined) continue;
        lease.deletedMs = nowMs;
        left--;
      }
      if (left === 0) return;
    }
  })();
  return { ended };
}

function judge(leases) {
  const lateMs = leases.map(({ deletedMs, answeredMs }) => deletedMs - answeredMs - TTL_MS).sort((a, b) => a - b);
  const at = (share) => lateMs[Math.min(lateMs.length - 1, Math.floor(lateMs.length * share))];
  return {
    early: leases.filter(({ deletedMs, sentMs }) => deletedMs < sentMs + TTL_MS).length,
    late: lateMs.filter((ms) => ms > LATE_MS).length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    mostMs: at(1),
  };
}

async function measure(server, clients, { count, seconds }) {
  const byKey = new Map();
  const emptyBytes = treeMemoryBytes(server.groupId);
  const { leases, startMs } = await grantAll(clients, count, seconds);
  for (const lease of leases) byKey.set(lease.key, lease);
  note(`${count} leases of ${TTL_SECONDS} s granted in ${Math.round(performance.now() - leases[0].sentMs)} ms`);
  const { ended } = await watchDeletions(clients[0], byKey);
  const counts = { sent: 0, failed: 0, firstError: undefined, lagMs: 0 };
  const cpu = { beganMs: treeCpuMs(server.groupId), own: process.cpuUsage() };
  const kept = keepAll(leases, counts);
  await sleep(seconds * 1000 - (performance.now() - startMs));
  const elapsedMs = performance.now() - startMs;
  const serverCpu = (treeCpuMs(server.groupId) - cpu.beganMs) / elapsedMs;
  const own = process.cpuUsage(cpu.own);
  const perSecond = (counts.sent / elapsedMs) * 1000;
  const bytes = treeMemoryBytes(server.groupId) - emptyBytes;
  note(
    `${Math.round(perSecond)} keep-alives a second, server ${serverCpu.toFixed(2)} cores, client ${((own.user + own.system) / 1000 / elapsedMs).toFixed(2)}`,
  );
  await kept;
  await ended;
  note(
    `${Math.round(bytes / MIB)} MiB above the empty server; the load came up to ${Math.round(counts.lagMs)} ms late`,
  );
  return { ...judge(leases), counts, perSecond, serverCpu };
}

function rows({ early, late, p50Ms, p99Ms, mostMs, counts, perSecond, serverCpu }, count) {
  const due = count / (KEEP_ALIVE_MS / 1000);
  const common = { p50Ms, p99Ms, errors: counts.failed, serverCpu };
  const none = { baseline: Number.NaN, target: 0 };
  return [
    {
      id: "kept-alive",
      title: "keep-alives a second",
      value: perSecond,
      unit: "operations/s",
      baseline: due,
      ratio: perSecond / due,
      target: null,
      ok: counts.failed === 0,
      ...common,
    },
    {
      id: "early",
      title: "leases that ended early",
      value: early,
      unit: "leases",
      ratio: early,
      ok: early === 0,
      ...none,
      ...common,
    },
    {
      id: "late",
      title: "leases that ended after TTL + 1 s",
      value: late,
      unit: "leases",
      ratio: late,
      ok: late === 0,
      ...none,
      ...common,
    },
    {
      id: "latest",
      title: "latest end after its time, ms",
      value: mostMs,
      unit: "ms",
      baseline: LATE_MS,
      ratio: mostMs / LATE_MS,
      target: 1,
      ok: mostMs <= LATE_MS,
      ...common,
    },
    {
      id: "cpu",
      title: "share of a core while all are kept alive",
      value: serverCpu,
      unit: "cores",
      baseline: Number.NaN,
      ratio: serverCpu,
      target: null,
      ok: true,
      ...common,
    },
  ];
}

export async function run({ json, seconds, count: leaseCount = 10_000 }) {
  await buildAll({ quiet: true });
  note(
    `${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}, load ${loadavg()[0].toFixed(1)}`,
  );
  const server = await startServer({ env: { JADE_LOG_LEVEL: "warn" } });
  const clients = [];
  try {
    const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await admin.tenants.create({ tenantId: "bench-leases" });
    admin.close();
    for (let i = 0; i < SESSIONS; i++) clients.push(new JadeClient({ url: server.url, apiKey, transport: "session" }));
    const kept = await measure(server, clients, { count: leaseCount, seconds: Math.max(seconds, TTL_SECONDS) });
    const measured = rows(kept, leaseCount);
    printTable(measured);
    if (json)
      console.log(JSON.stringify({ suite: "leases", results: measured.map(({ title, serverCpu, ...row }) => row) }));
    return measured.every(({ ok }) => ok) ? 0 : 1;
  } finally {
    for (const client of clients) client.close();
    await server.dispose();
  }
}
