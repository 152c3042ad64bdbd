// Learns where rows go from a sample of them: split points of equal shares, or centroids by balanced k-means. In slices; the same sample gives
// the same map. Guarantees: at most as many shards as asked for, fewer where the sample does not tell them apart; undefined of nothing. Must
// not: do I/O.
import type { Metric } from "../metric.ts";
import { seededWords } from "../quantize/seeded.ts";
import {
  BALANCE_RATE,
  BALANCE_ROUNDS,
  BALANCED,
  CENTROID_ROUNDS,
  LEARN_SLICE_ROWS,
  PROBE_NEIGHBOURS,
  PROBE_QUERIES,
  SPLIT_ABOVE,
  SPLIT_INTO,
  SPLIT_ROUNDS,
} from "./limits.ts";
import {
  type CentroidMap,
  compareSplits,
  directionOf,
  nearestShards,
  type RangeMap,
  type SplitPoint,
  squaredDistance,
} from "./shard-map.ts";

export interface SplitAsk {
  readonly key: string;
  readonly numShards: number;
  /** Rows of the sample that have not exactly one value there: they are the first shard's. */
  readonly oddRows?: number;
}

/** Points of equal shares of the sample, a value never cut in two. Mixed types: that of most; the others are odd. */
export function learnSplits(values: readonly SplitPoint[], { key, numShards, oddRows = 0 }: SplitAsk): RangeMap {
  const texts = values.filter((value) => typeof value === "string");
  const numbers = values.filter((value) => typeof value === "number");
  const sorted = (texts.length > numbers.length ? texts : numbers).toSorted(compareSplits);
  const points: SplitPoint[] = [];
  let inShard = oddRows + values.length - sorted.length;
  let left = inShard + sorted.length;
  for (let at = 0; at < sorted.length; ) {
    let end = at + 1;
    while (end < sorted.length && compareSplits(sorted[end]!, sorted[at]!) === 0) end++;
    const count = end - at;
    const shardsLeft = numShards - points.length;
    if (shardsLeft > 1 && inShard > 0 && inShard + count / 2 > left / shardsLeft) {
      points.push(sorted[at]!);
      left -= inShard;
      inShard = 0;
    }
    inShard += count;
    at = end;
  }
  return { kind: "range", key, points };
}

export interface CentroidAsk {
  readonly metric: Metric;
  readonly numShards: number;
  /** The share of true neighbours that the shards probed by default must hold. */
  readonly targetRecall: number;
  readonly seed: number;
  /** Where rows are now: shards of the new map are numbered so that few of them move. */
  readonly before?: CentroidMap | undefined;
}

export function* learnCentroids(
  sample: readonly Float32Array[],
  { metric, numShards, targetRecall, seed, before }: CentroidAsk,
): Generator<void, CentroidMap | undefined> {
  if (sample.length === 0) return undefined;
  const isOfDirections = metric !== "euclidean";
  const points = isOfDirections ? sample.map(directionOf) : sample;
  const random = seededWords(seed);
  let cells: Cells = {
    centroids: yield* firstCentroids(points, Math.min(numShards, sample.length), random),
    weights: Array.from({ length: Math.min(numShards, sample.length) }, () => 0),
  };
  for (let round = 0; round < CENTROID_ROUNDS; round++)
    cells = yield* movedCells(points, cells, { random, isSplitting: round < SPLIT_ROUNDS });
  cells = yield* balancedCells(points, cells);
  const { length: dimension } = points[0]!;
  const { length: probes } = cells.centroids;
  const map: CentroidMap = { kind: "centroid", isOfDirections, dimension, ...cells, probes };
  const numbered = before ? numberedAs(before, map, sample) : map;
  return { ...numbered, probes: yield* probesFor(sample, numbered, { metric, targetRecall }) };
}

interface Cells {
  readonly centroids: readonly Float32Array[];
  readonly weights: readonly number[];
}

