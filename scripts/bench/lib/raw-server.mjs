// The baseline server: workerd with scripts/bench/raw-worker and nothing else, data in a temporary directory.

import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "../../lib/root.mjs";
import { freePort, startGroup, temporaryDirectory, waitUntilReady } from "../../lib/server-process.mjs";

const workerd = createRequire(import.meta.url).resolve("workerd/bin/workerd");

function config({ port, directory }) {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "data", disk = (path = "${directory}/objects", writable = true)),
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-11-01",
      compatibilityFlags = ["nodejs_compat"],
      durableObjectNamespaces = [(className = "Raw", uniqueKey = "raw", enableSql = true)],
      durableObjectStorage = (localDisk = "data"),
      bindings = [(name = "RAW", durableObjectNamespace = "Raw")],
    )),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}

/** Gives {url, port, groupId, dispose}, its table filled with `preload` rows of `valueBytes`. */
export async function startRawServer({ preload, valueBytes }) {
  const directory = await temporaryDirectory("raw");
  const port = await freePort();
  await mkdir(join(directory, "objects"));
  const path = join(directory, "config.capnp");
  await writeFile(path, config({ port, directory }));
  await copyFile(join(root, "scripts/bench/raw-worker/worker.js"), join(directory, "worker.js"));
  const logPath = join(directory, "log");
  const group = startGroup({ command: workerd, args: ["serve", path], env: {}, logPath });
  const url = `http://127.0.0.1:${port}`;
  // Any path will do: an empty preload is a 200 of the object itself.
  await waitUntilReady({ url: `${url}/probe`, group, logPath });
  await fetch(`${url}/preload?count=${preload}&bytes=${valueBytes}`, { method: "POST" });
  return {
    url,
    port,
    groupId: group.groupId,
    async dispose() {
      await group.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
