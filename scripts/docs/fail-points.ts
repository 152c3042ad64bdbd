// docs/fail-points.md, from the list of fail points.

import { FAIL_POINTS } from "../../src/storage/fail-points.ts";

export const FAIL_POINTS_PAGE = "docs/fail-points.md";

const INTRODUCTION = `# Fail points

Made from \`src/storage/fail-points.ts\` by \`npm run docs\`: changes here are lost.

The places where a storage node may die between two durable steps. \`test/e2e/fail-points.test.ts\` parks the node at each one in a
real workerd, kills the process with -9, starts it again, and checks that nothing acknowledged is lost, doubled or back; a unit test
checks that code and list agree. What stands between two points is one commit of SQLite: all of it is there, or nothing.

A point is an awaited call to the binding \`FAIL_POINTS\`. Nothing but those tests binds it; without it a point is one comparison. Because the
platform's output gate holds the call back until all that was written is durable, the process dies exactly where the table says.

| point | durable when it is reached |
|---|---|
`;

const CONCLUSION = `
Random moments are covered by \`npm run crash -- --rounds 200\`: concurrent clients through the SDK, kill -9 of the whole process tree, a
checker over the acknowledged writes, and (every few rounds) a block of one node that is flipped, cut, zeroed or taken away while
the server is down. \`--blobs disk\` does the same with tables in files, \`--seed\` repeats the choices (not the timing).
`;

export function failPointsPage(): string {
  const rows = Object.entries(FAIL_POINTS).map(([point, durable]) => `| \`${point}\` | ${durable} |`);
  return `${INTRODUCTION}${rows.join("\n")}\n${CONCLUSION}`;
}
