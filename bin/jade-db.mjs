#!/usr/bin/env node
// The command `jade-db`: loads the bundled CLI, or says how to build it.
// What follows changes needs WebSocket, which Node has from 22 on: an older one starts the package's own Node with the same arguments.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { join } from "node:path";

const needsWebSocket = process.argv.includes("watch") || process.argv.includes("--listen");

if (needsWebSocket && globalThis.WebSocket === undefined) startAgain();
else await start();

async function start() {
  try {
    await import("../dist/cli.js");
  } catch (error) {
    if (error?.code !== "ERR_MODULE_NOT_FOUND" || !String(error.message).includes("dist/cli.js")) throw error;
    console.error("jade-db is not built yet. Run: npm install && npm run build");
    process.exit(1);
  }
}

function startAgain() {
  let node;
  try {
    node = join(createRequire(import.meta.url).resolve("node/package.json"), "../bin/node");
  } catch {
    console.error(`this command needs Node 22 or newer, which has WebSocket; this is Node ${process.version}`);
    process.exit(2);
  }
  // In a group of its own: a terminal's Ctrl-C comes here only, and is handed on once.
  const child = spawn(node, process.argv.slice(1), { stdio: "inherit", detached: true });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.once("error", (error) => {
    console.error(
      `this command needs Node 22 or newer, which has WebSocket; the package's own cannot be run: ${error.message}`,
    );
    process.exit(2);
  });
  child.once("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
