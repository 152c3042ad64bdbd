import { expect, it } from "vitest";
import { recallOf, sift } from "../../../test/unit/vector/fixture.ts";
import { matches } from "../filter/match.ts";
import { parseFilter } from "../filter/parse.ts";
import { seededWords } from "../quantize/seeded.ts";
import { finished } from "../shard/shard-indexes.ts";
import { learnCentroids, learnSplits } from "./learn-map.ts";
import {
  type CentroidMap,
  nearestShards,
  type RangeMap,
  readShardMap,
  shardOfRow,
  shardsOfFilter,
  writeShardMap,
} from "./shard-map.ts";
import { isDueAgain, skewOf } from "./skew.ts";

const NO_VALUES = new Float32Array(0);
const range = (points: readonly (number | string)[]): RangeMap => ({ kind: "range", key: "a.n", points });

it("[VE-235] every row that a filter lets through is in one of the shards that the filter asks for", () => {
  const metadata = [
    ...Array.from({ length: 30 }, (_, n) => ({ a: { n: n / 2 } })),
    ...[{}, { a: { n: "7" } }, { a: { n: [1, 12] } }, { a: { n: [3, "x"] } }, { a: { n: null } }, { a: 4 }],
    ...[{ a: [{ n: 14 }] }, { a: { n: -0 } }, { a: { n: 1e300 } }],
  ];
  const filters = [
    ...[
      { "a.n": 5 },
      { "a.n": [1, 14] },
      { "a.n": { $gt: 4, $lte: 10 } },
      { "a.n": { $lt: 5 } },
      { "a.n": { $gte: 10 } },
    ],
    ...[
      { "a.n": "x" },
      { "a.n": { $gte: "5" } },
      { "a.n": null },
      { "a.n": { $exists: true } },
      { "a.n": { $containsAll: [1, 12] } },
    ],
    ...[
      { $or: [{ "a.n": { $lt: 1 } }, { "a.n": { $gt: 13 } }] },
      { $and: [{ "a.n": { $gt: 4 } }, { "a.n": { $lt: 6 } }] },
    ],
    ...[{ $not: { "a.n": 5 } }, { "a.n": { $ne: 5 } }, { other: 1 }, { "a.n": { $gt: 6, $lt: 2 } }],
  ];
  let pruned = 0;
  for (const map of [range([5, 10]), range(["5", "x"]), range([0])]) {
    for (const json of filters) {
      const filter = parseFilter(json);
      const asked = shardsOfFilter(map, filter);
      if (asked && asked.size <= map.points.length) pruned++;
      for (const row of metadata.filter((candidate) => matches(filter, candidate as never)))
        expect(asked ? [...asked] : [shardOfRow(map, { values: NO_VALUES, metadata: row as never })]).toContain(
          shardOfRow(map, { values: NO_VALUES, metadata: row as never }),
        );
    }
  }
  expect(pruned).toBeGreaterThan(15);
  expect(shardsOfFilter(range([5, 10]), parseFilter({ "a.n": { $gte: 10 } }))).toEqual(new Set([0, 2]));
});

it("[VE-236] split points are those of equal shares; what does not tell rows apart gives none", () => {
  const learned = learnSplits([9, 1, 8, 2, 7, 3, "x", 6, 4, 5, 0], { key: "n", numShards: 5 });
  expect(learned).toEqual({ kind: "range", key: "n", points: [1, 3, 5, 8] });
  // What is of another type, or has no one value, is in the first shard already.
  expect(learnSplits(["b", "a", "c", 1], { key: "n", numShards: 3 })).toMatchObject({ points: ["a", "c"] });
  expect(learnSplits([1, 1, 1, 1, 2], { key: "n", numShards: 3 })).toMatchObject({ points: [2] });
  expect(learnSplits([], { key: "n", numShards: 2 })).toMatchObject({ points: [] });
  for (const map of [learned, { ...learned, points: [] }]) expect(readShardMap(writeShardMap(map))).toEqual(map);
});

