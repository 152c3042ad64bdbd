// Where on the ring a new storage node stands, so that it takes its share, and takes it from those that have most (ADR 56).
// Guarantees: within a zone every node's share of the ring stays close to its weight; nobody else's positions change.
// Must not: know tokens of keys or what data there is.

/** Positions of a node of weight 1. */
export const POSITIONS_PER_WEIGHT = 128;

const RING = 2 ** 32;
/** Of a range, at most so much is taken at once: its owner keeps a position that means something. */
const MOST_OF_RANGE = 0.9;
/** How far the parts that are taken differ, so that positions of several zones do not fall into step. */
const UNEVENNESS = 0.3;

export interface Placed {
  readonly zone: string;
  readonly weight: number;
  /** High words of tokens. */
  readonly positions: readonly number[];
}

interface Range {
  /** The position before, below zero for the first. */
  start: number;
  length: number;
  readonly owner: Placed;
}

export function positionCount(weight: number, perWeight = POSITIONS_PER_WEIGHT): number {
  return Math.max(1, Math.round(weight * perWeight));
}

/** The ring as the nodes of one zone divide it among themselves: each position owns what lies before it. */
function rangesOf(nodes: readonly Placed[]): Range[] {
  const all = nodes.flatMap((owner) => owner.positions.map((position) => ({ position, owner })));
  all.sort((a, b) => a.position - b.position);
  return all.map(({ position, owner }, at) => {
    const start = at > 0 ? all[at - 1]!.position : all.at(-1)!.position - RING;
    return { start, length: position - start, owner };
  });
}

interface Holding {
  readonly owner: Placed;
  readonly ranges: Range[];
  length: number;
}

function holdingsOf(nodes: readonly Placed[]): Holding[] {
  const holdings = new Map<Placed, Holding>(nodes.map((owner) => [owner, { owner, ranges: [], length: 0 }]));
  for (const range of rangesOf(nodes)) {
    const holding = holdings.get(range.owner)!;
    holding.ranges.push(range);
    holding.length += range.length;
  }
  return [...holdings.values()];
}

/** Positions for a node that joins; `nodes` are all others of the ring. */
export function newPositions(
  nodes: readonly Placed[],
  joining: Pick<Placed, "zone" | "weight">,
  random: () => number,
): number[] {
  const count = positionCount(joining.weight);
  const holdings = holdingsOf(nodes.filter(({ zone }) => zone === joining.zone));
  if (holdings.length === 0) return evenly(count, random);
  const weights = holdings.reduce((sum, { owner }) => sum + owner.weight, 0);
  const share = (RING * joining.weight) / (weights + joining.weight);
  const positions = new Set<number>();
  let taken = 0;
  while (positions.size < count) {
    const holding = greatest(holdings, ({ length, owner }) => length / owner.weight);
    const range = greatest(holding.ranges, ({ length }) => length);
    if (range.length < 2) break; // no room on the ring
    const part = ((share - taken) / (count - positions.size)) * (1 + (random() - 0.5) * 2 * UNEVENNESS);
    const length = Math.max(1, Math.min(Math.round(part), Math.floor(range.length * MOST_OF_RANGE)));
    range.start += length;
    range.length -= length;
    holding.length -= length;
    taken += length;
    positions.add((range.start + RING) % RING);
  }
  return [...positions].sort((a, b) => a - b);
}

function greatest<T>(items: readonly T[], of: (item: T) => number): T {
  return items.reduce((best, item) => (of(item) > of(best) ? item : best));
}

function evenly(count: number, random: () => number): number[] {
  const offset = random();
  const part = RING / count;
  const positions = Array.from(
    { length: count },
    (_, at) => Math.floor((offset + at + random() * 0.999) * part) % RING,
  );
  return [...new Set(positions)].sort((a, b) => a - b);
}
