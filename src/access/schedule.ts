// When an object's one alarm must ring, and how long to wait after a failure. Pure functions of times; nothing else.

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;

/** The earliest due time of several tasks; null = no alarm. Times in ms; null entries have nothing to do. */
export function nextAlarmAt(dueTimes: readonly (number | null | undefined)[]): number | null {
  let earliest: number | null = null;
  for (const due of dueTimes) {
    if (due !== null && due !== undefined && (earliest === null || due < earliest)) earliest = due;
  }
  return earliest;
}

/** Doubling from half a second to a minute. `failures` ≥ 1. */
export function retryDelayMs(failures: number): number {
  return Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(20, Math.max(0, failures - 1)));
}
