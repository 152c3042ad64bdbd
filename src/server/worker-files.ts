// Puts the built Worker and workerd's configuration into <data>/run, so that a rebuild cannot change a running instance.

import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { OperatorError } from "./problem.ts";
import type { WorkerModule } from "./workerd-config.ts";

const ENTRY = "worker.js";
const KINDS: Readonly<Record<string, WorkerModule["kind"]>> = { ".js": "esModule", ".wasm": "wasm", ".sql": "text" };

/** Copies dist/worker into `runDir`; gives its modules, entry first. @throws OperatorError when it was not built. */
export function copyWorker(workerDir: string, runDir: string): readonly WorkerModule[] {
  if (!existsSync(join(workerDir, ENTRY))) {
    throw new OperatorError(`the Worker is not built (${join(workerDir, ENTRY)} is missing). Run: npm run build`);
  }
  rmSync(runDir, { recursive: true, force: true });
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const modules: WorkerModule[] = [];
  for (const name of readdirSync(workerDir).sort()) {
    const kind = KINDS[extname(name)];
    if (kind === undefined) continue;
    copyFileSync(join(workerDir, name), join(runDir, name));
    modules.push({ name, kind });
  }
  return modules.sort((a, b) => Number(b.name === ENTRY) - Number(a.name === ENTRY));
}

export function writeConfigFile(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}
