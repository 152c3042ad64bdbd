// `npm run simulate`: the replication protocol over many seeded schedules of faults (test/simulation).
// Usage: npm run simulate -- [--seeds N] [--from S] [--workers W] [--sabotage NAME | --planted] [--replay SEED[:EVENT,EVENT…]]
//   --world quorum            the kind of schedules (test/simulation/worlds.ts): quorum, filling, factor, ring or purge; --planted takes all
//   --seeds 10000 --from 1    runs these seeds; a failing one is cut down and told; exit 1
//   --sabotage NAME           with this planted mistake: prints the seed that catches it, cut down; exit 1 when none does
//   --planted                 the table of all planted mistakes, each with the first seed that catches it; exit 1 when one is missed
//   --replay 411:43,57        one seed, with only these events, and its trace; exit 1 when it fails
//   --background              at the lowest priority

import { availableParallelism, constants, setPriority } from "node:os";
import { parseArgs } from "node:util";
import { explain, replay } from "../test/simulation/replay.ts";
import { PLANTED } from "../test/simulation/sabotage.ts";
import { sweep } from "../test/simulation/sweep.ts";
import { WORLDS } from "../test/simulation/worlds.ts";

const PROGRESS_EVERY_MS = 5000;
/** Every planted mistake is caught within so many seeds; all but two within 2 000. */
const PLANTED_WITHIN = 4000;

const { values } = parseArgs({
  options: {
    world: { type: "string" },
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    sabotage: { type: "string" },
    planted: { type: "boolean", default: false },
    replay: { type: "string" },
    background: { type: "boolean", default: false },
  },
});
// Before there are threads: they inherit it.
if (values.background) setPriority(constants.priority.PRIORITY_LOW);

function wholeNumber(name, text) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} is ${text}; it must be a whole number`);
  process.exit(2);
}

const count = wholeNumber("seeds", values.seeds ?? "10000");
const from = wholeNumber("from", values.from);
const workers = Math.max(1, wholeNumber("workers", values.workers));
const world = values.world ?? "quorum";
if (!WORLDS[world]) {
  console.error(`--world is ${world}; it must be one of ${Object.keys(WORLDS).join(", ")}`);
  process.exit(2);
}
if (values.sabotage !== undefined && !WORLDS[world].planted.includes(values.sabotage)) {
  console.error(`no planted mistake "${values.sabotage}"; there are:\n  ${WORLDS[world].planted.join("\n  ")}`);
  process.exit(2);
}
if (values.replay !== undefined && world !== "quorum") {
  console.error("--replay is for quorum schedules: the others are not data, and cannot be cut down");
  process.exit(2);
}

const sabotage = values.sabotage === undefined ? undefined : PLANTED[values.sabotage];

async function replayed() {
  const [seed, ids] = values.replay.split(":");
  const chosen = ids?.split(",").map((id) => wholeNumber("replay", id));
  const { trace, problems } = await replay(wholeNumber("replay", seed), chosen, sabotage);
  for (const line of trace) console.log(line);
  for (const problem of problems) console.log(`WRONG: ${problem}`);
  return problems.length === 0;
}

async function planted() {
  const rows = [];
  for (const kind of values.world === undefined ? Object.keys(WORLDS) : [world]) {
    for (const name of WORLDS[kind].planted) {
      const { failed } = await sweep({ world: kind, from, count: PLANTED_WITHIN, workers, sabotage: name });
      const caught = failed[0];
      rows.push(caught);
      const seed = String(caught?.seed ?? "MISSED").padStart(6);
      console.log(`${seed}  ${kind.padEnd(7)}  ${name.padEnd(72)}  ${caught?.problem ?? ""}`);
    }
  }
  console.log(
    `${rows.filter(Boolean).length} of ${rows.length} planted mistakes are caught within ${PLANTED_WITHIN} seeds`,
  );
  return rows.every(Boolean);
}

async function swept() {
  const started = performance.now();
  let printedAt = started;
  const rate = (seedCount) => Math.round(seedCount / ((performance.now() - started) / 1000));
  const { seedCount, failed, counts } = await sweep({
    world,
    from,
    count,
    workers,
    sabotage: values.sabotage,
    onProgress: ({ seedCount: done, failedCount, nextSeed }) => {
      if (performance.now() - printedAt < PROGRESS_EVERY_MS) return;
      printedAt = performance.now();
      const rest = `--from ${nextSeed} --seeds ${from + count - nextSeed}`;
      console.log(`${done} of ${count} seeds, ${rate(done)} a second, ${failedCount} failed; to go on: ${rest}`);
    },
  });
  for (const [name, value] of Object.entries(counts).sort()) console.log(`  ${String(value).padStart(12)}  ${name}`);
  const seconds = Math.round((performance.now() - started) / 1000);
  for (const { seed, problem } of failed) console.log(`seed ${seed}: ${problem}`);
  if (failed[0] && world === "quorum")
    console.log((await explain(failed[0].seed, values.sabotage ? PLANTED[values.sabotage] : undefined)).text);
  console.log(`${seedCount} seeds from ${from} in ${seconds} s (${rate(seedCount)} a second): ${failed.length} failed`);
  return values.sabotage ? failed.length > 0 : failed.length === 0;
}

const run = values.replay !== undefined ? replayed : values.planted ? planted : swept;
process.exit((await run()) ? 0 : 1);
