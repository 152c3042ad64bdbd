// `npm run crash`: random kill -9 rounds with a checker over acknowledged writes (scripts/crash/rounds.ts).
//   npm run crash -- --config --writes 10000 --kills 10     the configuration store (scripts/crash/config/run.ts)
//   npm run crash -- --vectors --rounds 20 --max-load-ms 15000     vectors under each durability (scripts/crash/vectors/run.ts)
//   npm run crash -- --rounds 200 --seed 1 [--blobs disk] [--damage-every 3]
// Exit: 0 = nothing lost, doubled, back or wrong; 1 = something was; 2 = cannot start.

import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run crash`);
  process.exit(2);
}
const { CrashRounds } = await import("./crash/rounds.ts");
const { ConfigCrash } = await import("./crash/config/run.ts");
const { VectorCrash } = await import("./crash/vectors/run.ts");

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1e6) },
    blobs: { type: "string", default: "sqlite" },
    lanes: { type: "string", default: "24" },
    "damage-every": { type: "string", default: "3" },
    "max-load-ms": { type: "string", default: "1200" },
    config: { type: "boolean", default: false },
    vectors: { type: "boolean", default: false },
    writes: { type: "string", default: "10000" },
    kills: { type: "string", default: "10" },
  },
});
await buildAll({ quiet: true });
const began = performance.now();
const run = values.config ? configRun() : values.vectors ? vectorsRun() : roundsRun();
const { problems, ...counts } = await run.run();
console.log(JSON.stringify({ ...counts, seconds: Math.round((performance.now() - began) / 1000) }));
for (const problem of problems) console.error(`FAILED  ${problem}`);
console.log(problems.length === 0 ? "ok: nothing lost, doubled, back or wrong" : `${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);

function configRun() {
  console.log(`crash of the configuration store: ${values.writes} writes, ${values.kills} kills, seed ${values.seed}`);
  return new ConfigCrash({
    writes: Number(values.writes),
    kills: Number(values.kills),
    seed: Number(values.seed),
    lanes: Number(values.lanes),
    report: (line) => console.log(line),
  });
}

function vectorsRun() {
  console.log(`crash of the vector store: ${values.rounds} rounds, seed ${values.seed}`);
  return new VectorCrash({
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    maxLoadMs: Number(values["max-load-ms"]),
    report: (line) => console.log(line),
  });
}

function roundsRun() {
  console.log(`crash rounds: ${values.rounds}, seed ${values.seed}, blobs ${values.blobs}`);
  return new CrashRounds({
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    blobStore: values.blobs === "disk" ? "disk" : "sqlite",
    lanes: Number(values.lanes),
    damageEvery: Number(values["damage-every"]),
    maxLoadMs: Number(values["max-load-ms"]),
    report: (line) => console.log(line),
  });
}
