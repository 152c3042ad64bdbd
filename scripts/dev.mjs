// `npm run dev`: the same Worker under `wrangler dev` (what `wrangler deploy` sends to Cloudflare), with data kept on disk.
// Honours --port, --data-dir, JADE_PORT, JADE_DATA_DIR, JADE_ROOT_KEY, JADE_LOG_LEVEL; other flags go to wrangler as they are.
// Guarantees: a root key is made and printed at the first start, only its hash is stored; wrangler sees only the hash.

import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { root } from "./lib/root.mjs";

const KILL_AFTER_MS = 10_000;

/** Takes `--name value` or `--name=value` out of the arguments. */
function takeFlag(argv, name) {
  const at = argv.findIndex((argument) => argument === name || argument.startsWith(`${name}=`));
  if (at === -1) return undefined;
  const [flag] = argv.splice(at, 1);
  return flag.includes("=") ? flag.slice(name.length + 1) : argv.splice(at, 1)[0];
}

function rootKeyHash(dataDir) {
  const sha256 = (text) => createHash("sha256").update(text, "utf8").digest("hex");
  if (process.env.JADE_ROOT_KEY) return sha256(process.env.JADE_ROOT_KEY);
  const file = join(dataDir, "root-key.sha256");
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  const key = `jdb.root.${randomBytes(32).toString("base64url")}`;
  writeFileSync(file, `${sha256(key)}\n`, { mode: 0o600 });
  console.log(`root key   ${key}\n           shown this once: keep it. Only its SHA-256 is stored.`);
  return sha256(key);
}

const argv = process.argv.slice(2);
const port = takeFlag(argv, "--port") ?? (process.env.JADE_PORT || "8787");
const dataDir = resolve(takeFlag(argv, "--data-dir") ?? (process.env.JADE_DATA_DIR || join(root, "data/dev")));
const level = takeFlag(argv, "--log-level") ?? process.env.JADE_LOG_LEVEL;
mkdirSync(dataDir, { recursive: true, mode: 0o700 });

const hash = rootKeyHash(dataDir);
console.log(`data       ${dataDir}`);
const { JADE_ROOT_KEY: _, ...environment } = process.env;
const child = spawn(
  process.execPath,
  [
    join(root, "node_modules/wrangler/bin/wrangler.js"),
    "dev",
    // The first one is what is asked; the embedder answers it by its service binding.
    "--config=wrangler.toml",
    "--config=wrangler.embedder.toml",
    "--ip=127.0.0.1",
    `--port=${port}`,
    `--persist-to=${dataDir}`,
    "--show-interactive-dev-session=false",
    "--var",
    "JADE_MODE:dev",
    `JADE_ROOT_KEY_HASH:${hash}`,
    `JADE_CONFIG:${JSON.stringify(level ? { log: { level } } : {})}`,
    ...argv,
  ],
  {
    cwd: root,
    stdio: "inherit",
    env: { ...environment, WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false", CI: "true" },
  },
);

let asked = 0;
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
  process.on(signal, () => {
    asked += 1;
    child.kill(asked === 1 ? "SIGTERM" : "SIGKILL");
    setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS).unref();
  });
}
child.on("exit", (code) => process.exit(asked > 0 ? 0 : (code ?? 1)));
