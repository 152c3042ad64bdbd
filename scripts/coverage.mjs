// `npm run coverage`: unit tests and simulation with coverage, then one line for each folder that must stay covered.
// Usage: node scripts/coverage.mjs [vitest arguments]. Exit 1 when a test fails or a folder falls below its least.
// The many seeds run in worker threads, where nothing is counted: a few are enough here.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./lib/root.mjs";

/** Statements of these folders, in percent. */
const LEAST = { "src/access": 90, "src/kv": 90, "src/replication": 90, "src/storage": 90 };
const PROJECTS = ["--project", "unit", "--project", "simulation"];

const argv = process.argv.slice(2);
const { status } = spawnSync("vitest", ["run", ...PROJECTS, "--coverage", ...argv], {
  cwd: root,
  stdio: "inherit",
  env: { JADE_SIM_SEEDS: "200", ...process.env },
});

const summary = JSON.parse(readFileSync(join(root, "coverage/coverage-summary.json"), "utf8"));
let isLow = false;
for (const [folder, least] of Object.entries(LEAST)) {
  const files = Object.entries(summary).filter(([path]) => path.startsWith(join(root, folder, "/")));
  const share = (kind) => {
    const sum = (field) => files.reduce((total, [, counts]) => total + counts[kind][field], 0);
    return (100 * sum("covered")) / sum("total");
  };
  const statements = share("statements");
  if (!(statements >= least)) isLow = true;
  console.log(
    `${folder.padEnd(16)} ${statements.toFixed(1)} % of statements, ${share("branches").toFixed(1)} % of branches (at least ${least} % of statements)`,
  );
}
process.exit(status === 0 && !isLow ? 0 : 1);
