// Builds against each other on a busy machine: the same items of `bench -- kv` in turns, judged by the server's CPU an operation
// (utime + stime of all its processes), which other work on the machine changes far less than the rate. Flushes and merges that an
// item leaves behind count for it. `--builds a,b`: checkouts that have been built; the first is the one that others are compared with.
// Options: --only ids, --rounds N, --seconds N (of a phase).

import { resolve } from "node:path";
import { JadeClient } from "../../src/client/index.ts";
import { startServer, treeCpuMs } from "../lib/server-process.mjs";
import { ITEMS, VALUE_BYTES } from "./kv-items.mjs";
import { settle, startLoader } from "./lib/loader.mjs";

const LIVE_KEYS = 20_000;
const NEW_KEYS = 2_000;
const note = (text) => console.error(text);

async function prepare(loader, build, oldCount) {
  const server = await startServer({ build, env: { JADE_LOG_LEVEL: "warn" } });
  const admin = new JadeClient({ url: server.url, apiKey: server.rootKey });
  const apiKeys = {};
  for (const [tenantId, replicationFactor] of [
    ["rf3", 3],
    ["rf1", 1],
  ]) {
    const { apiKey } = await admin.tenants.create({ tenantId: `bench-${tenantId}`, replicationFactor });
    apiKeys[tenantId] = apiKey;
    const load = { port: server.port, apiKey, valueBytes: VALUE_BYTES };
    if (tenantId === "rf3") await loader.preload({ ...load, prefix: "old-", count: oldCount });
    await loader.preload({ ...load, prefix: "live-", count: LIVE_KEYS });
  }
  admin.close();
  return { build, server, apiKeys };
}

/** CPU of the server in µs an operation: while it is asked, and with what it leaves to be done. */
async function measure(loader, { server, apiKeys }, item, phase) {
  const { port, groupId } = server;
  const apiKey = apiKeys[item.tenant];
  if (item.op === "get")
    await loader.preload({ port, apiKey, prefix: "new-", count: NEW_KEYS, valueBytes: VALUE_BYTES });
  await settle(groupId);
  const before = treeCpuMs(groupId);
  const { seconds } = phase;
  const { perSecond, errors, firstError } = await loader.phase(
    { ...item, ...phase, valueBytes: VALUE_BYTES, warmupSeconds: 0, port, apiKey },
    groupId,
  );
  if (errors > 0) throw new Error(`${item.id}: ${errors} failed, first: ${firstError}`);
  const asked = treeCpuMs(groupId) - before;
  await settle(groupId);
  return { operations: perSecond * seconds, askedMs: asked, allMs: treeCpuMs(groupId) - before, perSecond };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const sum = (runs, field) => runs.reduce((total, run) => total + run[field], 0);
/** µs an operation. */
const cost = (runs, field) => (sum(runs, field) * 1000) / sum(runs, "operations");

/** The mean counts merges of all rounds, the median those of most. */
function print(item, measured) {
  let first;
  for (const [build, runs] of measured) {
    const each = runs.map((run) => cost([run], "allMs"));
    const result = { median: median(each), mean: cost(runs, "allMs"), asked: cost(runs, "askedMs") };
    first ??= result;
    const x = (field) => `${result[field].toFixed(1)} µs (${(result[field] / first[field]).toFixed(3)} x)`;
    console.log(
      `${item.id.padEnd(16)} median ${x("median")}, mean ${x("mean")}, while asked ${result.asked.toFixed(1)}; ` +
        `${(sum(runs, "perSecond") / runs.length).toFixed(0)}/s  ${build}  [${each.map((us) => us.toFixed(0)).join(" ")}]`,
    );
  }
}

export async function run({ builds, only, rounds, seconds, oldCount, putKeys }) {
  const items = ITEMS.filter(({ id }) => !only || only.includes(id));
  const loader = startLoader();
  const servers = [];
  try {
    for (const build of builds) servers.push(await prepare(loader, resolve(build), oldCount));
    for (const item of items) {
      const measured = new Map(servers.map(({ build }) => [build, []]));
      for (let round = 0; round <= rounds; round++) {
        const keys = {
          putKeys,
          oldCount,
          liveCount: LIVE_KEYS,
          newCount: NEW_KEYS,
          seed: round,
          run: `${item.id}-${round}`,
        };
        for (const server of servers) {
          const result = await measure(loader, server, item, { seconds, keys });
          if (round > 0) measured.get(server.build).push(result); // the first warms up
        }
        note(`${item.id} ${round}`);
      }
      print(item, measured);
    }
    return 0;
  } finally {
    loader.dispose();
    await Promise.all(servers.map(({ server }) => server.dispose()));
  }
}
