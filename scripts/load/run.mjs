// `npm run load [-- --only a,b] [--seconds N] [--json]`: drives a server of its own beyond what it can do, and checks that it holds.
// Each scenario gives checks {what, value, limit, ok}; the exit code is 0 when all are ok.

import { parseArgs } from "node:util";
import Table from "cli-table3";
import { buildAll } from "../build.mjs";
import { startServer } from "../lib/server-process.mjs";
import { SCENARIOS } from "./scenarios.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run load`);
  process.exit(2);
}

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    seconds: { type: "string", default: "10" },
    json: { type: "boolean", default: false },
  },
});
const only = values.only?.split(",");
const unknown = only?.filter((name) => !Object.hasOwn(SCENARIOS, name)) ?? [];
const seconds = Number(values.seconds);
if (unknown.length > 0 || !(seconds > 0)) {
  console.error(`--only knows ${Object.keys(SCENARIOS).join(", ")}; --seconds is a number above 0`);
  process.exit(2);
}

await buildAll({ quiet: true });
const rows = [];
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  if (only && !only.includes(name)) continue;
  console.error(`${name} …`);
  const server = await startServer({ env: { JADE_LOG_LEVEL: "warn" } });
  try {
    for (const check of await scenario({ server, seconds, note: (text) => console.error(`  ${text}`) }))
      rows.push({ scenario: name, ...check });
  } finally {
    await server.dispose();
  }
}

const table = new Table({
  head: ["scenario", "what", "value", "limit", "ok"],
  style: { head: [], border: [], compact: true },
});
for (const { scenario, what, value, limit, ok } of rows)
  table.push([scenario, what, value, limit, ok ? "ok" : "MISSED"]);
console.log(table.toString());
if (values.json) console.log(JSON.stringify({ suite: "load", rows }));
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;
