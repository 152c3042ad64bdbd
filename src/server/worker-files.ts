// Puts the built Workers and workerd's configuration into <data>/run, so that a rebuild cannot change a running instance.

import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import type { WorkerModule } from "./capnp-parts.ts";
import { MODELS_DIR } from "./models-config.ts";
import { OperatorError } from "./problem.ts";
import { EMBEDDER_DIR } from "./workerd-config.ts";

const KINDS: Readonly<Record<string, WorkerModule["kind"]>> = {
  ".js": "esModule",
  ".wasm": "wasm",
  ".sql": "text",
  ".jwv": "data",
};

/**
 * Copies the built Workers into an empty `runDir`; gives their modules, entries first. The embedder is there twice: beside the objects, where it
 * keeps models, and with all that runs them for a process of its own.
 * @throws OperatorError when they were not built
 */
export function copyWorkers(distDir: string, runDir: string) {
  rmSync(runDir, { recursive: true, force: true });
  return {
    modules: copyWorker(join(distDir, "worker"), runDir, "worker.js"),
    embedderModules: copyWorker(join(distDir, "embedder-words"), join(runDir, EMBEDDER_DIR), "embedder.js"),
    runnerModules: copyWorker(join(distDir, "embedder"), join(runDir, MODELS_DIR), "embedder.js"),
  };
}

function copyWorker(workerDir: string, runDir: string, entry: string): readonly WorkerModule[] {
  if (!existsSync(join(workerDir, entry))) {
    throw new OperatorError(`the Worker is not built (${join(workerDir, entry)} is missing). Run: npm run build`);
  }
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const modules: WorkerModule[] = [];
  for (const name of readdirSync(workerDir).sort()) {
    const kind = KINDS[extname(name)];
    if (kind === undefined) continue;
    copyFileSync(join(workerDir, name), join(runDir, name));
    modules.push({ name, kind });
  }
  return modules.sort((a, b) => Number(b.name === entry) - Number(a.name === entry));
}

export function writeConfigFile(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}
