// `npm run histories`: histories of concurrent clients of the configuration store under kill -9, judged by a linearizability checker.
//   npm run histories -- --histories 1000 --seed 1 [--clients 4] [--operations 30] [--kill-every 2]
// Exit: 0 = every history has an order and every watch told it; 1 = one has not, or its check took too long; 2 = cannot start.

import { parseArgs } from "node:util";
import { buildAll } from "./build.mjs";

if (!process.features.typescript) {
  console.error(`this needs Node 24 (here: ${process.version}); run it as: npm run histories`);
  process.exit(2);
}
const { Histories } = await import("./history/run.ts");

const { values } = parseArgs({
  options: {
    histories: { type: "string", default: "200" },
    seed: { type: "string", default: String(Date.now() % 1e6) },
    clients: { type: "string", default: "4" },
    operations: { type: "string", default: "30" },
    "kill-every": { type: "string", default: "2" },
    "check-timeout-ms": { type: "string", default: "60000" },
  },
});
await buildAll({ quiet: true });
console.log(`histories: ${values.histories}, seed ${values.seed}`);
const began = performance.now();
const run = new Histories({
  histories: Number(values.histories),
  seed: Number(values.seed),
  clients: Number(values.clients),
  operationsPerClient: Number(values.operations),
  killEvery: Number(values["kill-every"]),
  checkTimeoutMs: Number(values["check-timeout-ms"]),
  report: (line) => console.log(line),
});
const { problems, last: _, ...counts } = await run.run();
console.log(JSON.stringify({ ...counts, seconds: Math.round((performance.now() - began) / 1000) }));
for (const problem of problems) console.error(`FAILED  ${problem}`);
console.log(
  problems.length === 0 ? "ok: every history has an order, and watches told it" : `${problems.length} problems`,
);
process.exit(problems.length === 0 ? 0 : 1);
