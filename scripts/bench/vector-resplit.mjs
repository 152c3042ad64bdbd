// What a re-split gains: recall@10 and the share of shards that searches ask, before, during and after it. Of 24 000 rows the first third is spread evenly over
// 40 places, from which the shards' centroids are learned, the rest is about 3 of them; so are the queries. Shards are scanned: what is lost is lost by sharding.
// Options: --count N rows (24 000).

import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { seededRandom } from "../lib/seeded.mjs";
import { startServer, temporaryDirectory } from "../lib/server-process.mjs";
import { atLeast, atMost, lineOf, printLines } from "./lib/report.mjs";

const K = 10;
const DIMENSION = 64;
const SHARDS = 8;
const PLACES = 40;
const CROWDED = 3;
const QUERIES = 200;
const BATCH = 500;
const row = (id, ...rest) => lineOf(`resplit.${id}`, ...rest);

function skewedRows(count) {
  const random = seededRandom(11);
  const about = () => random() + random() + random() - 1.5;
  const places = Array.from({ length: PLACES }, () => Array.from({ length: DIMENSION }, () => about() * 2));
  const near = (most) => places[Math.floor(random() * most)].map((value) => value + about());
  const rows = Array.from({ length: count }, (_, at) => near(at < count / 3 ? PLACES : CROWDED));
  return { rows, queries: Array.from({ length: QUERIES }, () => near(CROWDED)) };
}

function nearest(rows, query) {
  const distances = rows.map((values) => values.reduce((sum, value, at) => sum + (value - query[at]) ** 2, 0));
  const order = distances.map((_, at) => at).sort((a, b) => distances[a] - distances[b]);
  return new Set(order.slice(0, K).map(String));
}

/** One round of the queries, or until it is over. */
async function measured(vectors, { queries, truth }, isOver = () => false) {
  let [hits, asked, searches] = [0, 0, 0];
  for (const [at, vector] of queries.entries()) {
    const { results, explain } = await vectors.search({ vector }, { topK: K, explain: true });
    hits += results.filter(({ id }) => truth[at].has(id)).length;
    asked += explain.shards.length;
    searches++;
    if (isOver()) break;
  }
  return { hits, asked, searches };
}

function linesOf(when, { hits, asked, searches }, skew) {
  const [recall, share] = [hits / (K * searches), asked / (SHARDS * searches)];
  return [
    row(`${when}.recall`, `recall@10 ${when} (${searches} searches)`, recall, "", atLeast(recall, 0.95)),
    row(`${when}.share`, `share of ${SHARDS} shards asked ${when}`, share, "", atMost(share, 1)),
    ...(skew === undefined ? [] : [row(`${when}.skew`, `greatest shard by the mean ${when}`, skew, "x", {})]),
  ];
}

export async function runResplit({ count = 24_000 }) {
  const settings = await temporaryDirectory("bench");
  const file = join(settings, "jade.yaml");
  await writeFile(file, JSON.stringify({ vectors: { reshardSkew: 0 } }));
  const server = await startServer({ args: ["--config", file] });
  try {
    const root = new JadeClient({ url: server.url, apiKey: server.rootKey });
    const { apiKey } = await root.tenants.create({ tenantId: "bench", replicationFactor: 1 });
    root.close();
    const client = new JadeClient({ url: server.url, apiKey, timeoutMs: 120_000 });
    const sharding = { strategy: "centroid", numShards: SHARDS };
    const record = {
      databaseId: "resplit",
      vectorDimension: DIMENSION,
      metric: "euclidean",
      indexType: "FLAT",
      sharding,
    };
    await client.databases.create(record);
    const vectors = client.vectors("resplit");
    const { rows, queries } = skewedRows(count);
    const set = { queries, truth: queries.map((query) => nearest(rows, query)) };
    const settled = async () => {
      for (;;) {
        const { sharding: now } = await client.databases.status("resplit");
        if (now.state === "active") return now;
        await sleep(200);
      }
    };
    for (let from = 0; from < count; from += BATCH) {
      await vectors.upsertChunk(
        rows.slice(from, from + BATCH).map((values, at) => ({ id: String(from + at), values })),
      );
      if (from > count / 3 && from <= count / 3 + BATCH) await settled();
    }
    const before = await settled();
    // A gateway may take a second to know.
    await sleep(1500);
    const lines = linesOf("before", await measured(vectors, set), before.skew);
    const beganMs = performance.now();
    await client.databases.reshard("resplit");
    let isOver = false;
    const done = (async () => {
      while ((await client.databases.resharding("resplit")).state !== "done") await sleep(100);
      isOver = true;
      return (performance.now() - beganMs) / 1000;
    })();
    const during = { hits: 0, asked: 0, searches: 0 };
    while (!isOver) {
      const part = await measured(vectors, set, () => isOver);
      for (const name of Object.keys(during)) during[name] += part[name];
    }
    lines.push(
      ...linesOf("during", during),
      row("seconds", "the re-split, with searches one after another", await done, "s", {}),
    );
    const after = await settled();
    await sleep(1500);
    lines.push(...linesOf("after", await measured(vectors, set), after.skew));
    client.close();
    printLines(lines);
    return lines;
  } finally {
    await server.dispose();
    await rm(settings, { recursive: true, force: true });
  }
}
