// `npm run faults`: a real cluster under faults drawn from a seed, its clients' histories judged.
//   npm run faults -- --minutes 10 --seed 1 [--instances 3] [--only "kill an instance,cut from both"] [--loopback]
//   npm run faults -- --lose-one      one of four is gone for good, under `cluster.replacePolicy: act`
//   npm run faults -- --stop-each     each of three is asked to end, and what that costs
// As root on Linux each instance has a network, a disk and a clock of its own; what a machine does not permit is told, and those kinds left out.
// Ctrl-C ends the faults, and what was done is judged; twice ends at once.
// Exit: 0 = nothing acknowledged was lost and everything came back; 1 = a problem; 2 = cannot start.

import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run faults`);
  process.exit(2);
}
const { Faults } = await import("./faults/run.ts");
const { KINDS, needOf } = await import("./faults/plan.ts");
const { refusals } = await import("./faults/machines.ts");
const { availabilityLines, tableOf } = await import("./faults/report.ts");

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1e6) },
    instances: { type: "string", default: "3" },
    loopback: { type: "boolean", default: false },
    only: { type: "string" },
    "no-build": { type: "boolean", default: false },
    "lose-one": { type: "boolean", default: false },
    "stop-each": { type: "boolean", default: false },
  },
});
if (values["stop-each"]) {
  const { stopEach } = await import("./faults/stops.ts");
  if (!values["no-build"]) await buildAll({ quiet: true });
  await stopEach({ report: (line) => console.log(line) });
  process.exit(0);
}
if (values["lose-one"]) {
  const { loseOne } = await import("./faults/lost.ts");
  if (!values["no-build"]) await buildAll({ quiet: true });
  const problems = await loseOne({ keys: 1000, report: (line) => console.log(line) });
  for (const problem of problems) console.error(`FAILED  ${problem}`);
  console.log(problems.length === 0 ? "ok: every key is there" : `${problems.length} problems`);
  process.exit(problems.length === 0 ? 0 : 1);
}
const kinds = values.only?.split(",").map((text) => text.trim());
const unknown = kinds?.find((kind) => !KINDS.includes(kind));
if (unknown !== undefined) {
  console.error(`there is no fault "${unknown}"; there are: ${KINDS.join(", ")}`);
  process.exit(2);
}
const refused = refusals();
if (values.loopback) refused.network ??= "--loopback was given";
for (const [own, why] of Object.entries(refused)) {
  const without = (kinds ?? KINDS).filter((kind) => needOf(kind) === own);
  if (without.length > 0) console.log(`no ${own} for each instance (${why}): without ${without.join(", ")}`);
}
if ((kinds ?? KINDS).every((kind) => Object.hasOwn(refused, needOf(kind) ?? ""))) process.exit(2);
if (!values["no-build"]) await buildAll({ quiet: true });
console.log(`faults: ${values.minutes} minutes, seed ${values.seed}, ${values.instances} instances`);
const run = new Faults({
  minutes: Number(values.minutes),
  seed: Number(values.seed),
  instances: Number(values.instances),
  isOnLoopback: values.loopback,
  refused: new Set(Object.keys(refused)),
  kinds,
  report: (line) => console.log(line),
});
process.once("SIGTERM", () => process.exit(1));
process.once("SIGINT", () => {
  console.log("no more faults: what was done is judged (once more to end at once)");
  run.end();
  process.once("SIGINT", () => process.exit(1));
});
await run.run();
if (run.costs.length > 0) {
  console.log("\nlongest time without a good answer in seconds, at the instances that were not hurt / at all:");
  for (const line of [...tableOf(run.costs), "", ...availabilityLines(run.costs)]) console.log(line);
}
console.log(JSON.stringify(run.counts));
for (const problem of run.problems) console.error(`FAILED  ${problem}`);
console.log(run.problems.length === 0 ? "ok: nothing lost, doubled, back or wrong" : `${run.problems.length} problems`);
process.exit(run.problems.length === 0 ? 0 : 1);
