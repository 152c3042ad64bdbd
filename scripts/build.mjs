// Builds dist/: the Workers (dist/worker, dist/embedder), the CLI (dist/cli.js) and the SDK (dist/client/index.js).
// Guarantees: does nothing when no input changed since the last build; every file appears whole (written aside, then renamed).
// Must not: type-check (that is `npm run check`) or touch anything outside dist/ and wasm's own output.
// Usage: node scripts/build.mjs [--force] [--quiet]

import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { buildOrt } from "./build-ort.mjs";
import { root } from "./lib/root.mjs";

const STAMP = "dist/.build-stamp";
const INPUTS = [
  "src",
  "objects",
  "wasm",
  "migrations",
  "models",
  "scripts/build.mjs",
  "scripts/build-wasm.mjs",
  "scripts/build-ort.mjs",
  "package-lock.json",
];
const SHARED = {
  bundle: true,
  write: false,
  logLevel: "warning",
  sourcemap: "linked",
  legalComments: "none",
  absWorkingDir: root,
};

const EMBEDDER = {
  ...SHARED,
  outdir: "dist/embedder",
  format: "esm",
  target: "es2024",
  conditions: ["workerd", "worker", "browser"],
  external: ["cloudflare:*", "node:*"],
  loader: { ".wasm": "copy", ".sql": "text", ".jwv": "copy" },
  assetNames: "[name]",
  minifySyntax: true,
};

/** Without transformers: where another process runs the models, and for tests that run it beside the sources. */
const EMBEDDER_WORDS = {
  ...EMBEDDER,
  outdir: "dist/embedder-words",
  entryPoints: { embedder: "src/embedder-words.ts" },
};

/** @type {import("esbuild").BuildOptions[]} */
const TARGETS = [
  {
    ...SHARED,
    entryPoints: { worker: "src/worker.ts" },
    outdir: "dist/worker",
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".wasm": "copy", ".sql": "text" },
    assetNames: "[name]",
    minifySyntax: true,
  },
  { ...EMBEDDER, entryPoints: { embedder: "src/embedder.ts" } },
  EMBEDDER_WORDS,
  {
    ...SHARED,
    entryPoints: { cli: "src/cli/index.ts" },
    outdir: "dist",
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["esbuild", "workerd"],
    loader: { ".sql": "text" },
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
  },
  {
    ...SHARED,
    entryPoints: { index: "src/client/index.ts" },
    outdir: "dist/client",
    format: "esm",
    target: "es2022",
    platform: "neutral",
  },
];

/** One line a file: path, size, mtime. Any difference means build again. */
async function fingerprint() {
  const hash = createHash("sha256");
  const visit = async (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    const stat = statSync(full);
    if (stat.isDirectory()) {
      for (const name of (await readdir(full)).sort()) await visit(join(path, name));
    } else if (!path.endsWith(".test.ts")) {
      hash.update(`${path} ${stat.size} ${stat.mtimeMs}\n`);
    }
  };
  for (const input of INPUTS) await visit(input);
  return hash.digest("hex");
}

async function writeWhole(path, bytes) {
  await mkdir(dirname(path), { recursive: true });
  const aside = `${path}.${process.pid}.tmp`;
  await writeFile(aside, bytes);
  await rename(aside, path);
}

async function buildWasm() {
  const script = join(root, "scripts/build-wasm.mjs");
  if (!existsSync(script)) return;
  const module = await import(pathToFileURL(script).href);
  await module.buildWasm();
}

/** Bundles one target; gives the names it wrote, relative to the root. */
async function buildTarget(target) {
  const [entry] = Object.values(target.entryPoints);
  if (!existsSync(join(root, entry))) throw new Error(`nothing to build: ${entry} does not exist`);
  const result = await build(target);
  const names = [];
  for (const file of result.outputFiles) {
    await writeWhole(file.path, file.contents);
    names.push(relative(root, file.path));
  }
  return names;
}

/** Files of earlier builds that this one did not write (a renamed wasm, say) must not be served. */
async function sweep(written) {
  for (const part of ["dist/worker", "dist/embedder", "dist/embedder-words"]) {
    const dir = resolve(root, part);
    if (!existsSync(dir)) continue;
    for (const name of await readdir(dir)) {
      if (!written.has(`${part}/${name}`) && !name.endsWith(".tmp")) await rm(join(dir, name), { recursive: true });
    }
  }
}

/** For tests inside workerd: 14 MB would be compiled for each of them. */
export async function buildEmbedderWords() {
  await buildWasm();
  await buildTarget(EMBEDDER_WORDS);
}

export async function buildAll({ force = false, quiet = false } = {}) {
  const started = performance.now();
  const before = await readFile(join(root, STAMP), "utf8").catch(() => "");
  if (!force && before === (await fingerprint())) return false;
  await buildWasm();
  await buildOrt();
  const stamp = await fingerprint();
  const written = new Set();
  for (const target of TARGETS) {
    for (const name of await buildTarget(target)) written.add(name);
  }
  await sweep(written);
  await writeWhole(join(root, STAMP), stamp);
  if (!quiet) console.error(`built dist/ in ${Math.round(performance.now() - started)} ms`);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await buildAll({ force: process.argv.includes("--force"), quiet: process.argv.includes("--quiet") });
}
