// More rows than one process holds as float32: 1-bit codes in lists, the vectors themselves on disk. Filling, searches for the top 10 and by threshold, recall.
// Options: --count N rows (10 000 000), --data DIR with base.bvecs and query.bvecs, --seconds N, --shards N (8).

import { availableParallelism } from "node:os";
import { buildAll } from "../build.mjs";
import { atLeast, atMost, lineOf, printLines } from "./lib/report.mjs";
import { openHouse, recallOf } from "./lib/vector-house.mjs";
import { growRows, openBase } from "./lib/vector-rows.mjs";
import { bytesOnDisk } from "./vector-serve.mjs";

const K = 10;
const THRESHOLD = 0.7;
/** Queries whose exact answer is worked out. */
const JUDGED = 50;
const CHUNK = 100_000;
const MOST_MS = 100;
/** Vectors are judged by cosine, as the threshold is a similarity. */
const RECORD = { metric: "cosine", indexType: "IVF", indexParameters: { quantizer: "rabitq" } };
const note = (text) => console.error(text);
const row = (id, ...rest) => lineOf(`large.${id}`, ...rest);

/** Keeps the K most similar rows of each query while rows come by. */
class Truth {
  #dimension;
  #queries;
  #best;

  constructor({ dimension, values, count }) {
    this.#dimension = dimension;
    this.#queries = Array.from({ length: Math.min(JUDGED, count) }, (_, i) =>
      normalized(values, i * dimension, dimension),
    );
    this.#best = this.#queries.map(() => []);
  }

  take(from, values) {
    const dimension = this.#dimension;
    for (let at = 0; at < values.length; at += dimension) {
      const vector = normalized(values, at, dimension);
      for (const [q, query] of this.#queries.entries()) {
        let score = 0;
        for (let i = 0; i < dimension; i++) score += query[i] * vector[i];
        const best = this.#best[q];
        if (best.length === K && score <= best[K - 1].score) continue;
        best.push({ row: from + at / dimension, score });
        best.sort((a, b) => b.score - a.score);
        best.length = Math.min(best.length, K);
      }
    }
  }

  get rows() {
    return this.#best.map((best) => best.filter(({ score }) => score >= THRESHOLD).map((found) => found.row));
  }
}

function normalized(values, at, dimension) {
  const vector = values.slice(at, at + dimension);
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

async function filled(house, { base, count }) {
  const truth = new Truth(base.queries);
  let seconds = 0;
  const began = performance.now();
  for (let from = 0; from < count; from += CHUNK) {
    const to = Math.min(count, from + CHUNK);
    const part = house.ingest({ from, to });
    truth.take(from, growRows(base, from, to));
    seconds += (await part).seconds;
    if (to % 1_000_000 === 0) note(`${to} rows after ${Math.round((performance.now() - began) / 1000)} s`);
  }
  return { truth: truth.rows, perSecond: count / seconds };
}

export async function runLarge({ data, count = 10_000_000, seconds, shards = 8 }) {
  await buildAll();
  const spec = { data, count, isGrown: true };
  const base = openBase(spec);
  note(
    `${count} rows in ${shards} shards: ${base.source}, ${base.count} of them real; ${availableParallelism()} cores`,
  );
  const record = { ...RECORD, sharding: { strategy: "hash", numShards: shards } };
  const house = await openHouse({ spec, record, vectors: { memoryMiB: 1500, storedMiB: 100_000 } });
  try {
    const { truth, perSecond } = await filled(house, { base, count });
    const restSeconds = await house.rest();
    note(`at rest after ${Math.round(restSeconds)} s more`);
    const { rows, memoryBytes, segments } = await house.status();
    const lines = [
      row("ingest", "rows stored, acknowledged, searchable", perSecond, "vectors/s", { ok: rows === count }),
      row("rest", `… until the indexes had caught up, ${segments} segments`, restSeconds, "s"),
      row("memory", "memory of the process above the empty one", house.memoryBytes / count, "bytes/vector"),
      row("memory.own", "… what the shards count", memoryBytes / count, "bytes/vector"),
      row("disk", "data directory", bytesOnDisk(house.dataDir) / count, "bytes/vector"),
    ];
    const threshold = { threshold: THRESHOLD };
    const recall = await recallOf(house, { set: base, truth, ask: threshold });
    lines.push(
      row("recall", `recall@10, similarity of ${THRESHOLD} at least`, recall, "recall", atLeast(recall, 0.95)),
    );
    for (const connections of [1, 4]) {
      const asked = await house.search({ connections, seconds, ask: threshold });
      lines.push(
        row(
          `search.${connections}`,
          `top 10 above ${THRESHOLD}, ${connections} in flight`,
          asked.perSecond,
          "queries/s",
          {
            ok: asked.errors === 0,
          },
        ),
        row(`search.${connections}.p50`, "… p50", asked.p50Ms, "ms"),
        row(
          `search.${connections}.p99`,
          "… p99",
          asked.p99Ms,
          "ms",
          connections === 1 ? atMost(asked.p99Ms, MOST_MS) : {},
        ),
        row(`search.${connections}.cpu`, "… CPU of the server a search", asked.cpuMs, "ms"),
      );
    }
    const beganMs = performance.now();
    await house.restart();
    await house.vectors.search({ vector: base.queries.values.subarray(0, base.dimension) }, { topK: K });
    lines.push(row("wake", "restart and first search", performance.now() - beganMs, "ms"));
    printLines(lines);
    return lines;
  } finally {
    await house.dispose();
  }
}
