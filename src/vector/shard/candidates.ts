// Candidates of several segments: which of them may be among the nearest of all. What a segment alone would measure exactly, its neighbours' candidates
// often rule out.
// Guarantees: none is left out that the error of the estimates could make one of the `k` nearest; where a number of candidates was asked for,
// all of them stay. Pure.
import type { Found } from "../index/segment-index.ts";

/** The estimate of the `k`-th errs, too. With one slack a thousandth of the recall of 49 152 real rows was lost, with three nothing. */
const SLACKS = 3;

/** The same, without those that stand too far behind the `k`-th of all. */
export function nearestCandidates(all: readonly Found[], k: number): readonly Found[] {
  const comparable = all.filter(({ isExact, slack }) => isExact || slack);
  if (comparable.length < 2 || comparable.every(({ isExact }) => isExact)) return all;
  const count = comparable.reduce((sum, { distances }) => sum + distances.length, 0);
  if (count <= k) return all;
  const distances = new Float32Array(count);
  let at = 0;
  for (const found of comparable) {
    distances.set(found.distances, at);
    at += found.distances.length;
  }
  const last = distances.sort()[k - 1]!;
  return all.map((found) => {
    if (!found.slack) return found;
    const most = last + SLACKS * found.slack(last);
    const beyond = found.distances.findIndex((distance) => distance > most);
    if (beyond < 0) return found;
    return { ...found, rows: found.rows.subarray(0, beyond), distances: found.distances.subarray(0, beyond) };
  });
}
