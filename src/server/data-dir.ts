// Lays out the data directory and says plainly when it cannot be used.
// Guarantees: on return it exists, is writable, and was made by a version whose format this one reads.

import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { OperatorError, systemCode } from "./problem.ts";

/** Raised when a later version lays files out in a way this one must not touch. */
export const DATA_FORMAT = 1;

export interface DataDir {
  readonly path: string;
  /** SQLite files of the objects. */
  readonly objects: string;
  /** Files of the blob store `disk`. */
  readonly blobs: string;
  /** Of an instance of a cluster: workerd's copies of the leaders that are here at present. */
  readonly leaders: string;
  /** What workerd is started from: configuration and a copy of the Worker. Made anew at each start. */
  readonly run: string;
}

const HELP: Readonly<Record<string, string>> = {
  EACCES: "no permission to write there",
  EPERM: "no permission to write there",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of the path is a file",
  EEXIST: "it is a file",
};

/** @throws OperatorError when it cannot be made, written, or read by this version. */
export function prepareDataDir(given: string): DataDir {
  const path = resolve(given);
  const [objects, blobs, leaders, run] = ["objects", "blobs", "leaders", "run"].map((name) => join(path, name));
  const dir: DataDir = { path, objects: objects!, blobs: blobs!, leaders: leaders!, run: run! };
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    for (const part of [dir.objects, dir.blobs]) mkdirSync(part, { recursive: true, mode: 0o700 });
    const probe = join(path, `.probe-${process.pid}`);
    writeFileSync(probe, "probe");
    rmSync(probe);
  } catch (cause) {
    const why = HELP[systemCode(cause) ?? ""] ?? String(cause);
    throw new OperatorError(`the data directory ${path} cannot be used: ${why}. Choose another with --data-dir`, {
      cause,
    });
  }
  checkFormat(join(path, "format"), path);
  return dir;
}

/** What workerd's disk service names a file until it is whole. Names of blobs do not begin with a dot. */
const UNFINISHED_BLOB = /^\..+\.\d+\.\d+\.tmp$/;

/** Removes files that the disk service had begun when it was killed; nothing refers to them. Only while no workerd runs. */
export function removeUnfinishedBlobs({ blobs }: DataDir): void {
  for (const entry of readdirSync(blobs, { recursive: true, withFileTypes: true }))
    if (entry.isFile() && UNFINISHED_BLOB.test(entry.name)) rmSync(join(entry.parentPath, entry.name), { force: true });
}

/** A single node's owners lie among its objects; an instance's lie in the bucket. @throws OperatorError when those are here. */
export function assertNoSingleNode({ path, objects }: DataDir): void {
  if (!existsSync(join(objects, "jade-directory"))) return;
  throw new OperatorError(
    `the data directory ${path} is of a single node, and cannot become an instance's of a cluster. Choose another with --data-dir, and bring the data over by export and import`,
  );
}

/** @throws OperatorError when the directory is an instance's of a cluster. */
export function assertNoInstance({ path, leaders }: DataDir): void {
  if (!existsSync(leaders)) return;
  throw new OperatorError(
    `the data directory ${path} is of an instance of a cluster: start it with --cluster, or choose another with --data-dir`,
  );
}

function checkFormat(file: string, dataDir: string): void {
  if (!existsSync(file)) {
    writeFileSync(file, `${DATA_FORMAT}\n`);
    return;
  }
  const found = Number(readFileSync(file, "utf8").trim());
  if (found === DATA_FORMAT) return;
  throw new OperatorError(
    `the data directory ${dataDir} has format ${found}, this version reads format ${DATA_FORMAT}: use the version that wrote it`,
  );
}
