// A follower behind an owner that takes 500 writes a second; and one that has everything to catch up on.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JadeClient } from "../../src/client/index.ts";
import { startServer } from "../lib/server-process.mjs";
import { note, quantile, rowOf, TARGET_MS } from "./lib/watchers.mjs";

const WRITES_PER_SECOND = 500;
const CATCH_UP_KEYS = 20_000;
/** Writes under way while keys are made. */
const AT_ONCE = 64;
/** Of the lag: measured at least so long. Seconds. */
const LEAST_SECONDS = 5;

async function withServer(run) {
  const directory = await mkdtemp(join(tmpdir(), "jade-bench-follower-"));
  const file = join(directory, "jade.yaml");
  await writeFile(file, "config: { serveFromFollowers: true }\n");
  const options = { args: ["--config", file], env: { JADE_LOG_LEVEL: "error" } };
  const bench = { server: await startServer({ ...options, dataDir: join(directory, "data") }), options };
  const admin = new JadeClient({ url: bench.server.url, apiKey: bench.server.rootKey });
  try {
    bench.newClient = async (tenantId) => {
      const { apiKey } = await admin.tenants.create({ tenantId });
      return new JadeClient({ url: bench.server.url, apiKey });
    };
    return await run(bench);
  } finally {
    admin.close();
    await bench.server.dispose();
    await rm(directory, { recursive: true, force: true });
  }
}

/** From the owner's answer to the follower's event. Nothing when the event came first. */
async function measureLag(item, seconds) {
  return withServer(async ({ newClient }) => {
    const client = await newClient("lag");
    const watch = client.config.watch({ prefix: "" });
    await watch.started;
    const [answered, told] = [new Map(), new Map()];
    const reading = (async () => {
      let last = 1;
      for await (const { revision } of watch) {
        if (revision !== last + 1) throw new Error(`revision ${revision} came after ${last}`);
        last = revision;
        told.set(revision, performance.now());
      }
    })();
    const count = Math.max(LEAST_SECONDS, seconds) * WRITES_PER_SECOND;
    const beganMs = performance.now();
    const writes = [];
    for (let sent = 0; sent < count; sent++) {
      const dueMs = beganMs + (sent * 1000) / WRITES_PER_SECOND;
      if (dueMs > performance.now()) await sleep(dueMs - performance.now());
      const put = client.config.put(`k${sent % 1000}`, `${sent}`.padEnd(500));
      writes.push(put.then(({ revision }) => answered.set(revision, performance.now())));
    }
    await Promise.all(writes);
    const tookMs = performance.now() - beganMs;
    while (told.size < count) await Promise.race([sleep(50), reading]);
    watch.close();
    client.close();
    const lags = [...answered].map(([revision, atMs]) => Math.max(0, told.get(revision) - atMs)).sort((a, b) => a - b);
    note(`${item.id}: ${Math.round((count * 1000) / tookMs)} writes a second`);
    const p99Ms = quantile(lags, 0.99);
    return [rowOf({ ...item, value: p99Ms, p50Ms: quantile(lags, 0.5), p99Ms, lastP50Ms: lags.at(-1) })];
  });
}

async function writeKeys(client, times) {
  let next = 0;
  const one = async () => {
    for (let at = next++; at < CATCH_UP_KEYS * times; at = next++)
      await client.config.put(`k${at % CATCH_UP_KEYS}`, `${at}`.padEnd(500));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

/** A follower answers a watch when it is where its owner is. */
async function caughtUpMs(client) {
  const beganMs = performance.now();
  const watch = client.config.watch("none");
  await watch.started;
  watch.close();
  return performance.now() - beganMs;
}

async function measureCatchUp({ id, title }) {
  return withServer(async (bench) => {
    const [log, copy] = [await bench.newClient("log"), await bench.newClient("copy")];
    await writeKeys(log, 1);
    const logMs = await caughtUpMs(log);
    log.close();
    await writeKeys(copy, 2);
    const { revision } = await copy.config.status();
    await copy.config.compact(revision);
    await sleep(5000);
    // What was compacted is no longer in the owner's memory either.
    const { port, rootKey, dataDir } = bench.server;
    await bench.server.stop();
    bench.server = await startServer({ ...bench.options, port, rootKey, dataDir });
    const copyMs = await caughtUpMs(copy);
    copy.close();
    return [
      { id: `${id}-log`, title: `${title} from the log`, unit: "ms", value: logMs, target: null, ok: true },
      { id: `${id}-copy`, title: `${title} from a copy`, unit: "ms", value: copyMs, target: null, ok: true },
    ];
  });
}

export const FOLLOWER_ITEMS = [
  {
    id: "follower-lag",
    title: "follower behind 500 writes a second, from the write's answer",
    ...{ target: TARGET_MS, measure: measureLag },
  },
  { id: "follower-catch-up", title: "a follower takes 20 000 keys of 500 bytes", measure: measureCatchUp },
];
