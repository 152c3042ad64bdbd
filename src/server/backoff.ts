// How long to wait before the next start of a process that died. Pure.

export const FIRST_RESTART_MS = 20;
/** DESIGN 9.12: a restart never waits longer. */
export const MAX_RESTART_MS = 1000;
/** A run this long was a good one: the next death starts over. */
export const GOOD_RUN_MS = 10_000;

/** @param deaths ends in a row without a good run between them, ≥ 1. */
export function restartDelayMs(deaths: number): number {
  return Math.min(MAX_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.min(deaths - 1, 16));
}
