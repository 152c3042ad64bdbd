// Which shard of a database a row goes to, and which shards a search must ask, where that follows from metadata (`range`) or from the
// values (`centroid`). Pure; the map of a topology never changes. Guarantees: bytes that are no map are refused. Must not: know objects.
import { ByteReader, ByteWriter, MalformedBytes } from "../../wire/bytes.ts";
import type { Filter } from "../filter/filter.ts";
import { compareText, type JsonObject, type Scalar, visitMetadata } from "../metadata/values.ts";
import { MAX_SPLIT_POINTS } from "./limits.ts";

export type SplitPoint = number | string;

/** Shard i holds the values from point i - 1 (included) to point i. */
export interface RangeMap {
  readonly kind: "range";
  readonly key: string;
  readonly points: readonly SplitPoint[];
}

/**
 * A row is in the shard of its nearest centroid: by squared distance, of directions where they count (cosine, dot), plus the centroid's weight
 * (a power diagram): where rows are dense, weights keep shards of one size.
 */
export interface CentroidMap {
  readonly kind: "centroid";
  readonly isOfDirections: boolean;
  readonly dimension: number;
  /** One a shard. */
  readonly centroids: readonly Float32Array[];
  /** One a centroid; absent = none weighs. */
  readonly weights?: readonly number[] | undefined;
  /** Shards that a search asks which does not say. */
  readonly probes: number;
}

/** A row is where a hash of its id says, among so many shards. Never learned. */
export interface HashMap {
  readonly kind: "hash";
  readonly shards: number;
}

export type LearnedMap = RangeMap | CentroidMap;
export type ShardMap = LearnedMap | HashMap;

/** A row's part that the map looks at. */
export interface Placeable {
  readonly values: Float32Array;
  readonly metadata: JsonObject;
}

/** Holds also the rows that have not exactly one value at the key, or one of another type: a filter may let them through by any of theirs. */
const ODD_SHARD = 0;

export function compareSplits(a: SplitPoint, b: SplitPoint): number {
  return typeof a === "number" ? a - (b as number) : compareText(a, b as string);
}

export function shardOfRow(map: LearnedMap, { values, metadata }: Placeable): number {
  if (map.kind === "centroid") return nearestShards(map, values)[0]!;
  const scalars: Scalar[] = [];
  visitMetadata(metadata, {
    present: () => undefined,
    point: () => undefined,
    scalar: (path, value) => void (path === map.key && scalars.push(value)),
  });
  return scalars.length === 1 ? shardOfValue(map, scalars[0]!) : ODD_SHARD;
}

function shardOfValue({ points }: RangeMap, value: Scalar): number {
  if (typeof value !== typeof points[0]) return ODD_SHARD;
  let shard = 0;
  while (shard < points.length && compareSplits(points[shard]!, value as SplitPoint) <= 0) shard++;
  return shard;
}

/** Shards that may hold a row that the filter lets through; undefined = any. */
export function shardsOfFilter(map: RangeMap, filter: Filter): ReadonlySet<number> | undefined {
  switch (filter.kind) {
    case "and": {
      const sets = filter.of.map((inner) => shardsOfFilter(map, inner)).filter((set) => set !== undefined);
      return sets.length === 0
        ? undefined
        : new Set([...sets[0]!].filter((shard) => sets.every((set) => set.has(shard))));
    }
    case "or": {
      const sets = filter.of.map((inner) => shardsOfFilter(map, inner));
      return sets.some((set) => set === undefined) ? undefined : new Set(sets.flatMap((set) => [...set!]));
    }
    case "oneOf":
    case "allOf":
      if (filter.path !== map.key) return undefined;
      return new Set([ODD_SHARD, ...filter.values.map((value) => shardOfValue(map, value))]);
    case "between": {
      if (filter.path !== map.key) return undefined;
      const { gt, gte, lt, lte } = filter.bounds;
      const [low, high] = [gt ?? gte, lt ?? lte];
      if (typeof (low ?? high) !== typeof map.points[0]) return new Set([ODD_SHARD]);
      const first = low === undefined ? 0 : shardOfValue(map, low);
      const last = high === undefined ? map.points.length : shardOfValue(map, high);
      const within = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
      return new Set([ODD_SHARD, ...within]);
    }
    case "not":
    case "exists":
    case "prefix":
    case "words":
    case "near":
      return undefined;
    default:
      return filter satisfies never;
  }
}

/** All shards, that of the nearest centroid first; of equal distances the lower shard. */
export function nearestShards(map: CentroidMap, values: ArrayLike<number>): readonly number[] {
  const point = map.isOfDirections ? directionOf(values) : values;
  const distances = map.centroids.map((centroid, shard) => squaredDistance(centroid, point) + weightOf(map, shard));
  return distances.map((_, shard) => shard).sort((a, b) => distances[a]! - distances[b]! || a - b);
}

