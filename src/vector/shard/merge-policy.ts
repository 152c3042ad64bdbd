// Which sealed segments to merge: many of one size become one of the next; one that is mostly deleted is rewritten alone.
// So a row is rewritten once for each size it passes, and a search asks few segments. Pure.
import { MAX_SEGMENT_ROWS } from "../segment/limits.ts";
import { FRESH_ROWS, MERGE_FAN_IN, MOST_DELETED_SHARE, SMALL_SEGMENT_ROWS } from "./limits.ts";

export interface Mergeable {
  readonly rowCount: number;
  readonly liveCount: number;
}

/** Rows come faster than they are sealed or merged: searches would ask more and more segments, and scan more rows. */
export function isBehind({
  freshCount,
  sealed,
}: {
  readonly freshCount: number;
  readonly sealed: readonly Mergeable[];
}): boolean {
  const small = sealed.filter(({ rowCount }) => rowCount < SMALL_SEGMENT_ROWS).length;
  return freshCount > 2 * FRESH_ROWS || small >= 2 * MERGE_FAN_IN;
}

/** Undefined = nothing is due. */
export function mergeDue<S extends Mergeable>(
  segments: readonly S[],
  mostDeletedShare = MOST_DELETED_SHARE,
): readonly S[] | undefined {
  const tiers = new Map<number, S[]>();
  for (const segment of segments) {
    const tier = tierOf(segment.liveCount);
    tiers.set(tier, [...(tiers.get(tier) ?? []), segment]);
  }
  for (const [, tier] of [...tiers].sort(([a], [b]) => a - b)) {
    const chosen = fitting(tier.toSorted((a, b) => a.liveCount - b.liveCount));
    if (chosen.length >= MERGE_FAN_IN) return chosen;
  }
  const wasteful = segments.find(({ rowCount, liveCount }) => rowCount - liveCount > rowCount * mostDeletedShare);
  return wasteful && [wasteful];
}

function tierOf(rows: number): number {
  return Math.floor(Math.log(Math.max(1, rows)) / Math.log(MERGE_FAN_IN));
}

/** As many as fit one segment. */
function fitting<S extends Mergeable>(segments: readonly S[]): readonly S[] {
  let rows = 0;
  return segments.filter(({ liveCount }) => {
    rows += liveCount;
    return rows <= MAX_SEGMENT_ROWS;
  });
}
