// The vector database as its clients meet it, over HTTP and over the SDK's session on one instance: filling it, searching it at rest, with a thousand connections, and
// while it is filled; then what it takes of memory and disk, and how soon it answers after a restart.
// Options: --count N rows (100 000), --data DIR with base.bvecs and query.bvecs, --seconds N.

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { buildAll } from "../build.mjs";
import { atLeast, atMost, lineOf, printLines } from "./lib/report.mjs";
import { openHouse, recallOf } from "./lib/vector-house.mjs";
import { exactTruth, hnswContender, openSet } from "./lib/vector-kernel-contenders.mjs";
import { makeRows } from "./lib/vector-rows.mjs";

const K = 10;
const IN_FLIGHT = 16;
const CROWD = 1000;
/** From so many rows on a shard is given more memory than by default, and this process builds no graph beside it. */
const MANY_ROWS = 500_000;
const SESSION_TURNS = 2;
/** A search at default effort. */
const KERNEL_EF = 64;
const note = (text) => console.error(text);
const row = (id, ...rest) => lineOf(`serve.${id}`, ...rest);

export function bytesOnDisk(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

/** CPU milliseconds of one search in the kernel alone, over one graph of all rows, in this process. */
function kernelMs(set, opened) {
  const contender = hnswContender(opened, { id: "k", title: "", m: 16, efConstruction: 100, quantizer: "int8" });
  contender.build(0, set.count);
  contender.built();
  contender.prepare(KERNEL_EF);
  const searches = set.queries.count * 5;
  for (let i = 0; i < searches; i++) contender.search(i % set.queries.count, K);
  const before = process.cpuUsage();
  for (let i = 0; i < searches; i++) contender.search(i % set.queries.count, K);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / searches;
}

async function filling(house, count) {
  const filled = await house.ingest({ to: count });
  const restSeconds = await house.rest();
  const perMinute = (count / (filled.seconds + restSeconds)) * 60;
  return [
    row("ingest", "128-d, binary batches: stored, acknowledged, searchable", filled.perSecond, "vectors/s", {
      ...atLeast(filled.perSecond, 10_000),
      ok: filled.perSecond >= 10_000 && filled.failed === 0,
    }),
    row("caught-up", "the same, with the index caught up", perMinute, "vectors/min", atLeast(perMinute, 100_000)),
  ];
}

async function atRest(house, set, seconds) {
  const opened = openSet({ base: set, queries: set.queries });
  const truth = exactTruth(opened, set, K).map((rows) => [...rows]);
  const recall = await recallOf(house, { set, truth });
  const idle = await house.search({ connections: IN_FLIGHT, seconds });
  const session = await inSession(house, { idle, seconds });
  const crowd = await house.search({ connections: CROWD, seconds });
  const kernel = set.count < MANY_ROWS ? kernelMs(set, opened) : Number.NaN;
  const { segments } = await house.status();
  const lines = [
    row("recall", `recall@10, default effort, ${segments} segments`, recall, "recall", atLeast(recall, 0.95)),
    row("search", `top 10, ${IN_FLIGHT} in flight`, idle.perSecond, "queries/s", { ok: idle.errors === 0 }),
    row("search.p50", "… p50", idle.p50Ms, "ms"),
    row("search.p99", "… p99", idle.p99Ms, "ms", set.count >= 1_000_000 ? atMost(idle.p99Ms, 50) : {}),
    row("search.cpu", "… CPU of the server a search", idle.cpuMs, "ms"),
    row("search.kernel", "… of that in the kernel (one graph, in Node)", kernel / idle.cpuMs, "share"),
    ...session,
    row("crowd", `top 10, ${CROWD} connections`, crowd.perSecond, "queries/s", { ok: crowd.errors === 0 }),
    row("crowd.p99", "… p99", crowd.p99Ms, "ms"),
    row("crowd.errors", "… refused or failed", crowd.errors, "answers", atMost(crowd.errors, 0)),
  ];
  return { lines, idle };
}

/** The same searches in one session, in turns with HTTP: what else the machine does then weighs on both. */
async function inSession(house, { idle, seconds }) {
  const turns = [idle];
  const session = [];
  for (let turn = 0; turn < SESSION_TURNS; turn++) {
    if (turn > 0) turns.push(await house.search({ connections: IN_FLIGHT, seconds }));
    session.push(await house.search({ kind: "searchSession", inFlight: IN_FLIGHT, seconds }));
  }
  const mean = (results, name) => results.reduce((sum, result) => sum + result[name], 0) / results.length;
  const perSecond = mean(session, "perSecond");
  const errors = session.reduce((sum, result) => sum + result.errors, 0);
  return [
    row("session", `top 10 in one session, ${IN_FLIGHT} in flight`, perSecond, "queries/s", { ok: errors === 0 }),
    row("session.p50", "… p50", mean(session, "p50Ms"), "ms"),
    row("session.p99", "… p99", mean(session, "p99Ms"), "ms"),
    row("session.cpu", "… CPU of the server a search", mean(session, "cpuMs"), "ms"),
    row("session.ratio", "… against HTTP: searches a second", perSecond / mean(turns, "perSecond"), "x"),
    row("session.cpu-ratio", "… against HTTP: CPU a search", mean(session, "cpuMs") / mean(turns, "cpuMs"), "x"),
  ];
}

/** Searches while rows come at full speed. */
async function meanwhile(house, { from, to, idle, seconds, count }) {
  let isFilled = false;
  const filled = house.ingest({ from, to }).then((result) => {
    isFilled = true;
    return result;
  });
  const during = await house.search({ connections: IN_FLIGHT, seconds, warmupSeconds: 0.5 });
  if (isFilled) note("the rows were all in before the searches ended: give more rows (--count) or fewer --seconds");
  const { perSecond } = await filled;
  const bound = count >= 1_000_000 ? { ...atMost(during.p99Ms, 100) } : {};
  const ratio = during.p99Ms / idle.p99Ms;
  return [
    row("during.p99", `top 10, ${IN_FLIGHT} in flight, while rows come: p99`, during.p99Ms, "ms", bound),
    row("during.ratio", "… against at rest", ratio, "x", atMost(ratio, 3)),
    row("during.search", "… searches", during.perSecond, "queries/s", { ok: during.errors === 0 }),
    row("during.ingest", "… rows stored", perSecond, "vectors/s"),
  ];
}

async function footprint(house, set) {
  await house.rest();
  // Of the shard's WASM memory; its indexes are in it.
  const { rows, memoryBytes } = await house.status();
  const disk = bytesOnDisk(house.dataDir) / rows;
  const memory = house.memoryBytes / rows;
  await house.restart();
  const beganMs = performance.now();
  await house.vectors.search({ vector: set.queries.values.subarray(0, set.dimension) }, { topK: K });
  const wakeMs = performance.now() - beganMs;
  return [
    row("memory", "memory of the process above the empty one", memory, "bytes/vector"),
    row("memory.own", "… what the shard counts", memoryBytes / rows, "bytes/vector"),
    row("disk", "data directory", disk, "bytes/vector"),
    row("wake", "first search after a restart", wakeMs, "ms"),
  ];
}

export async function runServe({ data, count = 100_000, seconds, cpuProfile }) {
  await buildAll();
  const extra = Math.max(20_000, Math.round(15_000 * seconds));
  const spec = { data, count: count + extra };
  const all = makeRows(spec);
  const set = { ...all, count, values: all.values.subarray(0, count * all.dimension) };
  note(`${count} rows and ${extra} for later: ${all.source}, ${all.real} of them real`);
  const house = await openHouse({
    spec,
    record: {},
    vectors: count < MANY_ROWS ? {} : { memoryMiB: 3000 },
    cpuProfile,
  });
  try {
    const lines = await filling(house, count);
    const rest = await atRest(house, set, seconds);
    lines.push(...rest.lines);
    lines.push(...(await meanwhile(house, { from: count, to: count + extra, idle: rest.idle, seconds, count })));
    lines.push(...(await footprint(house, all)));
    printLines(lines);
    return lines;
  } finally {
    await house.dispose();
  }
}

/** 768 values a vector: filling only. */
export async function runWide({ seconds }) {
  await buildAll();
  const count = 20_000;
  const house = await openHouse({ spec: { count, dimension: 768 }, record: {} });
  try {
    const filled = await house.ingest({ to: count, chunkVectors: 500 });
    const restSeconds = await house.rest();
    const idle = await house.search({ connections: IN_FLIGHT, seconds });
    const perMinute = (count / (filled.seconds + restSeconds)) * 60;
    const lines = [
      row("ingest-768", "768-d, binary batches: stored, acknowledged, searchable", filled.perSecond, "vectors/s"),
      row("caught-up-768", "the same, with the index caught up", perMinute, "vectors/min", atLeast(perMinute, 100_000)),
      row("search-768", `768-d top 10, ${IN_FLIGHT} in flight`, idle.perSecond, "queries/s"),
      row("search-768.p99", "… p99", idle.p99Ms, "ms"),
    ];
    printLines(lines);
    return lines;
  } finally {
    await house.dispose();
  }
}
