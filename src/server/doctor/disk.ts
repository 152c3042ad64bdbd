// Whether the data directory can be used, how full and how fast its disk is.
// Guarantees: leaves nothing behind; a directory that does not exist yet is not made.

import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DATA_FORMAT } from "../data-dir.ts";
import { systemCode } from "../problem.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

const GIB = 1024 ** 3;
const LEAST_FREE_BYTES = GIB;
const LEAST_FREE_SHARE = 0.05;
const SYNCS = 20;
/** Each acknowledged write waits for one. Ms. */
const SLOW_SYNC_MS = 10;
const NETWORK_FILE_SYSTEMS = /^(nfs|nfs4|cifs|smb3|9p|fuse\.sshfs|glusterfs|ceph)$/;

/** The directory, or the nearest one above it that exists. */
function existing(path: string): string {
  let at = resolve(path);
  while (!existsSync(at)) at = dirname(at);
  return at;
}

export function space(dataDir: string): Finding {
  const { bavail, blocks, bsize } = statfsSync(existing(dataDir));
  const [free, all] = [bavail * bsize, blocks * bsize];
  const found = `${(free / GIB).toFixed(1)} GiB free of ${(all / GIB).toFixed(1)}`;
  if (free >= LEAST_FREE_BYTES && free >= all * LEAST_FREE_SHARE) return ok("disk space", found);
  return warn("disk space", found, "make room: with a full disk writes are refused with 507 until there is some");
}

/** Of `/proc/mounts` the line that a path belongs to: the longest mount point above it. */
export function fileSystem(dataDir: string, mounts = readMounts()): Finding {
  const path = existing(dataDir);
  const above = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, point = ""]) => point === "/" || path === point || path.startsWith(`${point}/`))
    .sort(([, a = ""], [, b = ""]) => b.length - a.length);
  const type = above[0]?.[2];
  if (type === undefined) return ok("file system", "not told by this system");
  if (!NETWORK_FILE_SYSTEMS.test(type)) return ok("file system", type);
  return fail(
    "file system",
    type,
    "use a local disk: neither SQLite nor the instance lock is safe on a network file system",
  );
}

function readMounts(): string {
  try {
    return readFileSync("/proc/mounts", "utf8");
  } catch {
    return ""; // no /proc
  }
}

/** Writes, and how long they take to be durable. */
export function syncSpeed(dataDir: string): Finding {
  const directory = existing(dataDir);
  const path = join(directory, `.doctor-${process.pid}`);
  try {
    const file = openSync(path, "w", 0o600);
    const times = Array.from({ length: SYNCS }, () => {
      const beganMs = performance.now();
      writeSync(file, "probe");
      fsyncSync(file);
      return performance.now() - beganMs;
    }).sort((a, b) => a - b);
    closeSync(file);
    const medianMs = times[SYNCS / 2]!;
    const found = `a write is durable after ${medianMs.toFixed(2)} ms (median of ${SYNCS})`;
    if (medianMs < SLOW_SYNC_MS) return ok("disk speed", found);
    return warn("disk speed", found, "each acknowledged write waits for this: use a faster disk");
  } catch (error) {
    return fail(
      "disk speed",
      `${directory} cannot be written: ${systemCode(error) ?? String(error)}`,
      "choose another with --data-dir, or give permission",
    );
  } finally {
    rmSync(path, { force: true });
  }
}

export function contents(dataDir: string): Finding {
  if (!existsSync(dataDir)) return ok("data", `${dataDir} does not exist yet`);
  const format = existsSync(join(dataDir, "format")) ? readFileSync(join(dataDir, "format"), "utf8").trim() : undefined;
  if (format !== undefined && Number(format) !== DATA_FORMAT)
    return fail("data", `format ${format}, this version reads ${DATA_FORMAT}`, "use the version that wrote it");
  let [files, bytes] = [0, 0];
  for (const entry of readdirSync(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    files++;
    bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return ok("data", `${files} files, ${(bytes / 2 ** 20).toFixed(1)} MiB`);
}
