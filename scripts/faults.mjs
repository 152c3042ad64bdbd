// `npm run faults`: a real cluster under faults drawn from a seed, its clients' histories judged.
//   npm run faults -- --minutes 10 --seed 1 [--instances 3] [--over-tls] [--only "kill an instance,bucket away for 5 s"]
// Exit: 0 = nothing acknowledged was lost and everything came back; 1 = a problem; 2 = cannot start.

import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run faults`);
  process.exit(2);
}
const { Faults } = await import("./faults/run.ts");
const { KINDS } = await import("./faults/plan.ts");

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1e6) },
    instances: { type: "string", default: "3" },
    "over-tls": { type: "boolean", default: false },
    only: { type: "string" },
  },
});
const kinds = values.only?.split(",").map((text) => text.trim());
const unknown = kinds?.find((kind) => !KINDS.includes(kind));
if (unknown !== undefined) {
  console.error(`there is no fault "${unknown}"; there are: ${KINDS.join(", ")}`);
  process.exit(2);
}
await buildAll({ quiet: true });
console.log(`faults: ${values.minutes} minutes, seed ${values.seed}, ${values.instances} instances`);
const run = new Faults({
  minutes: Number(values.minutes),
  seed: Number(values.seed),
  instances: Number(values.instances),
  overTls: values["over-tls"],
  kinds,
  report: (line) => console.log(line),
});
await run.run();
console.log(JSON.stringify(run.counts));
for (const problem of run.problems) console.error(`FAILED  ${problem}`);
console.log(run.problems.length === 0 ? "ok: nothing lost, doubled, back or wrong" : `${run.problems.length} problems`);
process.exit(run.problems.length === 0 ? 0 : 1);
