// `npm run deploy:dry`: what `wrangler deploy` would send for both Workers, and how big it is.
// Guarantees: fails when a compressed bundle is over its limit: the gateway's Worker Cloudflare's for free accounts (3 MB gzip), the embedder's that
// for paid ones (10 MB). Sends nothing.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { root } from "./lib/root.mjs";

const MIB = 1024 * 1024;
const WORKERS = [
  { config: "wrangler.toml", out: "dist/deploy", limitBytes: 3 * MIB },
  { config: "wrangler.embedder.toml", out: "dist/deploy-embedder", limitBytes: 10 * MIB },
];
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;

/** Compressed bytes of what would be sent. */
function bundled({ config, out }) {
  const outDir = join(root, out);
  rmSync(outDir, { recursive: true, force: true });
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, "node_modules/wrangler/bin/wrangler.js"),
      "deploy",
      "--dry-run",
      `--config=${config}`,
      `--outdir=${outDir}`,
    ],
    { cwd: root, stdio: "inherit", env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "true" } },
  );
  if (status !== 0) process.exit(status ?? 1);
  let total = 0;
  for (const name of readdirSync(outDir).sort()) {
    if (name.endsWith(".map") || name === "README.md") continue;
    const bytes = readFileSync(join(outDir, name));
    const compressed = gzipSync(bytes, { level: 9 }).length;
    total += compressed;
    console.log(`${name}: ${kib(bytes.length)}, ${kib(compressed)} compressed`);
  }
  return total;
}

for (const worker of WORKERS) {
  const total = bundled(worker);
  const share = ((100 * total) / worker.limitBytes).toFixed(1);
  console.log(`${worker.config}: ${kib(total)} compressed, ${share} % of the limit of ${kib(worker.limitBytes)}`);
  if (total > worker.limitBytes) {
    console.error("the compressed bundle is over the limit");
    process.exit(1);
  }
}
