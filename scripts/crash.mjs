// `npm run crash`: random kill -9 rounds with a checker over acknowledged writes (scripts/crash/rounds.ts).
//   npm run crash -- --rounds 200 --seed 1 [--blobs disk] [--damage-every 3]
// Exit: 0 = nothing lost, doubled, back or wrong; 1 = something was; 2 = cannot start.

import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run crash`);
  process.exit(2);
}
const { CrashRounds } = await import("./crash/rounds.ts");

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1e6) },
    blobs: { type: "string", default: "sqlite" },
    lanes: { type: "string", default: "24" },
    "damage-every": { type: "string", default: "3" },
    "max-load-ms": { type: "string", default: "1200" },
  },
});
await buildAll({ quiet: true });
console.log(`crash rounds: ${values.rounds}, seed ${values.seed}, blobs ${values.blobs}`);
const began = performance.now();
const run = new CrashRounds({
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  blobStore: values.blobs === "disk" ? "disk" : "sqlite",
  lanes: Number(values.lanes),
  damageEvery: Number(values["damage-every"]),
  maxLoadMs: Number(values["max-load-ms"]),
  report: (line) => console.log(line),
});
const { problems, ...counts } = await run.run();
console.log(JSON.stringify({ ...counts, seconds: Math.round((performance.now() - began) / 1000) }));
for (const problem of problems) console.error(`FAILED  ${problem}`);
console.log(problems.length === 0 ? "ok: nothing lost, doubled, back or wrong" : `${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
