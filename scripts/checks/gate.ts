// What a gate of `npm run check` is, and the helpers the gates share.
// Guarantees: gates only read; the list of files is what git tracks or would track.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "../lib/root.mjs";

const run = promisify(execFile);

export interface GateResult {
  /** Each one fails the gate. Start with `path:line:` where there is one. */
  readonly problems: readonly string[];
  /** Shown, fails nothing. */
  readonly notes?: readonly string[];
  /** A few words for the summary: what was looked at. */
  readonly summary: string;
}

export interface GateOptions {
  /** Also fail on what is tolerated while the house is being built. */
  readonly strict: boolean;
}

export interface Gate {
  readonly name: string;
  run(options: GateOptions): Promise<GateResult>;
}

/** A file of the repository, path relative to its root, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

let listed: Promise<readonly string[]> | undefined;

/** Tracked and untracked-but-not-ignored files that exist, sorted. */
export function repositoryPaths(): Promise<readonly string[]> {
  listed ??= listPaths();
  return listed;
}

async function listPaths(): Promise<readonly string[]> {
  const { stdout } = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
  });
  const paths = stdout.split("\0").filter((path) => path !== "" && existsSync(join(root, path)));
  return [...new Set(paths)].sort();
}

/** Reads the files whose path `keep` accepts. */
export async function readSources(keep: (path: string) => boolean): Promise<readonly SourceFile[]> {
  const paths = (await repositoryPaths()).filter(keep);
  return Promise.all(paths.map(async (path) => ({ path, text: await readFile(join(root, path), "utf8") })));
}

/** A gate that is a command: it passes when the command exits with 0, and its output is the problem otherwise. */
export function commandGate(name: string, command: string, args: readonly string[]): Gate {
  return {
    name,
    async run() {
      try {
        await run(join(root, "node_modules/.bin", command), [...args], { cwd: root, maxBuffer: 64 * 1024 * 1024 });
        return { problems: [], summary: [command, ...args].join(" ") };
      } catch (error) {
        return { problems: [outputOf(error)], summary: [command, ...args].join(" ") };
      }
    },
  };
}

function outputOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
  return `${stdout}${stderr}`.trim() || error.message;
}
