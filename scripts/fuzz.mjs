// `npm run fuzz`: random requests over every route of the OpenAPI document against a server of its own (docs/fuzzing.md).
//   npm run fuzz -- --requests 1000000 --seed 1 [--only N] [--compare-every 50000] [--sessions SECONDS]
// Exit: 0 = every answer was as it must be; 1 = one was not; 2 = cannot start.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";
import { startServer } from "./lib/server-process.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run fuzz`);
  process.exit(2);
}
const { FuzzRun } = await import("./fuzz/run.ts");
const { fuzzSessions } = await import("./fuzz/sessions.ts");

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "20000" },
    seed: { type: "string", default: String(Date.now() % 1e6) },
    only: { type: "string" },
    "compare-every": { type: "string", default: "50000" },
    sessions: { type: "string", default: "5" },
    "no-build": { type: "boolean", default: false },
  },
});

function wholeNumber(name) {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} is ${values[name]}; it must be a whole number`);
  process.exit(2);
}

const [requests, seed, compareEvery, seconds] = ["requests", "seed", "compare-every", "sessions"].map(wholeNumber);
const only = values.only === undefined ? undefined : wholeNumber("only");
if (!values["no-build"]) await buildAll({ quiet: true });
const server = await startServer({ env: { JADE_LOG_LEVEL: "warn" } });
const report = (line) => console.log(line);
let problems;
try {
  console.log(`fuzz: ${only === undefined ? `${requests} requests` : `request ${only}`}, seed ${seed}, ${server.url}`);
  const { problems: found, ...counts } = await new FuzzRun({
    server,
    requests,
    seed,
    only,
    compareEvery,
    report,
  }).run();
  console.log(JSON.stringify({ ...counts, seconds: Math.round(counts.seconds) }));
  problems = found.length;
  if (only === undefined && seconds > 0) {
    const sessions = await fuzzSessions({ server, seed, seconds, report });
    console.log(JSON.stringify(sessions));
    problems += sessions.problems.length;
  }
} finally {
  if (problems !== 0) console.log(`the server's log ends:\n${readFileSync(server.logPath, "utf8").slice(-6000)}`);
  await server.dispose();
}
console.log(problems === 0 ? "ok: every answer was as it must be" : `${problems} problems`);
process.exit(problems === 0 ? 0 : 1);
