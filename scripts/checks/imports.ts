// Finds the imports of a TypeScript file without a parser: enough for code that Biome has formatted.
// Guarantees: comments and imports inside comments are not seen; relative targets are resolved to repository paths.

import { posix } from "node:path";

export interface Import {
  readonly specifier: string;
  /** Repository path for a relative import, undefined for a package or `node:`/`cloudflare:` module. */
  readonly target: string | undefined;
  readonly typeOnly: boolean;
  readonly line: number;
}

const IMPORT =
  /^[ \t]*(?:import|export)\s+(type\s+)?([\w*{}\s,$]*?)\s*from\s*["']([^"']+)["']|^[ \t]*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm;

/** Same length and line breaks, comments blanked out. Strings are left alone when they hold `//` after a colon (URLs). */
export function blankComments(text: string): string {
  const blank = (part: string) => part.replace(/[^\n]/g, " ");
  return text.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/(^|[^:"'`\\])\/\/[^\n]*/g, (all, before: string) => {
    return before + blank(all.slice(before.length));
  });
}

export function importsOf(path: string, text: string): readonly Import[] {
  const clean = blankComments(text);
  const found: Import[] = [];
  for (const match of clean.matchAll(IMPORT)) {
    const specifier = match[3] ?? match[4] ?? match[5];
    if (specifier === undefined) continue;
    found.push({
      specifier,
      target: specifier.startsWith(".") ? resolveFrom(path, specifier) : undefined,
      typeOnly: match[1] !== undefined || onlyTypeNames(match[2]),
      line: clean.slice(0, match.index).split("\n").length,
    });
  }
  return found;
}

function onlyTypeNames(clause: string | undefined): boolean {
  const names = clause?.match(/^\{([^}]*)\}$/)?.[1];
  if (names === undefined) return false;
  const list = names.split(",").filter((name) => name.trim() !== "");
  return list.length > 0 && list.every((name) => /^\s*type\s/.test(name));
}

function resolveFrom(path: string, specifier: string): string {
  return posix.normalize(posix.join(posix.dirname(path), specifier.replace(/\?.*$/, "")));
}
