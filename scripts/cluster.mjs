// `npm run cluster`: builds what changed, then becomes `jade-db cluster start`.
// Flags after `--` go to it: npm run cluster -- --instances 3 --port 9000

import { buildAll } from "./build.mjs";

await buildAll();
process.argv.splice(2, 0, "cluster", "start");
await import("../dist/cli.js");
