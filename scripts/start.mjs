// `npm start`: builds what changed, then becomes `jade-db serve`, in one process, so that signals reach the supervisor.
// Flags after `--` go to serve: npm start -- --port 9000

import { buildAll } from "./build.mjs";

await buildAll();
process.argv.splice(2, 0, "serve");
await import("../dist/cli.js");
