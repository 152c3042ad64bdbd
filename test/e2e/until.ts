// Waiting in end-to-end tests: for what must come about, however slow the machine; what comes at once costs nothing.
import { setTimeout as sleep } from "node:timers/promises";

/** Far beyond what anything takes on a quiet machine; below the time limit of a test. Ms. */
export const PATIENCE_MS = 90_000;
const POLL_MS = 100;

/** Polls until `check` is true; gives whether it ever was, so that the test's own expectation says what is missing. */
export async function until(check: () => boolean | Promise<boolean>, patienceMs = PATIENCE_MS): Promise<boolean> {
  const end = performance.now() + patienceMs;
  while (!(await check())) {
    if (performance.now() > end) return false;
    await sleep(POLL_MS);
  }
  return true;
}
