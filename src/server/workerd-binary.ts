// Finds workerd's own executable: not npm's wrapper, which would swallow signals and add a process.

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { OperatorError } from "./problem.ts";

const PACKAGES: Readonly<Record<string, string>> = {
  "linux x64": "@cloudflare/workerd-linux-64/bin/workerd",
  "linux arm64": "@cloudflare/workerd-linux-arm64/bin/workerd",
  "darwin x64": "@cloudflare/workerd-darwin-64/bin/workerd",
  "darwin arm64": "@cloudflare/workerd-darwin-arm64/bin/workerd",
  "win32 x64": "@cloudflare/workerd-windows-64/bin/workerd.exe",
};

/** Absolute path of the executable for this machine. @throws OperatorError when it is not installed. */
export function workerdBinary(platform: string = process.platform, arch: string = process.arch): string {
  const name = PACKAGES[`${platform} ${arch}`];
  if (name === undefined) {
    throw new OperatorError(
      `workerd does not exist for ${platform} on ${arch}. It runs on: ${Object.keys(PACKAGES).join(", ")}`,
    );
  }
  const require = createRequire(import.meta.url);
  try {
    // The platform's package is a dependency of workerd: look from there, wherever npm put it.
    return require.resolve(name, { paths: [dirname(require.resolve("workerd")), import.meta.dirname] });
  } catch (cause) {
    throw new OperatorError(
      `workerd is not installed for ${platform} on ${arch} (${name} is missing). Run npm install with optional dependencies allowed`,
      { cause },
    );
  }
}

/** What a failed start means for the operator, read from what workerd wrote to stderr. */
export function explainStartFailure(stderr: string): string | undefined {
  const glibc = stderr.match(/version [`']GLIBC_([\d.]+)' not found/);
  if (glibc !== null) {
    return `workerd needs glibc ${glibc[1]} or newer, and this machine has an older one. Use Debian 12, Ubuntu 22.04 or newer (glibc ≥ 2.35)`;
  }
  if (/address already in use/i.test(stderr)) return "the port is already in use: choose another with --port";
  if (/cannot execute|Exec format error/i.test(stderr))
    return "workerd's executable does not fit this machine: run npm install again on it";
  return undefined;
}

/** What a death means for the operator, read from what workerd wrote to stderr. Undefined = nothing that is known. */
export function explainDeath(stderr: string): string | undefined {
  if (/Too many open files|EMFILE/.test(stderr))
    return "it had no file descriptor left for another connection: raise the hard limit (ulimit -Hn, LimitNOFILE=), or put a proxy in front that bounds connections";
  return undefined;
}

let deathSignal: boolean | undefined;

/**
 * The command line that runs `args`, made to die with its parent where the machine can do that (util-linux `setpriv`).
 * Without it a supervisor killed by -9 leaves workerd behind; the next start finds and ends it (instance-lock.ts).
 */
export function dyingWithParent(args: readonly [string, ...string[]]): readonly [string, ...string[]] {
  deathSignal ??= process.platform === "linux" && spawnSync("setpriv", ["--pdeathsig", "KILL", "true"]).status === 0;
  return deathSignal ? ["setpriv", "--pdeathsig", "KILL", ...args] : args;
}
