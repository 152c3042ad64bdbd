// `npm run bench -- <suite> [options]`: runs one benchmark suite.
// Options: --json (ends with one line of JSON), --seconds N (each measured phase), --only a,b (ids), and what the suite adds.

import { parseArgs } from "node:util";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run bench -- kv`);
  process.exit(2);
}

const SUITES = {
  kv: "./kv.mjs",
  storage: "./storage.mjs",
  stages: "./stages.mjs",
  versus: "./versus.mjs",
  config: "./config.mjs",
  watch: "./watch.mjs",
  vector: "./vector.mjs",
  kubernetes: "./kubernetes.mjs",
  leases: "./leases.mjs",
  cluster: "./cluster.mjs",
  embedding: "./embedding.mjs",
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    seconds: { type: "string", default: "5" },
    only: { type: "string" },
    keys: { type: "string", default: "mixed" },
    "old-keys": { type: "string", default: "100000" },
    "cpu-profile": { type: "string" },
    count: { type: "string" },
    samples: { type: "string" },
    data: { type: "string" },
    contests: { type: "string" },
    dimensions: { type: "string" },
    watches: { type: "string", default: "15000" },
    builds: { type: "string", default: "." },
    rounds: { type: "string", default: "5" },
    shards: { type: "string", default: "8" },
  },
});
const [suite = ""] = positionals;
if (!Object.hasOwn(SUITES, suite)) {
  console.error(
    `which suite? npm run bench -- ${Object.keys(SUITES).join(" | ")} [--json] [--seconds N] [--only id,id]`,
  );
  process.exit(2);
}
const seconds = Number(values.seconds);
if (!(seconds > 0)) {
  console.error(`--seconds must be a number above 0, got ${values.seconds}`);
  process.exit(2);
}
const { run } = await import(SUITES[suite]);
process.exitCode = await run({
  ...values,
  seconds,
  only: values.only?.split(","),
  contests: values.contests?.split(","),
  dimensions: values.dimensions?.split(",").map(Number),
  putKeys: values.keys,
  oldCount: Number(values["old-keys"]),
  builds: values.builds.split(","),
  rounds: Number(values.rounds),
  shards: Number(values.shards),
  count: values.count && Number(values.count),
  samples: values.samples && Number(values.samples),
  cpuProfile: values["cpu-profile"],
});
