// How long whoever compares rows rests after a step. Pure.

/** What a step did, and how much of it is allowed in a second; no bound = infinite. */
export interface Spent {
  readonly count: number;
  readonly perSecond: number;
}

/** Ms. The longest that any of the bounds asks for. */
export function restMs(spent: readonly Spent[]): number {
  return Math.max(0, ...spent.map(({ count, perSecond }) => (count / perSecond) * 1000));
}
