// The rows and queries of the serving benchmarks: a real set where one is given, grown by marked copies that are moved a little; else
// seeded clusters. Both processes of a benchmark make the same.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../lib/seeded.mjs";
import { clusteredVectors } from "./vector-clusters.mjs";
import { readVectors } from "./vector-sets.mjs";

const QUERIES = 200;
/** Of which a set is grown that need not fit into memory. */
const BASE_ROWS = 140_000;
/** How far a grown row's values are from the real row's: a few of the 255 steps, so that rows are near and not equal. */
const GROWTH_STEP = 6;

/** Values in [0, 1) from which a row's metadata are made, the same for the same row. */
function unit(row, salt) {
  let mixed = Math.imul(row + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
}

const WORDS = ["annual", "report", "draft", "invoice", "letter", "contract", "memo", "minutes", "plan", "review"];

/** `n` and `side` are 0 to 999: `n` without regard to the values, `side` by them, so that filters agree or disagree with queries. */
export function metadataOf(set, row) {
  return {
    n: Math.floor(unit(row, 1) * 1000),
    side: sideOf(set.values, row * set.dimension, set.dimension),
    title: `${WORDS[Math.floor(unit(row, 2) * 10)]} ${WORDS[Math.floor(unit(row, 3) * 10)]}`,
    place: { lat: unit(row, 4) * 20 + 40, lon: unit(row, 5) * 20 },
  };
}

/** Where a row's first half is heavier than its second, in thousandths. */
export function sideOf(values, at, dimension) {
  let left = 0;
  let all = 1e-9;
  for (let i = 0; i < dimension; i++) {
    const value = Math.abs(values[at + i]);
    all += value;
    if (i < dimension / 2) left += value;
  }
  return Math.min(999, Math.floor((left / all) * 1000));
}

/** `{dimension, count, values, real, queries, source}`; rows from `real` on are grown. */
export function makeRows({ data, count, dimension = 128, seed = 7 }) {
  const isReal = dimension === 128 && data !== undefined && existsSync(join(data, "base.bvecs"));
  if (!isReal) {
    const clusters = Math.max(10, Math.round(Math.sqrt(count)));
    const all = clusteredVectors({ count: count + QUERIES, dimension, clusters, seed });
    const cut = (from, to) => ({
      ...all,
      count: to - from,
      values: all.values.subarray(from * dimension, to * dimension),
    });
    return { ...cut(0, count), real: count, queries: cut(count, count + QUERIES), source: "seeded clusters" };
  }
  const base = readVectors(join(data, "base.bvecs"), count);
  const queries = readVectors(join(data, "query.bvecs"), QUERIES);
  return { ...grown(base, count, seed), real: base.count, queries, source: data };
}

/** What {@link growRows} grows from: the real rows, at most `count`, and the queries; without `data` seeded clusters. */
export function openBase({ data, count, dimension = 128 }) {
  return makeRows({ data, dimension, count: Math.min(count, BASE_ROWS) });
}

/** Rows `from` to `to` of a set that need not fit into memory: the base's own first, then copies that are moved a little, the same for the same row. */
export function growRows(base, from, to) {
  const { dimension, count } = base;
  const values = new Float32Array((to - from) * dimension);
  for (let row = from; row < to; row++) {
    const own = row < count;
    const source = (own ? row : Math.floor(unit(row, 6) * count)) * dimension;
    let mixed = Math.imul(row + 1, 0x9e3779b1) | 1;
    for (let i = 0; i < dimension; i++) {
      mixed ^= mixed << 13;
      mixed ^= mixed >>> 17;
      mixed ^= mixed << 5;
      const step = own ? 0 : ((mixed >>> 8) % (2 * GROWTH_STEP + 1)) - GROWTH_STEP;
      values[(row - from) * dimension + i] = Math.max(0, base.values[source + i] + step);
    }
  }
  return values;
}

function grown(base, count, seed) {
  if (base.count >= count) return base;
  const random = seededRandom(seed);
  const { dimension } = base;
  const values = new Float32Array(count * dimension);
  values.set(base.values);
  for (let row = base.count; row < count; row++) {
    const from = Math.floor(random() * base.count) * dimension;
    for (let i = 0; i < dimension; i++) {
      const moved = base.values[from + i] + Math.round((random() - 0.5) * 2 * GROWTH_STEP);
      values[row * dimension + i] = Math.min(255, Math.max(0, moved));
    }
  }
  return { dimension, count, values };
}

/** The exact k nearest rows (euclidean) of a query among those that `keeps` lets through. */
export function exactNearest(set, query, k, keeps = () => true) {
  const { dimension, values, count } = set;
  const best = [];
  for (let row = 0; row < count; row++) {
    if (!keeps(row)) continue;
    const at = row * dimension;
    let sum = 0;
    const bound = best.length < k ? Number.POSITIVE_INFINITY : best[k - 1].sum;
    for (let i = 0; i < dimension && sum < bound; i += 16)
      for (let j = i; j < i + 16 && j < dimension; j++) {
        const gap = values[at + j] - query[j];
        sum += gap * gap;
      }
    if (sum >= bound) continue;
    let place = Math.min(best.length, k - 1);
    while (place > 0 && best[place - 1].sum > sum) {
      best[place] = best[place - 1];
      place--;
    }
    best[place] = { row, sum };
  }
  return best.map(({ row }) => row);
}
