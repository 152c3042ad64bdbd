// The Kubernetes replay: the requests of an API server (docs/examples/kubernetes-storage.mjs) over gRPC, through the npm package etcd3.
// First small, against Debian's etcd in the same run, in turns; then ours alone with `--keys` objects and `--watches` watches.
// Guarantees: every delivery is waited for; one that is missing, too many or out of order fails its row. Exit: 0 = all targets reached.

import { spawnSync } from "node:child_process";
import { connect as connectSocket } from "node:net";
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { ObjectStorage } from "../../docs/examples/kubernetes-storage.mjs";
import { JadeClient } from "../../src/client/index.ts";
import { buildAll } from "../build.mjs";
import { freePort, startServer, treeCpuMs, treeMemoryBytes } from "../lib/server-process.mjs";
import { startEtcd } from "./lib/etcd-server.mjs";
import { connect, inParallel, keyOf, kindsOf, objectOf, startWatchers, watchPlan } from "./lib/kubernetes-load.mjs";
import { printComparison } from "./lib/report.mjs";

const SMALL = { keys: 20_000, watches: 1000 };
/** The spec's, from commit to delivery. */
const DELIVERY_TARGET_MS = 100;
const PAGE = 500;
/** Creations one by one are timed on so many; the rest comes in transactions of many. */
const TIMED_CREATIONS = 10_000;
const CREATORS = 64;
const BULK = 100;
const UPDATERS = 4;
/** Others that change objects while lists are timed. A second. */
const BACKGROUND_UPDATES = 50;
const MOST_PAGES = 200;
const note = (text) => console.error(text);

const quantile = (values, share) => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
};

