// `npm run check`: every gate, one line each, then what is wrong. The same for people and for CI.
// Usage: node scripts/check.mjs [--only <part of a gate's name>] [--strict]
// Exit: 0 = all gates pass, 1 = one fails, 2 = no such gate.

import { bannedGlobals } from "./checks/banned-globals.ts";
import { dependencies } from "./checks/dependencies.ts";
import { commandGate } from "./checks/gate.ts";
import { generatedDocs } from "./checks/generated-docs.ts";
import { layering } from "./checks/layering.ts";
import { licences } from "./checks/licences.ts";
import { secrets } from "./checks/secrets.ts";
import { sizes } from "./checks/sizes.ts";
import { specRules } from "./checks/spec-rules.ts";

const gates = [
  commandGate("types: worker", "tsc", ["-p", "tsconfig.json"]),
  commandGate("types: node", "tsc", ["-p", "tsconfig.node.json"]),
  commandGate("lint and format", "biome", ["check", "--error-on-warnings", "--max-diagnostics=60", "."]),
  layering,
  bannedGlobals,
  sizes,
  specRules,
  licences,
  dependencies,
  secrets,
  generatedDocs,
];

const argv = process.argv.slice(2);
const only = argv.includes("--only") ? argv[argv.indexOf("--only") + 1] : undefined;
const chosen = gates.filter((gate) => only === undefined || gate.name.includes(only));
if (chosen.length === 0) {
  console.error(`no gate is named like "${only}"; there are: ${gates.map((gate) => gate.name).join(", ")}`);
  process.exit(2);
}

const failed = [];
for (const gate of chosen) {
  const started = performance.now();
  const result = await gate.run({ strict: argv.includes("--strict") });
  const ok = result.problems.length === 0;
  const took = `${Math.round(performance.now() - started)} ms`;
  console.log(`${ok ? "ok  " : "FAIL"}  ${gate.name.padEnd(18)} ${result.summary} (${took})`);
  for (const note of result.notes ?? []) console.log(`        ${note}`);
  if (!ok) failed.push({ name: gate.name, problems: result.problems });
}

for (const { name, problems } of failed) {
  console.log(`\n${name}: ${problems.length} problem${problems.length === 1 ? "" : "s"}`);
  for (const problem of problems) console.log(`  ${problem.replaceAll("\n", "\n  ")}`);
}
console.log(
  failed.length === 0 ? "\ncheck: all gates pass" : `\ncheck: ${failed.length} of ${chosen.length} gates fail`,
);
process.exit(failed.length === 0 ? 0 : 1);
