// Instances of a cluster on this machine that are stopped until somebody starts them again: a file each, which the launcher looks at (launch.ts).
// Guarantees: one that is held is not started, also by the next start of the cluster. Must not: stop an instance other than politely.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorError } from "../problem.ts";

const POLL_MS = 100;
/** Its leaders hand over meanwhile. */
const STOP_MS = 60_000;

function holdFile(dir: string, zone: string): string {
  return join(dir, `${zone}.held`);
}

export function isHeld(dir: string, zone: string): boolean {
  return existsSync(holdFile(dir, zone));
}

function assertInstance(dir: string, zone: string): void {
  // Its directory may have been lost.
  if (!/^z\d+$/.test(zone) || !(existsSync(join(dir, zone)) || isHeld(dir, zone)))
    throw new OperatorError(`there is no instance ${JSON.stringify(zone)} in ${dir}`);
}

/** Its supervisor; undefined = it does not run. */
function runningPid(dir: string, zone: string): number | undefined {
  try {
    const lock = JSON.parse(readFileSync(join(dir, zone, "instance.lock"), "utf8")) as { supervisor: { pid: number } };
    process.kill(lock.supervisor.pid, 0);
    return lock.supervisor.pid;
  } catch {
    return undefined; // no lock, or nobody who holds it
  }
}

/** Resolves when it has ended. @throws OperatorError */
export async function stopInstance(dir: string, zone: string): Promise<void> {
  assertInstance(dir, zone);
  writeFileSync(holdFile(dir, zone), "");
  const pid = runningPid(dir, zone);
  if (pid !== undefined) process.kill(pid, "SIGTERM");
  const end = performance.now() + STOP_MS;
  while (runningPid(dir, zone) !== undefined) {
    if (performance.now() > end) throw new OperatorError(`${zone} has not ended after ${STOP_MS / 1000} s`);
    await sleep(POLL_MS);
  }
}

/** The launcher starts it within a second. @throws OperatorError */
export function startInstance(dir: string, zone: string): void {
  assertInstance(dir, zone);
  rmSync(holdFile(dir, zone), { force: true });
}