it("[VE-236] centroids of a sample send queries to few shards that hold nearly all of their neighbours", () => {
  const { rows, queries, truth } = sift();
  const sample = rows.slice(0, 1000).map((row) => Float32Array.from(row));
  const ask = { metric: "euclidean", numShards: 8, targetRecall: 0.97, seed: 1 } as const;
  const map = finished(learnCentroids(sample, ask))!;
  expect(readShardMap(writeShardMap(map))).toEqual(map);
  const shardOf = rows.map((row) => nearestShards(map, row)[0]!);
  const asked = queries.map((query) => new Set(nearestShards(map, query).slice(0, map.probes)));
  const found = truth.map((nearest, at) => nearest.slice(0, 10).filter((row) => asked[at]!.has(shardOf[row]!)));
  const recall = recallOf(
    found,
    truth.map((nearest) => nearest.slice(0, 10)),
  );
  expect(recall).toBeGreaterThan(0.93);
  expect(map.probes).toBeLessThanOrEqual(5);
  expect(finished(learnCentroids(sample, ask))).toEqual(map);
  expect(finished(learnCentroids(sample.slice(0, 7), ask))?.centroids).toHaveLength(7);
  expect(finished(learnCentroids([], ask))).toBeUndefined();
});

/** Rows about 40 points, of which a few have most. */
function skewed(count: number): Float32Array[] {
  const random = seededWords(9);
  const even = (): number => random() / 2 ** 32;
  const about = (): number => even() + even() + even() - 1.5;
  const centres = Array.from({ length: 40 }, () => Float32Array.from({ length: 32 }, () => about() * 4));
  const draw = (): number => Math.min(39, Math.floor(0.5 / (even() + 0.0125)));
  return Array.from({ length: count }, () => centres[draw()]!.map((value) => value + about()));
}

it("[VE-299] of rows that are dense in one place shards of one size are learned; learned again few of them change their numbers", () => {
  const rows = skewed(4000);
  const ask = { metric: "euclidean", numShards: 8, targetRecall: 0.97, seed: 1 } as const;
  const countsIn = (map: CentroidMap): number[] => {
    const counts = map.centroids.map(() => 0);
    for (const row of rows) counts[nearestShards(map, row)[0]!]!++;
    return counts;
  };
  const map = finished(learnCentroids(rows.slice(0, 2000), ask))!;
  expect(skewOf(countsIn(map), 8)).toBeLessThan(1.5);
  expect(skewOf(countsIn({ ...map, weights: undefined }), 8)).toBeGreaterThan(1.5);
  expect(readShardMap(writeShardMap(map))).toEqual(map);
  const again = finished(learnCentroids(rows.slice(2000), { ...ask, before: map }))!;
  const anew = finished(learnCentroids(rows.slice(2000), ask))!;
  const staying = (to: CentroidMap): number =>
    rows.filter((row) => nearestShards(map, row)[0] === nearestShards(to, row)[0]).length;
  expect(staying(again)).toBeGreaterThan(staying(anew));
});

it("[VE-299] points of a skewed field give shards of one size; values that are alike stay together", () => {
  const values = Array.from({ length: 1000 }, (_, n) => (n < 600 ? 7 : n / 10));
  const { points } = learnSplits(values, { key: "n", numShards: 5, oddRows: 100 });
  const counts = Array.from({ length: points.length + 1 }, () => 0);
  for (const n of values)
    counts[shardOfRow({ kind: "range", key: "n", points }, { values: NO_VALUES, metadata: { n } })]!++;
  expect(counts[0]).toBe(0);
  expect(counts.toSorted((a, b) => b - a).slice(0, 1)).toEqual([600]);
  expect(Math.max(...counts.filter((count) => count < 600))).toBeLessThanOrEqual(134);
});

it("[VE-303] what was placed anew unasked is so again when the rows are half more or fewer, or after hours", () => {
  expect([skewOf([], 4), skewOf([0, 0], 2), skewOf([6, 1, 1, 0], 4)]).toEqual([1, 1, 3]);
  const last = { rows: 1000, atMs: 5000 };
  expect(isDueAgain(undefined, 5, 0)).toBe(true);
  for (const rows of [501, 1000, 1499]) expect(isDueAgain(last, rows, 6000)).toBe(false);
  for (const rows of [0, 500, 1500]) expect(isDueAgain(last, rows, 6000)).toBe(true);
  expect(isDueAgain(last, 1000, 5000 + 6 * 3_600_000)).toBe(true);
});