async function listens(port) {
  for (;;) {
    const isUp = await new Promise((resolve) => {
      const socket = connectSocket(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (isUp) return;
    await sleep(20);
  }
}

async function startOurs() {
  const grpcPort = await freePort();
  const start = (more) =>
    startServer({ args: ["--grpc-port", String(grpcPort)], env: { JADE_LOG_LEVEL: "warn" }, ...more });
  const first = await start({});
  const admin = new JadeClient({ url: first.url, apiKey: first.rootKey });
  const { apiKey } = await admin.tenants.create({ tenantId: "kubernetes" });
  admin.close();
  await listens(grpcPort);
  const { dataDir, port, rootKey } = first;
  let server = first;
  return {
    name: "ours",
    target: { url: `http://127.0.0.1:${grpcPort}`, auth: { username: "kubernetes", password: apiKey } },
    dataDir,
    groupId: () => server.groupId,
    async restart() {
      await server.stop();
      const beganMs = performance.now();
      server = await start({ dataDir, port, rootKey });
      await listens(grpcPort);
      return beganMs;
    },
    async dispose() {
      await server.stop();
      await first.dispose();
    },
  };
}

async function startPeer() {
  const etcd = await startEtcd();
  if (!etcd) return undefined;
  return {
    name: `etcd ${etcd.version}`,
    target: { url: `http://127.0.0.1:${etcd.port}` },
    dataDir: etcd.dataDir,
    groupId: () => etcd.groupId,
    restart: () => etcd.restart(),
    dispose: () => etcd.dispose(),
  };
}

function diskBytes(directory) {
  return Number(spawnSync("du", ["-s", "--block-size=1", directory], { encoding: "utf8" }).stdout.split("\t")[0]);
}

/** Creations one by one, as an API server makes them; then the rest in transactions of many. */
async function load({ storages, client, side }, keys) {
  const wanted = kindsOf(keys).flatMap(({ name, count }) => Array.from({ length: count }, (_, i) => [name, i]));
  // Kinds are mixed, as they come.
  const all = wanted.map((item, i) => ({ item, at: (i * 7919) % wanted.length })).sort((a, b) => a.at - b.at);
  const eventLease = await storages[0].lease(3600);
  const timed = Math.min(TIMED_CREATIONS, all.length);
  const latenciesMs = [];
  const cpuMs = treeCpuMs(side.groupId());
  const beganMs = performance.now();
  await inParallel(timed, CREATORS, async (i) => {
    const [kind, number] = all[i].item;
    const sentMs = performance.now();
    const isNew = await storages[i % storages.length].create(
      keyOf(kind, number),
      objectOf(),
      kind === "events" ? eventLease : undefined,
    );
    if (!isNew) throw new Error("a creation was refused");
    latenciesMs.push(performance.now() - sentMs);
  });
  const perSecond = (timed / (performance.now() - beganMs)) * 1000;
  const createMs = (treeCpuMs(side.groupId()) - cpuMs) / timed;
  const rest = all.slice(timed);
  const bulkMs = performance.now();
  let done = 0;
  await inParallel(Math.ceil(rest.length / BULK), 8, async (batch) => {
    const items = rest.slice(batch * BULK, (batch + 1) * BULK).map(({ item }) => keyOf(...item));
    const puts = items.map((key) => client.put(key).value(objectOf()));
    const txn = items
      .slice(1)
      .reduce((made, key) => made.and(key, "Mod", "==", 0), client.if(items[0], "Mod", "==", 0));
    const { succeeded } = await txn.then(...puts).commit();
    if (!succeeded) throw new Error("a transaction of creations was refused");
    done += items.length;
    if (done % 50_000 < BULK)
      note(`  ${done + timed} objects after ${Math.round((performance.now() - beganMs) / 1000)} s`);
  });
  const bulkPerSecond = rest.length === 0 ? Number.NaN : (rest.length / (performance.now() - bulkMs)) * 1000;
  const createP99 = quantile(latenciesMs, 0.99);
  return { createdPerSecond: perSecond, createP50: quantile(latenciesMs, 0.5), createP99, createMs, bulkPerSecond };
}

/** Lists all pods in pages, while others change them; and single first pages of namespaces. */
async function lists({ storages, side }, pods) {
  let isOver = false;
  const background = (async () => {
    while (!isOver) {
      const key = keyOf("pods", Math.floor(Math.random() * pods));
      const { mod_revision } = await storages[1].get(key);
      await storages[1].update(key, mod_revision, objectOf());
      await sleep(1000 / BACKGROUND_UPDATES);
    }
  })();
  const pagesMs = [];
  let sentMs = performance.now();
  let listed = 0;
  let isTorn = false;
  let total = 0;
  for await (const { kvs, count } of storages[0].pages("/registry/pods/", PAGE)) {
    if (kvs.length === PAGE) pagesMs.push(performance.now() - sentMs);
    total ||= count;
    isTorn ||= listed + count !== total;
    listed += kvs.length;
    if (pagesMs.length >= MOST_PAGES) break;
    sentMs = performance.now();
  }
  const firstMs = [];
  const cpuMs = treeCpuMs(side.groupId());
  for (let i = 0; i < 30; i++) {
    const beganMs = performance.now();
    for await (const { count } of storages[0].pages("/registry/pods/", PAGE)) {
      firstMs.push(performance.now() - beganMs);
      isTorn ||= count !== total;
      break;
    }
  }
  const pageMs = (treeCpuMs(side.groupId()) - cpuMs) / firstMs.length;
  isOver = true;
  await background;
  if (isTorn || total !== pods) throw new Error(`a list was not one revision's: ${listed} of ${total}, ${pods} pods`);
  const figures = (name, values) => ({ [`${name}P50`]: quantile(values, 0.5), [`${name}P99`]: quantile(values, 0.99) });
  return { ...figures("page", pagesMs), ...figures("first", firstMs), pages: pagesMs.length, pageMs };
}

/** Changes of watched pods in sequence by a few, while all watches are open. */
async function updates({ storages, options, side }, watchers, { watches, pods }) {
  const { toldOf, watched } = watchPlan({ watches, pods });
  const openedMs = performance.now();
  await watchers.ask({ open: { target: side.target, watches, pods } });
  const openMs = performance.now() - openedMs;
  note(`  ${watches} watches after ${Math.round(openMs)} ms`);
  await sleep(1000);
  const latenciesMs = [];
  let owed = 0;
  const cpuMs = treeCpuMs(side.groupId());
  const beganMs = performance.now();
  const endMs = beganMs + options.seconds * 1000;
  await Promise.all(
    Array.from({ length: UPDATERS }, async (_, updater) => {
      while (performance.now() < endMs) {
        const i = updater + UPDATERS * Math.floor((Math.random() * watched) / UPDATERS);
        const key = keyOf("pods", i);
        const { mod_revision } = await storages[updater % storages.length].get(key);
        const sentMs = performance.now();
        const { revision } = await storages[updater % storages.length].update(key, mod_revision, objectOf());
        if (!revision) throw new Error("an update was refused");
        latenciesMs.push(performance.now() - sentMs);
        owed += toldOf(i);
      }
    }),
  );
  const perSecond = (latenciesMs.length / (performance.now() - beganMs)) * 1000;
  const taken = await watchers.ask({ take: { owed } });
  const serverMs = (treeCpuMs(side.groupId()) - cpuMs) / latenciesMs.length;
  const memoryBytes = treeMemoryBytes(side.groupId());
  await watchers.ask({ close: true });
  const isExact = taken.events === owed && taken.outOfOrder === 0;
  if (!isExact) note(`  ${taken.events} deliveries of ${owed}, ${taken.outOfOrder} out of order`);
  return {
    ...{ openMs, perSecond, updateP50: quantile(latenciesMs, 0.5), updateP99: quantile(latenciesMs, 0.99) },
    ...{ deliveries: owed, deliveryP50: quantile(taken.latenciesMs, 0.5), memoryBytes, serverMs, isExact },
    deliveryP99: quantile(taken.latenciesMs, 0.99),
  };
}

/** From the start of the process to the first page. */
async function coldWake(side) {
  const beganMs = await side.restart();
  const readyMs = performance.now() - beganMs;
  const client = connect(side.target);
  for await (const _ of new ObjectStorage(client).pages("/registry/pods/", PAGE)) break;
  client.close();
  return { wakeMs: performance.now() - beganMs, readyMs };
}

async function replay(options, side, size) {
  const pods = kindsOf(size.keys)[0].count;
  const clients = Array.from({ length: 4 }, () => connect(side.target));
  const bench = { options, side, client: clients[0], storages: clients.map((client) => new ObjectStorage(client)) };
  const watchers = startWatchers();
  try {
    note(`${side.name}: ${size.keys} objects, ${size.watches} watches`);
    const loaded = await load(bench, size.keys);
    note(`  created ${Math.round(loaded.createdPerSecond)} a second`);
    const loadedBytes = { memoryLoaded: treeMemoryBytes(side.groupId()), diskBytes: diskBytes(side.dataDir) };
    const listed = await lists(bench, pods);
    note(`  page of ${PAGE}: p50 ${listed.pageP50.toFixed(1)} ms, p99 ${listed.pageP99.toFixed(1)} ms`);
    const updated = await updates(bench, watchers, { watches: size.watches, pods });
    for (const client of clients.splice(0)) client.close();
    const woken = await coldWake(side);
    note(`  first page ${Math.round(woken.wakeMs)} ms after the start`);
    return { ...loaded, ...loadedBytes, ...listed, ...updated, ...woken };
  } finally {
    watchers.dispose();
    for (const client of clients) client.close();
  }
}

/** What is told, and of what. `ratio` is ours to etcd's. */
const FIGURES = [
  { id: "create", title: "creations, 64 in flight", unit: "operations/s", of: "createdPerSecond" },
  { id: "create-cpu", title: "CPU of the server a creation", unit: "ms", of: "createMs" },
  { id: "create-bulk", title: "creations, 100 a transaction", unit: "objects/s", of: "bulkPerSecond" },
  { id: "page-p50", title: "page of 500, continued at an old revision: p50", unit: "ms", of: "pageP50" },
  { id: "page-p99", title: "… p99", unit: "ms", of: "pageP99" },
  { id: "first-p50", title: "first page of 500 of all pods, with count: p50", unit: "ms", of: "firstP50" },
  { id: "first-p99", title: "… p99", unit: "ms", of: "firstP99" },
  { id: "page-cpu", title: "CPU of the server a page", unit: "ms", of: "pageMs" },
  { id: "watch-open", title: "all watches opened", unit: "ms", of: "openMs" },
  { id: "update", title: "updates, 4 in sequence, watches open", unit: "operations/s", of: "perSecond" },
  { id: "update-p50", title: "update beside open watches: p50", unit: "ms", of: "updateP50" },
  { id: "update-p99", title: "… p99", unit: "ms", of: "updateP99" },
  { id: "update-cpu", title: "CPU of the server an update, deliveries included", unit: "ms", of: "serverMs" },
  { id: "delivery-p50", title: "update to delivery: p50", unit: "ms", of: "deliveryP50" },
  { id: "delivery-p99", title: "… p99", unit: "ms", of: "deliveryP99", target: DELIVERY_TARGET_MS },
  { id: "memory", title: "resident memory, loaded", unit: "MiB", of: "memoryLoaded", scale: 2 ** -20 },
  { id: "memory-watched", title: "resident memory, watches open", unit: "MiB", of: "memoryBytes", scale: 2 ** -20 },
  { id: "disk", title: "files on disk, loaded", unit: "MiB", of: "diskBytes", scale: 2 ** -20 },
  { id: "cold-wake", title: "start of the process to the first page", unit: "ms", of: "wakeMs" },
];

function rowsOf(prefix, ours, peer) {
  return FIGURES.map(({ id, title, unit, of, scale = 1, target = null }) => {
    const value = ours[of] * scale;
    const baseline = peer ? peer[of] * scale : Number.NaN;
    const isReached = target === null || value < target;
    const ok = isReached && (!id.startsWith("delivery") || ours.isExact);
    return { id: `${prefix}-${id}`, title, value, unit, baseline, ratio: value / baseline, target, ok };
  });
}

async function withSide(start, run) {
  const side = await start();
  if (!side) return undefined;
  try {
    return await run(side);
  } finally {
    await side.dispose();
  }
}

export async function run(options) {
  const size = { keys: Number(options.keys === "mixed" ? 500_000 : options.keys), watches: Number(options.watches) };
  if (!(size.keys >= 1000) || !(size.watches >= 100)) {
    console.error("--keys must be a number from 1000, --watches from 100");
    return 2;
  }
  await buildAll({ quiet: true });
  note(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}`);
  const rows = [];
  if (!options.only || options.only.includes("small")) {
    const peer = await withSide(startPeer, (side) => replay(options, side, SMALL));
    if (!peer) note("etcd: not installed (apt-get install etcd-server); nothing to compare with");
    const ours = await withSide(startOurs, (side) => replay(options, side, SMALL));
    rows.push(...rowsOf("small", ours, peer));
  }
  if (!options.only || options.only.includes("full")) {
    const ours = await withSide(startOurs, (side) => replay(options, side, size));
    rows.push(...rowsOf("full", ours));
  }
  printComparison(rows);
  if (options.json) {
    const results = rows.map(({ title, ...row }) => row);
    console.log(JSON.stringify({ suite: "kubernetes", ...size, results }));
  }
  return rows.every(({ ok }) => ok) ? 0 : 1;
}
