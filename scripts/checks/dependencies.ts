// docs/dependencies.md names every direct dependency with its version: what it is for, and why no smaller thing would do.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../lib/root.mjs";
import type { Gate } from "./gate.ts";

const PAGE = "docs/dependencies.md";

/** @param wanted package → version as package.json pins it. */
export function compareDependencies(page: string, wanted: ReadonlyMap<string, string>): readonly string[] {
  const problems: string[] = [];
  const listed = new Map(
    [...page.matchAll(/^\| `([^`]+)` \| ([^|]+?) \|/gm)].map(([, name = "", version = ""]) => [name, version]),
  );
  for (const [name, version] of wanted) {
    if (!/^\d/.test(version)) problems.push(`package.json: ${name} is not pinned to one version (${version})`);
    const found = listed.get(name);
    if (found === undefined) problems.push(`${PAGE}: ${name} is missing: say what it is for`);
    else if (found !== version) problems.push(`${PAGE}: ${name} is listed as ${found}, package.json says ${version}`);
  }
  for (const name of listed.keys()) {
    if (!wanted.has(name)) problems.push(`${PAGE}: ${name} is no dependency any more`);
  }
  return problems;
}

export const dependencies: Gate = {
  name: "dependencies",
  async run() {
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
      readonly dependencies: Readonly<Record<string, string>>;
      readonly devDependencies: Readonly<Record<string, string>>;
    };
    const wanted = new Map([...Object.entries(manifest.dependencies), ...Object.entries(manifest.devDependencies)]);
    const page = await readFile(join(root, PAGE), "utf8").catch(() => "");
    return { problems: compareDependencies(page, wanted), summary: `${wanted.size} direct ones` };
  },
};
