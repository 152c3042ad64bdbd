// Do the kernels run in workerd as fast as in Node? The same build and searches in both, in turns, in CPU time of each process.

import { readFileSync } from "node:fs";
import { copyFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { buildWasm } from "../build-wasm.mjs";
import { root } from "../lib/root.mjs";
import { freePort, startGroup, temporaryDirectory, treeCpuMs, waitUntilReady } from "../lib/server-process.mjs";
import { kernelWork } from "./lib/vector-kernel-work.mjs";

const SIZE = { count: 20_000, queryCount: 500 };
const ROUNDS = 9;
const SEARCH = { rounds: 40, ef: 64 };
/** In workerd at least this share of Node's speed. */
const TARGET = 0.85;
const workerd = createRequire(import.meta.url).resolve("workerd/bin/workerd");

function config(port) {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker.js", esModule = embed "worker.js"), (name = "./vector.wasm", wasm = embed "vector.wasm")],
    compatibilityDate = "2026-11-01",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}

/** Over a connection of its own: between two calls Node is busy for longer than workerd keeps one. */
function textOf(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false }, async (response) => {
      const pieces = [];
      for await (const piece of response) pieces.push(piece);
      const text = Buffer.concat(pieces).toString();
      if (response.statusCode === 200) resolve(text);
      else reject(new Error(`${url}: ${response.statusCode} ${text}`));
    });
    request.on("error", reject);
  });
}

async function startWorker() {
  const directory = await temporaryDirectory("kernel");
  const port = await freePort();
  await build({
    entryPoints: [join(root, "scripts/bench/kernel-worker/worker.mjs")],
    outfile: join(directory, "worker.js"),
    bundle: true,
    format: "esm",
    plugins: [
      {
        name: "wasm",
        setup: ({ onResolve }) => onResolve({ filter: /\.wasm$/ }, () => ({ path: "./vector.wasm", external: true })),
      },
    ],
  });
  await copyFile(join(root, "dist/wasm/vector.wasm"), join(directory, "vector.wasm"));
  await writeFile(join(directory, "config.capnp"), config(port));
  const logPath = join(directory, "log");
  const args = ["serve", join(directory, "config.capnp")];
  const group = startGroup({ command: workerd, args, env: {}, logPath });
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady({ url: `${url}/probe`, group, logPath });
  return {
    async cpuMs(path) {
      const before = treeCpuMs(group.groupId);
      const answer = await textOf(`${url}${path}`);
      return { ms: treeCpuMs(group.groupId) - before, answer };
    },
    async dispose() {
      await group.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function inNode(work) {
  const before = process.cpuUsage();
  const answer = String(work());
  const { user, system } = process.cpuUsage(before);
  return { ms: (user + system) / 1000, answer };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

export async function runKernelWorkerd() {
  await buildWasm();
  const worker = await startWorker();
  try {
    const work = kernelWork(new WebAssembly.Module(readFileSync(join(root, "dist/wasm/vector.wasm"))), SIZE);
    await worker.cpuMs(`/open?count=${SIZE.count}&queries=${SIZE.queryCount}`);
    const built = { node: inNode(() => work.build()), workerd: await worker.cpuMs("/build") };
    const search = { node: [], workerd: [] };
    for (let round = 0; round <= ROUNDS; round++) {
      const node = inNode(() => work.search(SEARCH.rounds, SEARCH.ef));
      const there = await worker.cpuMs(`/search?rounds=${SEARCH.rounds}&ef=${SEARCH.ef}`);
      if (there.answer !== node.answer) throw new Error(`workerd finds ${there.answer}, Node ${node.answer}`);
      // The first warms up.
      if (round > 0) for (const [where, { ms }] of Object.entries({ node, workerd: there })) search[where].push(ms);
    }
    const searches = SEARCH.rounds * SIZE.queryCount;
    const ratio = median(search.node.map((ms, i) => ms / search.workerd[i]));
    const lines = [
      {
        what: "build, rows/s of CPU",
        count: SIZE.count,
        ms: built.workerd.ms,
        ratio: built.node.ms / built.workerd.ms,
      },
      { what: "search at ef 64, queries/s of CPU", count: searches, ms: median(search.workerd), ratio },
    ];
    return lines.map(({ what, count, ms, ratio: byNode }, i) => {
      console.log(`in workerd, ${what}: ${Math.round((count / ms) * 1000)}, ${byNode.toFixed(2)} x Node`);
      const target = i === 1 ? TARGET : null;
      const id = `kernel-workerd.${i === 1 ? "search" : "build"}`;
      return {
        id,
        value: (count / ms) * 1000,
        unit: "per s of CPU",
        ratio: byNode,
        target,
        ok: byNode >= (target ?? 0),
      };
    });
  } finally {
    await worker.dispose();
  }
}
