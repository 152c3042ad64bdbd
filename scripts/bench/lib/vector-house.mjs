// A server with one vector database and the process that loads it, for the serving benchmarks.

import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../../src/client/index.ts";
import { startServer, temporaryDirectory, treeCpuMs, treeMemoryBytes } from "../../lib/server-process.mjs";
import { profiled, startInspectedServer } from "./cpu-profile.mjs";
import { startChild } from "./loader.mjs";

const DATABASE = "bench";
/** The database is at rest when its server takes less than this share of a core. */
const REST_SHARE = 0.05;
const REST_LOOK_MS = 500;
const REST_LIMIT_MS = 1_800_000;

/** The same queries come again and again: answers that are remembered would be what is measured. */
const SETTINGS = { resultCacheMiB: 0 };

/**
 * `spec` says which rows (vector-rows.mjs), `record` what the database is, `vectors` what the server's settings are beside the defaults, `build` whose
 * server it is.
 */
export async function openHouse({ spec, record, vectors = {}, cpuProfile: directory, build }) {
  const settings = await temporaryDirectory("bench");
  const file = join(settings, "jade.yaml");
  await writeFile(file, JSON.stringify({ vectors: { ...SETTINGS, ...vectors } }));
  const args = ["--config", file];
  let server = await (directory ? startInspectedServer : startServer)({ args, build });
  const root = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const { apiKey } = await root.tenants.create({ tenantId: "bench", replicationFactor: 1 });
  root.close();
  const client = new JadeClient({ url: server.url, apiKey, timeoutMs: 120_000 });
  const { dimension = 128 } = spec;
  await client.databases.create({ databaseId: DATABASE, vectorDimension: dimension, metric: "euclidean", ...record });
  const load = startChild("vector-load-process.mjs");
  const emptyBytes = treeMemoryBytes(server.groupId);
  return {
    client,
    vectors: client.vectors(DATABASE),
    status: () => client.databases.status(DATABASE),
    get memoryBytes() {
      return treeMemoryBytes(server.groupId) - emptyBytes;
    },
    get dataDir() {
      return server.dataDir;
    },
    ingest: (ask) => load.ask({ kind: "ingest", url: server.url, apiKey, databaseId: DATABASE, spec, ...ask }),
    /** Adds `cpuMs`: of the server, for one search. */
    async search(ask) {
      const began = treeCpuMs(server.groupId);
      const beganMs = performance.now();
      const where = { url: server.url, port: server.port, apiKey, databaseId: DATABASE, spec };
      const work = () => load.ask({ kind: "search", ...where, ...ask });
      const { inspectorPort } = server;
      const name = `${ask.kind ?? "search"}-${ask.connections ?? 1}-${Math.round(beganMs)}`;
      const result = await (inspectorPort
        ? profiled({ inspectorPort, directory, name, note: console.error }, work)
        : work());
      const cores = (treeCpuMs(server.groupId) - began) / (performance.now() - beganMs);
      return { ...result, cpuMs: (cores * 1000) / result.perSecond };
    },
    /** Until indexes are built and merges done. Gives the time it took. Seconds. */
    async rest() {
      const beganMs = performance.now();
      for (;;) {
        const before = treeCpuMs(server.groupId);
        await sleep(REST_LOOK_MS);
        const isAtRest = (treeCpuMs(server.groupId) - before) / REST_LOOK_MS < REST_SHARE;
        if (isAtRest) return (performance.now() - beganMs - REST_LOOK_MS) / 1000;
        if (performance.now() - beganMs > REST_LIMIT_MS) throw new Error("the server does not come to rest");
      }
    },
    /** Ends the server and starts it on the same data. */
    async restart() {
      const { dataDir, port, rootKey } = server;
      await server.stop();
      server = await startServer({ dataDir, port, rootKey, args });
    },
    async dispose() {
      client.close();
      load.dispose();
      await server.dispose();
      await rm(settings, { recursive: true, force: true });
    },
  };
}

/** The share of the exact k nearest that the database finds, over queries. */
export async function recallOf(house, { set, truth, ask = {} }) {
  const { dimension, values } = set.queries;
  let hits = 0;
  let wanted = 0;
  for (const [i, nearest] of truth.entries()) {
    const vector = values.subarray(i * dimension, (i + 1) * dimension);
    const { results } = await house.vectors.search({ vector }, { topK: 10, ...ask });
    const right = new Set(nearest.map((row) => `r${row}`));
    hits += results.filter(({ id }) => right.has(id)).length;
    wanted += nearest.length;
  }
  return wanted === 0 ? 1 : hits / wanted;
}
