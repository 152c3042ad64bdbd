// The vector kernels against npm hnswlib-node and usearch: building, and searching at equal recall, on one thread.
// Rounds are interleaved in one process and measured in CPU time of the process, so that a busy machine tilts no ratio; a ratio is
// the median over rounds, at log-interpolated recall. `--data DIR` holds base.bvecs and query.bvecs; else seeded clusters.

import { existsSync } from "node:fs";
import { join } from "node:path";
import Table from "cli-table3";
import { buildWasm } from "../build-wasm.mjs";
import { clusteredVectors } from "./lib/vector-clusters.mjs";
import { exactTruth, hnswContender, openSet } from "./lib/vector-kernel-contenders.mjs";
import { hnswlibContender, loadPeer, usearchContender } from "./lib/vector-peers.mjs";
import { asFloats, readVectors } from "./lib/vector-sets.mjs";

const K = 10;
const ROUNDS = 9;
const BUILD_SLICES = 20;
/** The first is for what never gets to the others: usearch's i8. */
const RECALLS = [0.9, 0.95, 0.99];
const JUDGED_FROM = 0.95;
const note = (text) => console.error(text);

const CONTESTS = [
  { id: "u8-100k", title: "bytes", rows: 100_000, isFloat: false, target: 4, buildTarget: 5 },
  { id: "f32-100k", title: "floats, codes + re-rank", rows: 100_000, isFloat: true, target: 3, buildTarget: 5 },
  { id: "u8-10k", title: "bytes", rows: 10_000, isFloat: false, target: 2.5, buildTarget: null },
];

export function loadSet({ rows, isFloat }, directory) {
  const isReal = directory !== undefined && existsSync(join(directory, "base.bvecs"));
  const shape = { dimension: 128, clusters: 400, seed: 7 };
  const all = isReal ? undefined : clusteredVectors({ ...shape, count: rows + 500 });
  const cut = (from, to) => ({ ...all, count: to - from, values: all.values.subarray(from * 128, to * 128) });
  const base = isReal ? readVectors(join(directory, "base.bvecs"), rows) : cut(0, rows);
  const queries = isReal ? readVectors(join(directory, "query.bvecs"), 500) : cut(rows, rows + 500);
  const source = isReal ? directory : "seeded clusters";
  return isFloat ? { base: asFloats(base, 11), queries: asFloats(queries, 13), source } : { base, queries, source };
}

function contendersOf(set, opened, { isFloat }, peers) {
  const list = [];
  if (peers.hnswlib !== undefined) list.push(hnswlibContender(peers.hnswlib, set));
  if (peers.usearch !== undefined && !isFloat) list.push(usearchContender(peers.usearch, set));
  const codes = { id: "m16", title: "HNSW int8 M 16 efC 100", m: 16, efConstruction: 100, quantizer: "int8" };
  list.push(hnswContender(opened, codes));
  list.push(hnswContender(opened, { ...codes, id: "m24", title: "HNSW int8 M 24 efC 100", m: 24 }));
  if (isFloat) list.push(hnswContender(opened, { ...codes, id: "f32", title: "HNSW float32 M 16", quantizer: "none" }));
  return list;
}

