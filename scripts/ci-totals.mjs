// The last line of .ci/run: `N passed, N failed`, from vitest's JSON report and the counts of CI's steps.
// Guarantees: a missing or unreadable report counts as one failure, never as none.
// Usage: node scripts/ci-totals.mjs <vitest.json> <steps passed> <steps failed>. Runs on Node 20 too.

import { readFileSync } from "node:fs";

const [report, stepsPassed, stepsFailed] = process.argv.slice(2);
let passed = Number(stepsPassed);
let failed = Number(stepsFailed);
try {
  const { numPassedTests, numFailedTests, success } = JSON.parse(readFileSync(report, "utf8"));
  passed += numPassedTests;
  failed += numFailedTests;
  // A suite that could not even be loaded fails no test by number.
  if (!success && numFailedTests === 0) failed += 1;
} catch {
  // No report: the tests did not run to their end.
  failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
