import { expect, it } from "vitest";
import { recallOf, sift } from "../../../test/unit/vector/fixture.ts";
import { matches } from "../filter/match.ts";
import { parseFilter } from "../filter/parse.ts";
import { finished } from "../shard/shard-indexes.ts";
import { learnCentroids, learnSplits } from "./learn-map.ts";
import { nearestShards, type RangeMap, readShardMap, shardOfRow, shardsOfFilter, writeShardMap } from "./shard-map.ts";

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
  expect(learned).toEqual({ kind: "range", key: "n", points: [2, 4, 6, 8] });
  expect(learnSplits(["b", "a", "c", 1], { key: "n", numShards: 3 })).toMatchObject({ points: ["b", "c"] });
  expect(learnSplits([1, 1, 1, 1, 2], { key: "n", numShards: 3 })).toBeUndefined();
  expect(learnSplits([], { key: "n", numShards: 2 })).toBeUndefined();
  expect(readShardMap(writeShardMap(learned!))).toEqual(learned);
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
  expect(finished(learnCentroids(sample.slice(0, 7), ask))).toBeUndefined();
});
