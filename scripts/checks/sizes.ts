// The size ratchet: no file over 600 lines; one over 450 must be listed in size-ratchet.json and may only shrink.
// Guarantees: a listed file that grew fails; one that shrank or went below 450 asks to lower its entry.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../lib/root.mjs";
import { type Gate, readSources, type SourceFile } from "./gate.ts";

export const MAX_LINES = 600;
export const LISTED_ABOVE_LINES = 450;
const RATCHET = "scripts/checks/size-ratchet.json";

export type Ratchet = Readonly<Record<string, number>>;

export function checkSizes(files: readonly SourceFile[], ratchet: Ratchet): readonly string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const { path, text } of files) {
    const lines = text.split("\n").length - 1;
    const listed = ratchet[path];
    seen.add(path);
    if (lines > MAX_LINES) problems.push(`${path}: ${lines} lines, the limit is ${MAX_LINES}: split it`);
    else if (listed !== undefined && lines > listed)
      problems.push(`${path}: ${lines} lines, was ${listed}: it may only shrink`);
    else if (listed !== undefined && lines < listed) {
      const wanted = lines > LISTED_ABOVE_LINES ? `set it to ${lines}` : "remove it";
      problems.push(`${path}: shrank from ${listed} to ${lines} lines: ${wanted} in ${RATCHET}`);
    } else if (listed === undefined && lines > LISTED_ABOVE_LINES) {
      problems.push(`${path}: ${lines} lines, over ${LISTED_ABOVE_LINES}: split it, or list it in ${RATCHET}`);
    }
  }
  for (const path of Object.keys(ratchet)) {
    if (!seen.has(path)) problems.push(`${path}: listed in ${RATCHET}, but gone: remove it`);
  }
  return problems;
}

export const sizes: Gate = {
  name: "size ratchet",
  async run() {
    const files = await readSources((path) => /\.(ts|tsx|mjs|js)$/.test(path));
    const ratchet = JSON.parse(await readFile(join(root, RATCHET), "utf8")) as Ratchet;
    return {
      problems: checkSizes(files, ratchet),
      summary: `${files.length} files, ${Object.keys(ratchet).length} listed`,
    };
  },
};
