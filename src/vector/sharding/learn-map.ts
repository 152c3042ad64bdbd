// Learns where rows go from the first of them: split points of equal shares, or centroids by k-means. In slices; the same sample gives the
// same map. Guarantees: as many shards as asked for, or undefined where the sample does not tell them apart. Must not: do I/O.
import { type JsonObject, visitMetadata } from "../metadata/values.ts";
import type { Metric } from "../metric.ts";
import { seededWords } from "../quantize/seeded.ts";
import { type AwayBlocks, forAll, whenHere } from "../segment/away.ts";
import { parsedMetadata } from "../shard/fresh-segment.ts";
import { type ListingPlace, listPage } from "../shard/listing.ts";
import type { ShardingConfig } from "../shard/shard-config.ts";
import type { Located, VectorStore } from "../shard/vector-store.ts";
import {
  CENTROID_ROUNDS,
  LEARN_SLICE_ROWS,
  MAX_SAMPLE_ROWS,
  MAX_SAMPLE_VALUES,
  PROBE_NEIGHBOURS,
  PROBE_QUERIES,
} from "./limits.ts";
import {
  type CentroidMap,
  compareSplits,
  directionOf,
  nearestShards,
  type RangeMap,
  type ShardMap,
  type SplitPoint,
  squaredDistance,
} from "./shard-map.ts";

/** Points of equal shares of the sample's values; undefined = too few different ones. Mixed types: that of most. */
export function learnSplits(
  values: readonly SplitPoint[],
  { key, numShards }: { readonly key: string; readonly numShards: number },
): RangeMap | undefined {
  const texts = values.filter((value) => typeof value === "string");
  const numbers = values.filter((value) => typeof value === "number");
  const sorted = (texts.length > numbers.length ? texts : numbers).toSorted(compareSplits);
  const points = Array.from(
    { length: numShards - 1 },
    (_, at) => sorted[Math.floor(((at + 1) * sorted.length) / numShards)]!,
  );
  const isAscending = points.every((point, at) => at === 0 || compareSplits(points[at - 1]!, point) < 0);
  return sorted.length >= numShards && isAscending ? { kind: "range", key, points } : undefined;
}

export interface CentroidAsk {
  readonly metric: Metric;
  readonly numShards: number;
  /** The share of true neighbours that the shards probed by default must hold. */
  readonly targetRecall: number;
  readonly seed: number;
}

export function* learnCentroids(
  sample: readonly Float32Array[],
  { metric, numShards, targetRecall, seed }: CentroidAsk,
): Generator<void, CentroidMap | undefined> {
  if (sample.length < numShards) return undefined;
  const isOfDirections = metric !== "euclidean";
  const points = isOfDirections ? sample.map(directionOf) : sample;
  const random = seededWords(seed);
  let centroids = yield* firstCentroids(points, numShards, random);
  for (let round = 0; round < CENTROID_ROUNDS; round++) centroids = yield* movedCentroids(points, centroids, random);
  const dimension = points[0]!.length;
  const map: CentroidMap = { kind: "centroid", isOfDirections, dimension, centroids, probes: numShards };
  return { ...map, probes: yield* probesFor(sample, map, { metric, targetRecall }) };
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

function* movedCentroids(
  points: readonly Float32Array[],
  centroids: readonly Float32Array[],
  random: () => number,
): Generator<void, readonly Float32Array[]> {
  const dimension = points[0]!.length;
  const sums = centroids.map(() => new Float64Array(dimension));
  const counts = centroids.map(() => 0);
  for (const [at, point] of points.entries()) {
    const nearest = nearestOf(centroids, point);
    counts[nearest]!++;
    const sum = sums[nearest]!;
    for (let i = 0; i < dimension; i++) sum[i]! += point[i]!;
    if (at % LEARN_SLICE_ROWS === 0) yield;
  }
  // One that nobody is near begins again at a row.
  return sums.map((sum, at) =>
    counts[at] === 0
      ? points[random() % points.length]!.slice()
      : Float32Array.from(sum, (value) => value / counts[at]!),
  );
}

function nearestOf(centroids: readonly Float32Array[], point: Float32Array): number {
  let [best, least] = [0, Number.POSITIVE_INFINITY];
  for (const [at, centroid] of centroids.entries()) {
    const distance = squaredDistance(centroid, point);
    if (distance < least) [best, least] = [at, distance];
  }
  return best;
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

/** Learns from a shard's own rows: while none were moved they are there by a hash of their ids, so they are like all of the database's. */
export function* mapSampleOf(
  store: VectorStore,
  { strategy, key, numShards, targetRecall }: ShardingConfig,
  metric: Metric,
): Generator<AwayBlocks | undefined, ShardMap | undefined> {
  const vectors: Float32Array[] = [];
  const values: SplitPoint[] = [];
  let after: ListingPlace | undefined;
  do {
    const page = listPage(store, { after, limit: 256 });
    if (strategy === "range") {
      for (const { segment, row } of page.rows)
        values.push(...splitPointsOf(parsedMetadata(segment.metadataOf(row)), key!));
    } else {
      const read = ({ segment, row }: Located) => new Float32Array(segment.valuesOf(row).slice().buffer);
      vectors.push(...(yield* whenHere(() => forAll(page.rows, read))));
    }
    after = page.next;
    yield;
    const heldValues = vectors.length * (vectors[0]?.length ?? 0);
    if (vectors.length + values.length >= MAX_SAMPLE_ROWS || heldValues >= MAX_SAMPLE_VALUES) break;
  } while (after);
  if (strategy === "range") return learnSplits(values, { key: key!, numShards });
  const learning = learnCentroids(vectors, { metric, numShards, targetRecall, seed: 1 });
  for (let step = learning.next(); ; step = learning.next()) {
    if (step.done) return step.value;
    yield;
  }
}

function splitPointsOf(metadata: JsonObject, key: string): readonly SplitPoint[] {
  const found: SplitPoint[] = [];
  visitMetadata(metadata, {
    present: () => undefined,
    point: () => undefined,
    scalar: (path, value) => {
      if (path === key && (typeof value === "number" || typeof value === "string")) found.push(value);
    },
  });
  return found;
}
