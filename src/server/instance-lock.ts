// One running instance for a data directory: a lock file naming the supervisor and its workerd.
// Guarantees: two live supervisors never both hold it; a lock of a dead one is taken over, and a workerd it left behind is
// ended first. Invariant: the file names a live process ⇔ someone may write the data. Must not: be on a network file system.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { OperatorError, systemCode } from "./problem.ts";
import { identify, isRunning, type ProcessIdentity } from "./process-identity.ts";

const LOCK_FILE = "instance.lock";
const ORPHAN_TERM_MS = 3000;
const MAX_ATTEMPTS = 5;

const identitySchema = z.object({ pid: z.int().positive(), startTicks: z.string().optional() });
const lockSchema = z.object({
  supervisor: identitySchema,
  workerd: identitySchema.optional(),
  leaders: identitySchema.optional(),
  models: identitySchema.optional(),
});

interface Holder {
  readonly supervisor: ProcessIdentity;
  readonly workerd?: ProcessIdentity | undefined;
  /** In a cluster: the process of the leaders. */
  readonly leaders?: ProcessIdentity | undefined;
  /** The process that runs embedding models. */
  readonly models?: ProcessIdentity | undefined;
}

/** Which of an instance's workerd processes. */
export type LockedPart = "workerd" | "leaders" | "models";

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Gone: whoever held it let go.
    return undefined;
  }
}

function parseHolder(text: string | undefined): Holder | undefined {
  if (text === undefined) return undefined;
  try {
    const { supervisor, workerd, leaders, models } = lockSchema.parse(JSON.parse(text));
    const identity = ({ pid, startTicks }: z.output<typeof identitySchema>): ProcessIdentity => ({ pid, startTicks });
    return {
      supervisor: identity(supervisor),
      workerd: workerd && identity(workerd),
      leaders: leaders && identity(leaders),
      models: models && identity(models),
    };
  } catch {
    // Locks are written whole by link and rename, so an unreadable one was never ours.
    return undefined;
  }
}

async function endOrphan(workerd: ProcessIdentity): Promise<void> {
  if (!isRunning(workerd)) return;
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    try {
      process.kill(workerd.pid, signal);
    } catch (error) {
      if (systemCode(error) !== "ESRCH") throw error;
    }
    for (let waitedMs = 0; waitedMs < ORPHAN_TERM_MS; waitedMs += 50) {
      if (!isRunning(workerd)) return;
      await sleep(50);
    }
  }
  throw new OperatorError(
    `a workerd of an earlier run (process ${workerd.pid}) does not end: stop it, then start again`,
  );
}

export class InstanceLock {
  readonly #path: string;
  #held: Holder = { supervisor: identify(process.pid) };

  private constructor(path: string) {
    this.#path = path;
  }

  /** @throws OperatorError when another live instance holds the directory. */
  static async acquire(dataDir: string): Promise<InstanceLock> {
    const path = join(dataDir, LOCK_FILE);
    const aside = `${path}.${process.pid}`;
    const mine: Holder = { supervisor: identify(process.pid) };
    writeFileSync(aside, JSON.stringify(mine), { mode: 0o600 });
    try {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        if (tryLink(aside, path)) return new InstanceLock(path);
        await releaseStale(path, dataDir);
      }
    } finally {
      rmSync(aside, { force: true });
    }
    throw new OperatorError(`the lock ${path} changes hands again and again: stop the other starts, then try again`);
  }

  /** Remembers the workerd that now writes the data, so that a later start can end it should we die first. */
  noteWorkerd(pid: number, part: LockedPart = "workerd"): void {
    this.#held = { ...this.#held, [part]: identify(pid) };
    const aside = `${this.#path}.${process.pid}`;
    writeFileSync(aside, JSON.stringify(this.#held), { mode: 0o600 });
    renameSync(aside, this.#path);
  }

  release(): void {
    rmSync(this.#path, { force: true });
  }
}

/** `link` fails when the name exists: the lock appears whole, or not at all. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function releaseStale(path: string, dataDir: string): Promise<void> {
  const text = readText(path);
  const holder = parseHolder(text);
  if (holder !== undefined && isRunning(holder.supervisor)) {
    throw new OperatorError(
      `the data directory ${dataDir} is in use by another instance (process ${holder.supervisor.pid}). Stop it, or choose another with --data-dir`,
    );
  }
  for (const left of [holder?.workerd, holder?.leaders, holder?.models]) if (left !== undefined) await endOrphan(left);
  const stale = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, stale);
    // Another start may have replaced the stale lock by its own since we judged it: then give that one back.
    if (readText(stale) !== text) tryLink(stale, path);
    rmSync(stale, { force: true });
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
