// `npm run deploy:dry`: what `wrangler deploy` would send, and how big it is.
// Guarantees: fails when the compressed bundle is over Cloudflare's limit for free accounts (3 MB gzip). Sends nothing.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { root } from "./lib/root.mjs";

const LIMIT_BYTES = 3 * 1024 * 1024;
const OUT = join(root, "dist/deploy");

rmSync(OUT, { recursive: true, force: true });
const { status } = spawnSync(
  process.execPath,
  [join(root, "node_modules/wrangler/bin/wrangler.js"), "deploy", "--dry-run", `--outdir=${OUT}`],
  { cwd: root, stdio: "inherit", env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "true" } },
);
if (status !== 0) process.exit(status ?? 1);

let total = 0;
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
for (const name of readdirSync(OUT).sort()) {
  if (name.endsWith(".map") || name === "README.md") continue;
  const bytes = readFileSync(join(OUT, name));
  const compressed = gzipSync(bytes, { level: 9 }).length;
  total += compressed;
  console.log(`${name}: ${kib(bytes.length)}, ${kib(compressed)} compressed`);
}
const share = ((100 * total) / LIMIT_BYTES).toFixed(1);
console.log(`bundle: ${kib(total)} compressed, ${share} % of the limit of ${kib(LIMIT_BYTES)}`);
if (total > LIMIT_BYTES) {
  console.error("the compressed bundle is over the limit");
  process.exit(1);
}