function cpuMs(work) {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** All contenders build at once, a slice each in turn. Gives CPU milliseconds by id. */
export function buildAll(contenders, rows) {
  const spent = new Map(contenders.map(({ id }) => [id, 0]));
  for (let slice = 0; slice < BUILD_SLICES; slice++) {
    const from = Math.floor((rows * slice) / BUILD_SLICES);
    const to = Math.floor((rows * (slice + 1)) / BUILD_SLICES);
    for (const { id, build } of contenders) spent.set(id, spent.get(id) + cpuMs(() => build(from, to)));
  }
  for (const { built } of contenders) built();
  return spent;
}

function recallAt(contender, ef, truth) {
  contender.prepare(ef);
  let hits = 0;
  for (const [i, nearest] of truth.entries()) {
    const right = new Set(nearest);
    for (const row of contender.search(i, K)) if (right.has(row)) hits++;
  }
  return hits / (truth.length * K);
}

/** The settings on both sides of each recall that is judged: what is measured is interpolated between two. */
export function settingsOf(contender, truth) {
  const curve = contender.efs.map((ef) => ({ ef, recall: recallAt(contender, ef, truth) }));
  const wanted = new Set();
  for (const recall of RECALLS) {
    const above = curve.findIndex((point) => point.recall >= recall);
    if (above < 0) continue;
    wanted.add(above);
    if (above > 0) wanted.add(above - 1);
    else wanted.add(Math.min(1, curve.length - 1));
  }
  return curve.filter((_, i) => wanted.has(i));
}

/** Queries a second of CPU at a recall, between the settings on both sides of it; what is better than all is taken as it is. */
export function speedAt(points, recall) {
  const above = points.findIndex((point) => point.recall >= recall);
  if (above < 0) return undefined;
  const [low, high] = [points[above - 1], points[above]];
  if (low === undefined || high.recall === low.recall) return high.speed;
  const share = (recall - low.recall) / (high.recall - low.recall);
  return Math.exp(Math.log(low.speed) + share * (Math.log(high.speed) - Math.log(low.speed)));
}

export function searchRound(contenders, settings, queryCount) {
  const speeds = new Map(contenders.map(({ id }) => [id, []]));
  for (const contender of contenders) {
    for (const { ef, recall } of settings.get(contender.id)) {
      contender.prepare(ef);
      const ms = cpuMs(() => {
        for (let i = 0; i < queryCount; i++) contender.search(i, K);
      });
      speeds.get(contender.id).push({ recall, speed: (queryCount / ms) * 1000 });
    }
  }
  return speeds;
}

export function median(values) {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted.length === 0 ? undefined : sorted[Math.floor(sorted.length / 2)];
}

function judgeSearch(contest, contenders, rounds) {
  const lines = [];
  for (const { id, title } of contenders) {
    for (const recall of RECALLS) {
      const speeds = rounds.map((round) => speedAt(round.get(id), recall));
      const against = (peer) =>
        median(
          rounds.map((round, i) => ratio(speeds[i], round.has(peer) ? speedAt(round.get(peer), recall) : undefined)),
        );
      const isJudged = id === "m24" && recall >= JUDGED_FROM;
      const byHnswlib = id === "hnswlib" ? undefined : against("hnswlib");
      lines.push({
        id: `kernel.${contest.id}.${id}.recall${recall}`,
        what: `${contest.rows / 1000} k ${contest.title}: recall@10 ≥ ${recall}`,
        contender: title,
        value: median(speeds),
        unit: "queries/s of CPU",
        ratio: byHnswlib,
        usearchRatio: id === "usearch" ? undefined : against("usearch"),
        target: isJudged ? contest.target : null,
        ok: !isJudged || byHnswlib === undefined || byHnswlib >= contest.target,
      });
    }
  }
  return lines;
}

const ratio = (a, b) => (a === undefined || b === undefined ? undefined : a / b);

function judgeBuild(contest, contenders, spent) {
  return contenders.map(({ id, title, memoryBytesPerRow }) => {
    const speed = (contest.rows / spent.get(id)) * 1000;
    const byHnswlib = id === "hnswlib" ? undefined : ratio(spent.get("hnswlib"), spent.get(id));
    const target = id === "m24" ? contest.buildTarget : null;
    return {
      id: `kernel.${contest.id}.${id}.build`,
      what: `${contest.rows / 1000} k ${contest.title}: build`,
      contender: memoryBytesPerRow === undefined ? title : `${title} (${Math.round(memoryBytesPerRow)} B/row)`,
      value: speed,
      unit: "rows/s of CPU",
      ratio: byHnswlib,
      usearchRatio: id === "usearch" ? undefined : ratio(spent.get("usearch"), spent.get(id)),
      target,
      ok: target === null || byHnswlib === undefined || byHnswlib >= target,
    };
  });
}

function runContest(contest, data, peers) {
  const set = loadSet(contest, data);
  note(`${contest.id}: ${set.base.count} rows of ${set.source}`);
  const opened = openSet(set);
  const truth = exactTruth(opened, set, K);
  const contenders = contendersOf(set, opened, contest, peers);
  const spent = buildAll(contenders, set.base.count);
  const settings = new Map(contenders.map((contender) => [contender.id, settingsOf(contender, truth)]));
  const rounds = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const speeds = searchRound(contenders, settings, set.queries.count);
    // The first warms up.
    if (round > 0) rounds.push(speeds);
  }
  for (const { dispose } of contenders) dispose?.();
  return [...judgeBuild(contest, contenders, spent), ...judgeSearch(contest, contenders, rounds)];
}

export const shown = (value, digits = 3) =>
  value === undefined ? "" : value >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(digits));

/** Gives the lines of the report. `contests`: ids to run; all when absent. */
export async function runKernel({ data, contests }) {
  await buildWasm();
  const peers = { hnswlib: loadPeer("hnswlib-node"), usearch: loadPeer("usearch") };
  const lines = [];
  for (const contest of CONTESTS)
    if (contests === undefined || contests.includes(contest.id)) lines.push(...runContest(contest, data, peers));
  const table = new Table({
    head: ["what", "contender", "value", "x hnswlib", "x usearch", "target", "ok"],
    style: { head: [], border: [], compact: true },
  });
  for (const { what, contender, value, unit, ratio, usearchRatio, target, ok } of lines)
    table.push([
      what,
      contender,
      value === undefined ? "not reached" : `${shown(value)} ${unit}`,
      shown(ratio),
      shown(usearchRatio),
      target === null ? "" : `≥ ${target} x hnswlib`,
      ok ? "ok" : "MISSED",
    ]);
  console.log(table.toString());
  return lines;
}
