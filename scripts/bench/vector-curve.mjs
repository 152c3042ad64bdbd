// What a vector costs by rows, dimensions, quantizer and reduction: the indexes of one segment, built and asked in this process.
// Options: --count N (largest number of rows, 100 000), --dimensions 128,768,…, --data DIR (real rows at their dimension), --contests id,id.

import { rerank } from "../../src/vector/rerank.ts";
import { kindBuilder, reducedBuilder } from "../../src/vector/shard/index-kinds.ts";
import { buildAll } from "../build.mjs";
import { lineOf, printLines } from "./lib/report.mjs";
import { exactTruth, openSet } from "./lib/vector-kernel-contenders.mjs";
import { makeRows } from "./lib/vector-rows.mjs";

const K = 10;
const COUNTS = [10_000, 100_000, 1_000_000];
const DIMENSIONS = [128, 768, 1536, 4096];
/** float32 rows that one process holds twice. */
const MOST_BYTES = 900 * 1024 * 1024;
const QUERIES = 100;
const note = (text) => console.error(text);

const half = (dimension) => ({ kind: "pca", dimensions: dimension / (dimension > 128 ? 4 : 2) });
const FORMS = {
  "hnsw-int8": () => ({ kind: "HNSW", quantizer: "int8" }),
  "hnsw-int8-pca": (dimension) => ({ kind: "HNSW", quantizer: "int8", reduction: half(dimension) }),
  "hnsw-int8-random": (dimension) => ({
    ...{ kind: "HNSW", quantizer: "int8", reduction: { ...half(dimension), kind: "random" } },
  }),
  "ivf-rabitq": () => ({ kind: "IVF", quantizer: "rabitq" }),
  "ivf-rabitq-pca": (dimension) => ({ kind: "IVF", quantizer: "rabitq", reduction: half(dimension) }),
  "ivf-pq": () => ({ kind: "IVF", quantizer: "pq" }),
};

/** As a segment's blocks give them: copied when they are asked for. */
function copiedRows({ core, rows }) {
  const [{ at }] = rows.resident;
  const stride = Math.ceil(rows.dimension / 4) * 16;
  return {
    count: rows.count,
    dimension: rows.dimension,
    read: (from, count, into) => core.arena.u8.copyWithin(into, at + from * stride, at + (from + count) * stride),
  };
}

/** CPU seconds of this process. */
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

function measured(opened, set, truth, form) {
  const { core, metric, query } = opened;
  const spec = { name: "default", effort: {}, m: 16, efConstruction: 100, ...form };
  const rows = copiedRows(opened);
  const began = cpuSeconds();
  const builder = (form.reduction ? reducedBuilder : kindBuilder)(core, spec, { rows, metric });
  while (!builder.step({ rows: 64 }));
  const index = builder.finish();
  const buildSeconds = cpuSeconds() - began;
  const ask = (number) => {
    const prepared = query(number);
    const found = index.search(prepared, { k: K, effort: {} });
    return found.isExact ? found.rows : rerank(core, { query: prepared, rows, found, k: K }).rows;
  };
  let hits = 0;
  for (const [number, nearest] of truth.entries()) {
    const right = new Set(nearest);
    for (const row of ask(number)) if (right.has(row)) hits++;
  }
  const searchBegan = cpuSeconds();
  for (let round = 0; round < 3; round++) for (let number = 0; number < truth.length; number++) ask(number);
  const searchMs = ((cpuSeconds() - searchBegan) * 1000) / (3 * truth.length);
  const savedBytes = index.save().reduce((sum, { byteLength }) => sum + byteLength, 0);
  const results = {
    recall: hits / (K * truth.length),
    perSecond: set.count / buildSeconds,
    searchMs,
    memory: index.memoryBytes / set.count,
    disk: savedBytes / set.count + set.dimension * 4,
  };
  index.release();
  core.workspace.release();
  return results;
}

export async function runCurve({ data, count: most = 100_000, dimensions = DIMENSIONS, contests }) {
  await buildAll();
  const lines = [];
  for (const dimension of dimensions) {
    for (const count of COUNTS.filter((rows) => rows <= most)) {
      if (count * dimension * 4 > MOST_BYTES) {
        note(`${count} rows of ${dimension}: more than this process holds, left out`);
        continue;
      }
      const all = makeRows({ data, count, dimension });
      const queries = { ...all.queries, count: Math.min(QUERIES, all.queries.count) };
      note(`${count} rows of ${dimension}: ${all.source}, ${all.real} of them real`);
      const opened = openSet({ base: all, queries });
      const truth = exactTruth(opened, { queries }, K);
      for (const [id, formOf] of Object.entries(FORMS)) {
        if (contests && !contests.includes(id)) continue;
        const { recall, perSecond, searchMs, memory, disk } = measured(opened, all, truth, formOf(dimension));
        const row = (what, value, unit) => lineOf(`curve.${count}.${dimension}.${id}.${what}`, id, value, unit);
        lines.push(row("recall", recall, "recall@10"), row("build", perSecond, "vectors/s of CPU"));
        lines.push(row("search", searchMs, "ms of CPU"), row("memory", memory, "bytes/vector"));
        lines.push(row("disk", disk, "bytes/vector"));
        note(
          `  ${id}: recall ${recall.toFixed(3)}, ${Math.round(perSecond)} built/s, ${searchMs.toFixed(3)} ms, ${memory.toFixed(0)} B in memory, ${disk.toFixed(0)} B on disk a vector`,
        );
      }
    }
  }
  printLines(lines);
  return lines;
}