/** Each one far from those before: by the square of the distance, as k-means++ draws them. */
function* firstCentroids(
  points: readonly Float32Array[],
  count: number,
  random: () => number,
): Generator<void, readonly Float32Array[]> {
  const centroids = [points[random() % points.length]!];
  const nearest = points.map((point) => squaredDistance(point, centroids[0]!));
  while (centroids.length < count) {
    const sum = nearest.reduce((all, distance) => all + distance, 0);
    let left = (random() / 2 ** 32) * sum;
    let chosen = nearest.findIndex((distance) => {
      left -= distance;
      return left < 0;
    });
    if (chosen < 0) chosen = random() % points.length;
    const centroid = points[chosen]!;
    centroids.push(centroid);
    for (const [at, point] of points.entries()) {
      nearest[at] = Math.min(nearest[at]!, squaredDistance(point, centroid));
      if (at % LEARN_SLICE_ROWS === 0) yield;
    }
  }
  return centroids;
}

/** What the rows of a cell come to. */
interface CellSums {
  count: number;
  /** Of squared distances to the centroid. */
  squares: number;
  readonly sum: Float64Array;
  /** One of its rows, any. */
  row: Float32Array | undefined;
}

/** Each centroid goes to the mean of its rows; those of the smallest cells go into the greatest, where these are too great. */
function* movedCells(
  points: readonly Float32Array[],
  { centroids, weights }: Cells,
  { random, isSplitting }: { readonly random: () => number; readonly isSplitting: boolean },
): Generator<void, Cells> {
  const dimension = points[0]!.length;
  const cells = centroids.map((): CellSums => {
    return { count: 0, squares: 0, sum: new Float64Array(dimension), row: undefined };
  });
  for (const [at, point] of points.entries()) {
    const distances = centroids.map((centroid) => squaredDistance(centroid, point));
    const nearest = leastOf(distances, weights);
    const cell = cells[nearest]!;
    cell.count++;
    cell.squares += distances[nearest]!;
    if (random() % cell.count === 0) cell.row = point;
    for (let i = 0; i < dimension; i++) cell.sum[i]! += point[i]!;
    if (at % LEARN_SLICE_ROWS === 0) yield;
  }
  const moved = cells.map(({ count, sum }, at) =>
    count === 0 ? centroids[at]! : Float32Array.from(sum, (value) => value / count),
  );
  const mean = points.length / cells.length;
  const grown = weights.map((weight, at) => weight + heavier(cells[at]!, mean));
  const order = cells.map((_, at) => at).sort((a, b) => cells[b]!.count - cells[a]!.count);
  for (const [rank, great] of order.entries()) {
    const small = order[order.length - 1 - rank]!;
    const [most, least] = [cells[great]!, cells[small]!];
    const isWorth = isSplitting && most.count > SPLIT_ABOVE * mean && least.count < most.count * SPLIT_INTO;
    if (rank >= order.length / 2 || (!isWorth && least.count > 0)) continue;
    moved[small] = (most.row ?? points[random() % points.length]!).slice();
    grown[small] = grown[great]!;
  }
  return { centroids: moved, weights: grown };
}

/** How much heavier a cell of so many rows gets: in measures of its own. */
function heavier({ count, squares }: Pick<CellSums, "count" | "squares">, mean: number): number {
  return count === 0 ? 0 : BALANCE_RATE * (squares / count) * Math.min(1, count / mean - 1);
}

/**
 * The weights under which the greatest cell is smallest, of those that were tried; centroids stay. A cell that stays too great, or too small, takes
 * longer steps, one that goes from one to the other shorter ones.
 */