function weightOf({ weights }: CentroidMap, shard: number): number {
  return weights?.[shard] ?? 0;
}

/** Shards that rows go to by it. */
export function shardCountIn(map: ShardMap): number {
  if (map.kind === "hash") return map.shards;
  return map.kind === "range" ? map.points.length + 1 : map.centroids.length;
}

export function directionOf(values: ArrayLike<number>): Float32Array {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i]! ** 2;
  const factor = squares === 0 ? 0 : 1 / Math.sqrt(squares);
  return Float32Array.from(values, (value) => value * factor);
}

export function squaredDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}

const KINDS = ["range", "centroid", "hash"] as const;
const IS_OF_DIRECTIONS = 1;
const HAS_WEIGHTS = 2;

export function writeShardMap(map: ShardMap): Uint8Array {
  const writer = new ByteWriter(1024);
  writer.u8(KINDS.indexOf(map.kind));
  if (map.kind === "hash") writer.varint(map.shards);
  else if (map.kind === "range") {
    writer.string(map.key);
    writer.string(JSON.stringify(map.points));
  } else writeCentroids(writer, map);
  return writer.take();
}

function writeCentroids(writer: ByteWriter, map: CentroidMap): void {
  writer.u8((map.isOfDirections ? IS_OF_DIRECTIONS : 0) | (map.weights ? HAS_WEIGHTS : 0));
  writer.varint(map.dimension);
  writer.varint(map.probes);
  writer.varint(map.centroids.length);
  for (const centroid of map.centroids)
    writer.raw(new Uint8Array(centroid.buffer, centroid.byteOffset, centroid.byteLength));
  for (const weight of map.weights ?? []) writer.f64(weight);
}

/** @throws MalformedBytes */
export function readShardMap(bytes: Uint8Array): ShardMap {
  const reader = new ByteReader(bytes);
  const map = readMap(reader, KINDS[reader.u8()]);
  if (!reader.done) throw new MalformedBytes("bytes after a shard map");
  return map;
}

function readMap(reader: ByteReader, kind: ShardMap["kind"] | undefined): ShardMap {
  switch (kind) {
    case "range":
      return readRange(reader);
    case "centroid":
      return readCentroids(reader);
    case "hash":
      return { kind, shards: countOf(reader.varint()) };
    case undefined:
      throw new MalformedBytes("a shard map of an unknown kind");
    default:
      return kind satisfies never;
  }
}

function countOf(count: number): number {
  if (count < 1 || count > MAX_SPLIT_POINTS + 1) throw new MalformedBytes(`${count} shards`);
  return count;
}

function readRange(reader: ByteReader): RangeMap {
  const key = reader.string();
  let points: unknown;
  try {
    points = JSON.parse(reader.string());
  } catch {
    // SyntaxError: the writer wrote JSON, so these bytes are not its.
    throw new MalformedBytes("split points");
  }
  // None: rows that are all alike at the key are not split.
  if (Array.isArray(points) && points.length === 0) return { kind: "range", key, points: [] };
  if (!isSplitPoints(points)) throw new MalformedBytes("split points");
  return { kind: "range", key, points };
}

/** All numbers or all texts, ascending, none twice. */
export function isSplitPoints(points: unknown): points is readonly SplitPoint[] {
  if (!Array.isArray(points) || points.length === 0 || points.length > MAX_SPLIT_POINTS) return false;
  const type = typeof points[0];
  if ((type !== "number" && type !== "string") || points.some((point) => typeof point !== type)) return false;
  return points.every((point, at) => at === 0 || compareSplits(points[at - 1], point) < 0);
}

function readCentroids(reader: ByteReader): CentroidMap {
  const flags = reader.u8();
  const [dimension, probes, count] = [reader.varint(), reader.varint(), countOf(reader.varint())];
  if (probes < 1 || probes > count) throw new MalformedBytes(`${count} centroids, ${probes} probes`);
  const centroids = Array.from({ length: count }, () => {
    const centroid = new Float32Array(reader.raw(dimension * 4).slice().buffer);
    if (!centroid.every(Number.isFinite)) throw new MalformedBytes("a centroid that is not finite");
    return centroid;
  });
  const weights = (flags & HAS_WEIGHTS) === 0 ? undefined : centroids.map(() => reader.f64());
  if (weights?.some((weight) => !Number.isFinite(weight))) throw new MalformedBytes("a weight that is not finite");
  const isOfDirections = (flags & IS_OF_DIRECTIONS) !== 0;
  return { kind: "centroid", isOfDirections, dimension, centroids, probes, ...(weights && { weights }) };
}
