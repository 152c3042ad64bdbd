// Compiles wasm/*.ts (AssemblyScript) to dist/wasm/*.wasm. Guarantees: a file appears whole; unchanged sources are not compiled.
// Must not: run at import; other scripts call buildWasm().
// Usage: node scripts/build-wasm.mjs [--force]

import { mkdir, readdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./lib/root.mjs";

const FLAGS = ["--enable", "simd", "--enable", "relaxed-simd", "--runtime", "stub", "-O3", "--noAssert"];

async function isFresh(source, target) {
  const built = await stat(target).catch(() => undefined);
  return built !== undefined && built.mtimeMs > (await stat(source)).mtimeMs;
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
