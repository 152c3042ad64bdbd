// Compiles wasm/*.ts (AssemblyScript) to dist/wasm/*.wasm. Guarantees: a file appears whole; unchanged sources (with all that they
// import) are not compiled.
// Must not: run at import; other scripts call buildWasm().
// Usage: node scripts/build-wasm.mjs [--force]

import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { root } from "./lib/root.mjs";

const FLAGS = ["--enable", "simd", "--enable", "relaxed-simd", "--runtime", "stub", "-O3", "--converge", "--noAssert"];

const IMPORT = /^\s*(?:import|export)\b[^;]*?\bfrom\s+"(\.[^"]+)"/gm;

/** The file and all that it imports, directly or not. AssemblyScript's imports name no extension. */
async function sourcesOf(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, specifier] of (await readFile(file, "utf8")).matchAll(IMPORT))
    await sourcesOf(`${join(dirname(file), specifier)}.ts`, found);
  return found;
}

/** True if the build is newer than its sources and than this script, which holds the flags. */
export async function isFresh(source, target) {
  const built = await stat(target).catch(() => undefined);
  if (built === undefined) return false;
  for (const file of [...(await sourcesOf(source)), fileURLToPath(import.meta.url)])
    if ((await stat(file)).mtimeMs >= built.mtimeMs) return false;
  return true;
}

async function compile(name) {
  const { default: asc } = await import("assemblyscript/asc");
  const target = join(root, "dist/wasm", name.replace(/\.ts$/, ".wasm"));
  const outputs = new Map();
  const { error, stderr } = await asc.main([`wasm/${name}`, "--baseDir", root, "--outFile", "out.wasm", ...FLAGS], {
    writeFile: (file, contents) => void outputs.set(file, contents),
  });
  if (error) throw new Error(`wasm/${name}: ${error.message}\n${stderr.toString()}`);
  const aside = `${target}.${process.pid}.tmp`;
  await mkdir(join(root, "dist/wasm"), { recursive: true });
  await writeFile(aside, outputs.get("out.wasm"));
  await rename(aside, target);
}

/** Compiles every kernel whose source is newer than its build (all with `force`). Returns the names compiled. */
export async function buildWasm({ force = false } = {}) {
  const names = (await readdir(join(root, "wasm"))).filter((name) => name.endsWith(".ts")).sort();
  const compiled = [];
  for (const name of names) {
    const target = join(root, "dist/wasm", name.replace(/\.ts$/, ".wasm"));
    if (!force && (await isFresh(join(root, "wasm", name), target))) continue;
    await compile(name);
    compiled.push(name);
  }
  return compiled;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await buildWasm({ force: process.argv.includes("--force") });
}
