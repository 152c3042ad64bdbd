// Where this package is installed, from the bundle (dist/cli.js) as from the sources.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { OperatorError } from "./problem.ts";

/** @throws OperatorError when no package.json of jade-db is above this file. */
export function packageRoot(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    if (packageName(join(dir, "package.json")) === "jade-db") return dir;
    if (dir === dirname(dir)) throw new OperatorError("jade-db's own package.json was not found: reinstall it");
  }
}

function packageName(path: string): unknown {
  try {
    const content: unknown = JSON.parse(readFileSync(path, "utf8"));
    return typeof content === "object" && content !== null && "name" in content ? content.name : undefined;
  } catch {
    // No such file at this level: the caller looks one higher.
    return undefined;
  }
}
