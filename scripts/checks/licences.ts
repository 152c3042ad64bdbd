// Every installed package must carry a licence that Apache-2.0 software may be built and shipped with.
// Guarantees: anything not allowed and not excused below fails, with package and licence named. An excuse for a tool does
// not hold once the package is needed at run time (package-lock.json tells).

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../lib/root.mjs";
import type { Gate } from "./gate.ts";

const ALLOWED = new Set([
  "MIT",
  "Apache-2.0",
  "ISC",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "0BSD",
  "CC0-1.0",
  "BlueOak-1.0.0",
  "Unlicense",
]);

export interface Excuse {
  readonly packages: RegExp;
  readonly licence: string;
  /** True = only for tools that are never part of what we ship. */
  readonly toolOnly: boolean;
  readonly reason: string;
}

const EXCUSES: readonly Excuse[] = [
  {
    packages: /^argparse$/,
    licence: "PSF-2.0",
    toolOnly: false,
    reason: "permissive; the argument parser of js-yaml's own command, which we never run",
  },
  {
    packages: /^caniuse-lite$/,
    licence: "CC-BY-4.0",
    toolOnly: true,
    reason: "a table of browser versions behind the coverage reporter; not shipped",
  },
  {
    packages: /^lightningcss(-.*)?$/,
    licence: "MPL-2.0",
    toolOnly: true,
    reason: "CSS compiler inside vite, unchanged; not shipped",
  },
  {
    packages: /^@img\/sharp-.*$/,
    licence: "LGPL-3.0-or-later",
    toolOnly: true,
    reason: "libvips, linked dynamically by miniflare's image emulation; not shipped, not used",
  },
];

export interface InstalledPackage {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** True when package-lock.json says it is only needed for development. */
  readonly developmentOnly: boolean;
}

/** True for an SPDX expression whose parts fit: any side of OR, every side of AND. */
export function isAllowed(expression: string): boolean {
  const plain = expression.replace(/[()]/g, "").trim();
  return plain.split(/\s+OR\s+/).some((side) => side.split(/\s+AND\s+/).every((part) => ALLOWED.has(part.trim())));
}

export function judgeLicences(
  packages: readonly InstalledPackage[],
  excuses: readonly Excuse[] = EXCUSES,
): readonly string[] {
  const problems: string[] = [];
  for (const { name, version, licence, developmentOnly } of packages) {
    if (isAllowed(licence)) continue;
    const excuse = excuses.find((item) => item.packages.test(name) && item.licence === licence);
    if (excuse === undefined) problems.push(`${name}@${version}: licence ${licence || "(none given)"} is not allowed`);
    else if (excuse.toolOnly && !developmentOnly) {
      problems.push(`${name}@${version}: licence ${licence} is excused for tools only, but it is needed at run time`);
    }
  }
  return problems;
}

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string | { readonly type?: string };
  readonly licenses?: readonly { readonly type?: string }[];
}

function licenceOf({ license, licenses }: Manifest): string {
  if (typeof license === "string") return license;
  return license?.type ?? licenses?.map(({ type }) => type ?? "").join(" OR ") ?? "";
}

/** Directories of installed packages below a node_modules, relative to the root, nested ones included. */
async function packageDirs(modules: string): Promise<readonly string[]> {
  const names = await readdir(join(root, modules)).catch(() => []);
  const found: string[] = [];
  for (const name of names) {
    if (name.startsWith(".")) continue;
    const dir = `${modules}/${name}`;
    if (name.startsWith("@")) found.push(...(await readdir(join(root, dir))).map((inner) => `${dir}/${inner}`));
    else found.push(dir);
  }
  const nested = await Promise.all(found.map((dir) => packageDirs(`${dir}/node_modules`)));
  return [...found, ...nested.flat()];
}

async function installedPackages(): Promise<readonly InstalledPackage[]> {
  const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>>;
  };
  const packages: InstalledPackage[] = [];
  for (const dir of await packageDirs("node_modules")) {
    const text = await readFile(join(root, dir, "package.json"), "utf8").catch(() => undefined);
    if (text === undefined) continue;
    const manifest = JSON.parse(text) as Manifest;
    const { dev = false, devOptional = false } = lock.packages[dir] ?? {};
    packages.push({
      name: manifest.name ?? dir,
      version: manifest.version ?? "?",
      licence: licenceOf(manifest),
      developmentOnly: dev || devOptional,
    });
  }
  return packages;
}

export const licences: Gate = {
  name: "licences",
  async run() {
    const packages = await installedPackages();
    const problems = packages.length === 0 ? ["node_modules is empty: run npm install"] : judgeLicences(packages);
    return { problems, summary: `${packages.length} packages` };
  },
};
