#!/usr/bin/env node
// The command `jade-db`: loads the bundled CLI, or says how to build it.

try {
  await import("../dist/cli.js");
} catch (error) {
  if (error?.code !== "ERR_MODULE_NOT_FOUND" || !String(error.message).includes("dist/cli.js")) throw error;
  console.error("jade-db is not built yet. Run: npm install && npm run build");
  process.exit(1);
}
