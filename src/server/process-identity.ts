// Tells whether a process of the past still runs: its number alone may have been given to another one.

import { readFileSync } from "node:fs";
import { systemCode } from "./problem.ts";

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot; undefined where the system does not tell. */
  readonly startTicks: string | undefined;
}

/** Field 22 of /proc/<pid>/stat. The name in field 2 may hold spaces and brackets, so count from its last bracket. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    // No such process, or no /proc on this system.
    return undefined;
  }
}

export function identify(pid: number): ProcessIdentity {
  return { pid, startTicks: startTicks(pid) };
}

/** True when exactly that process still runs. Without start times, when any process has its number. */
export function isRunning({ pid, startTicks: known }: ProcessIdentity): boolean {
  if (known !== undefined) return startTicks(pid) === known;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}