function* balancedCells(points: readonly Float32Array[], { centroids, weights }: Cells): Generator<void, Cells> {
  const rows: Float64Array[] = [];
  for (const [at, point] of points.entries()) {
    rows.push(Float64Array.from(centroids, (centroid) => squaredDistance(centroid, point)));
    if (at % LEARN_SLICE_ROWS === 0) yield;
  }
  const mean = points.length / centroids.length;
  const now = [...weights];
  const steps = centroids.map(() => 0);
  let [best, least] = [weights, Number.POSITIVE_INFINITY];
  for (let round = 0; round < BALANCE_ROUNDS; round++) {
    const cells = centroids.map(() => ({ count: 0, squares: 0 }));
    for (const distances of rows) {
      const nearest = leastOf(distances, now);
      const cell = cells[nearest]!;
      cell.count++;
      cell.squares += distances[nearest]!;
    }
    const most = Math.max(...cells.map(({ count }) => count));
    if (most < least) [best, least] = [[...now], most];
    if (most <= BALANCED * mean) break;
    for (const [at, { count, squares }] of cells.entries()) {
      const way = Math.sign(count - mean);
      const first = (BALANCE_RATE * squares) / Math.max(1, count);
      const step = Math.abs(steps[at]!);
      const next = way === Math.sign(steps[at]!) ? step * 1.3 : step === 0 ? first : step / 2;
      steps[at] = way * next;
      now[at]! += steps[at];
    }
    yield;
  }
  return { centroids, weights: best };
}

function leastOf(distances: ArrayLike<number>, weights: readonly number[]): number {
  let [best, least] = [0, Number.POSITIVE_INFINITY];
  for (let at = 0; at < distances.length; at++) {
    const weighed = distances[at]! + weights[at]!;
    if (weighed < least) [best, least] = [at, weighed];
  }
  return best;
}

/** The same cells; those that share most of the sample with a shard of before have its number. */
function numberedAs(before: CentroidMap, map: CentroidMap, sample: readonly Float32Array[]): CentroidMap {
  const { length } = map.centroids;
  const shared = map.centroids.map(() => Array.from({ length }, () => 0));
  for (const values of sample) {
    const [cell, held] = [nearestShards(map, values)[0]!, nearestShards(before, values)[0]!];
    if (held < length) shared[cell]![held]!++;
  }
  const pairs = shared.flatMap((row, cell) => row.map((count, number) => ({ cell, number, count })));
  const cellOf = new Map<number, number>();
  const numbered = new Set<number>();
  for (const { cell, number } of pairs.sort((a, b) => b.count - a.count)) {
    if (cellOf.has(number) || numbered.has(cell)) continue;
    cellOf.set(number, cell);
    numbered.add(cell);
  }
  const order = map.centroids.map((_, number) => cellOf.get(number)!);
  const { centroids, weights = [] } = map;
  return { ...map, centroids: order.map((cell) => centroids[cell]!), weights: order.map((cell) => weights[cell]!) };
}

/** The fewest shards that hold the asked share of the sample's true neighbours. */
function* probesFor(
  sample: readonly Float32Array[],
  map: CentroidMap,
  { metric, targetRecall }: { readonly metric: Metric; readonly targetRecall: number },
): Generator<void, number> {
  const shardOf = sample.map((values) => nearestShards(map, values)[0]!);
  const every = Math.max(1, Math.floor(sample.length / PROBE_QUERIES));
  /** Neighbours by the rank of their shard. */
  const found = map.centroids.map(() => 0);
  let all = 0;
  for (let query = 0; query < sample.length; query += every) {
    const ranks = nearestShards(map, sample[query]!);
    for (const row of neighboursOf(sample, query, metric)) {
      found[ranks.indexOf(shardOf[row]!)]!++;
      all++;
    }
    yield;
  }
  let held = 0;
  const probes = found.findIndex((count) => {
    held += count;
    return held >= targetRecall * all;
  });
  return probes < 0 ? map.centroids.length : probes + 1;
}

function neighboursOf(sample: readonly Float32Array[], query: number, metric: Metric): readonly number[] {
  const values = sample[query]!;
  const distances = sample.map((row) => distanceBy(metric, values, row));
  return distances
    .map((_, row) => row)
    .filter((row) => row !== query)
    .sort((a, b) => distances[a]! - distances[b]!)
    .slice(0, PROBE_NEIGHBOURS);
}

function distanceBy(metric: Metric, a: Float32Array, b: Float32Array): number {
  if (metric === "euclidean") return squaredDistance(a, b);
  let [product, squares] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    squares += b[i]! * b[i]!;
  }
  return metric === "dot" ? -product : -product / Math.sqrt(squares || 1);
}
