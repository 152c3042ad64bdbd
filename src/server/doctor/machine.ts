// Whether this machine can run the server: versions, memory, descriptors.
// Must not: change anything.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import type { Config } from "../config-schema.ts";
import { explainStartFailure, workerdBinary } from "../workerd-binary.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

const LEAST_NODE = 20;
const LEAST_GLIBC = 2.35;
const MIB = 1024 * 1024;
/** Of the process itself, beside what is configured. */
const BASE_MIB = 150;
/** Connections take two each. */
const FEW_DESCRIPTORS = 4096;

export function nodeVersion(version = process.versions.node): Finding {
  const found = `Node ${version}`;
  if (Number.parseInt(version, 10) >= LEAST_NODE) return ok("node", found);
  return fail("node", found, `install Node ${LEAST_NODE} or newer`);
}

export function operatingSystem(
  { platform, arch, glibc }: { platform: string; arch: string; glibc: string | undefined } = thisSystem(),
): Finding {
  const found = `${platform} ${arch}${glibc ? `, glibc ${glibc}` : ""}`;
  if (platform !== "linux") return warn("system", found, "Linux is what it is made and tested on");
  if (glibc === undefined)
    return warn("system", found, `workerd needs glibc ≥ ${LEAST_GLIBC}: Debian 12, Ubuntu 22.04 or newer`);
  const [major = 0, minor = 0] = glibc.split(".").map(Number);
  if (major + minor / 100 >= LEAST_GLIBC) return ok("system", found);
  return fail("system", found, `workerd needs glibc ≥ ${LEAST_GLIBC}: use Debian 12, Ubuntu 22.04 or newer`);
}

function thisSystem() {
  const report = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } };
  return { platform: process.platform, arch: process.arch, glibc: report.header.glibcVersionRuntime };
}

/** That the executable is there and runs. */
export function workerd(): Finding {
  try {
    const { status, stdout, stderr } = spawnSync(workerdBinary(), ["--version"], { encoding: "utf8", timeout: 10_000 });
    if (status === 0) return ok("workerd", stdout.trim());
    return fail(
      "workerd",
      "it does not start",
      explainStartFailure(stderr) ?? (stderr.trim() || "run npm install again"),
    );
  } catch (error) {
    return fail("workerd", "it is missing", error instanceof Error ? error.message : String(error));
  }
}

/** Whether what the configuration may take fits the machine. */
export function memory({ storage }: Pick<Config, "storage">, totalBytes = totalmem()): Finding {
  const eachMiB = 3 * storage.memtableMiB + storage.rowCacheMiB + storage.blockCacheMiB;
  const needMiB = BASE_MIB + storage.nodes * eachMiB;
  const found = `${Math.round(totalBytes / MIB)} MiB; the key-value store may take ${needMiB} MiB`;
  if (needMiB * MIB <= totalBytes * 0.8) return ok("memory", found);
  return warn("memory", found, "lower storage.rowCacheMiB and storage.blockCacheMiB, or use a larger machine");
}

export function descriptors(limits = readLimits()): Finding {
  const hard = limits?.match(/^Max open files +\d+ +(\d+)/m)?.[1];
  if (hard === undefined) return ok("descriptors", "not told by this system");
  const found = `at most ${hard} open files`;
  if (Number(hard) >= FEW_DESCRIPTORS) return ok("descriptors", found);
  return warn("descriptors", found, "a connection takes two: raise the hard limit (ulimit -Hn, LimitNOFILE=)");
}

function readLimits(): string | undefined {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return undefined; // no /proc
  }
}
