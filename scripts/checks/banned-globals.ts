// Pure modules take clock, randomness and timers from outside, so that the simulator can drive them (DESIGN 2, STYLE).
// Guarantees: names each use of a banned global and what to pass in instead.

import { type Gate, readSources, type SourceFile } from "./gate.ts";
import { blankComments } from "./imports.ts";
import { isTest } from "./layering.ts";

const PURE = /^src\/(kv|replication|storage|config|vector|cluster|wire|access|embedding)\/.*\.ts$/;

const BANNED: readonly { readonly pattern: RegExp; readonly instead: string }[] = [
  { pattern: /\bDate\.now\b|\bnew Date\(\)/g, instead: "take `nowMs` or a clock" },
  { pattern: /\bperformance\.now\b/g, instead: "take `nowMs` or a clock" },
  { pattern: /\bMath\.random\b/g, instead: "take a random source" },
  { pattern: /\bcrypto\.(randomUUID|getRandomValues)\b/g, instead: "take a random source" },
  { pattern: /(?<![.\w])(setTimeout|setInterval|setImmediate)\b(?!\s*[?:])/g, instead: "take `sleep` or a scheduler" },
  { pattern: /(?<![.\w#])fetch\(/g, instead: "take a transport" },
];

export function findBannedGlobals({ path, text }: SourceFile): readonly string[] {
  const problems: string[] = [];
  const lines = blankComments(text).split("\n");
  for (const [index, line] of lines.entries()) {
    for (const { pattern, instead } of BANNED) {
      for (const match of line.matchAll(pattern)) {
        if (isDeclaration(line, match.index + match[0].length)) continue;
        problems.push(`${path}:${index + 1}: ${match[0].replace("(", "")} in a pure module: ${instead}`);
      }
    }
  }
  return problems;
}

/**
 * `fetch(request: Request): …` in an interface is a name, not a use. Broken over lines it opens its line alone; a call that
 * does so would float, which the linter refuses.
 */
function isDeclaration(line: string, end: number): boolean {
  const opensLine = /^\s*(async\s+)?(readonly\s+)?\w+\($/.test(line.slice(0, end));
  return opensLine && /^\s*$|\)\s*:\s*[\w<]/.test(line.slice(end));
}

export const bannedGlobals: Gate = {
  name: "pure modules",
  async run() {
    const files = await readSources((path) => PURE.test(path) && !isTest(path));
    return { problems: files.flatMap(findBannedGlobals), summary: `${files.length} files` };
  },
};
