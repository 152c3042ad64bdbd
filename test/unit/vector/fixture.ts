// Rows, queries and indexes for the tests of the vector engine.

import { readFileSync } from "node:fs";
import { seededRandom } from "../../../scripts/lib/seeded.mjs";
import { HnswBuilder, type HnswParameters, type HnswSeed } from "../../../src/vector/index/hnsw-builder.ts";
import type { HnswIndex } from "../../../src/vector/index/hnsw-index.ts";
import {
  bitmapBytes,
  type Found,
  type IndexBuilder,
  type Rows,
  rowStride,
  type SegmentIndex,
} from "../../../src/vector/index/segment-index.ts";
import { createVectorCore, type VectorCore } from "../../../src/vector/kernels.ts";
import type { Metric } from "../../../src/vector/metric.ts";
import { QuerySlot } from "../../../src/vector/query.ts";
import { rerank } from "../../../src/vector/rerank.ts";

export type Vector = ArrayLike<number>;

let module: WebAssembly.Module | undefined;

export function newCore(budgetBytes = 2 ** 30): VectorCore {
  module ??= new WebAssembly.Module(readFileSync("dist/wasm/vector.wasm"));
  return createVectorCore(module, { budgetBytes });
}

/** Rows in the arena. */
export function residentRows({ arena }: VectorCore, vectors: readonly Vector[], dimension: number): Rows {
  const stride = rowStride(dimension);
  const at = arena.allocate(vectors.length * stride, { zeroed: true });
  for (const [row, values] of vectors.entries()) arena.f32.set(values, (at + row * stride) / 4);
  const read = (): never => {
    throw new Error("rows in the arena are not read");
  };
  return { count: vectors.length, dimension, resident: [{ at, count: vectors.length }], read };
}

/** Rows elsewhere: they are copied when asked for. */
export function distantRows({ arena }: VectorCore, vectors: readonly Vector[], dimension: number): Rows {
  const stride = rowStride(dimension);
  const read = (from: number, count: number, into: number): void => {
    arena.bytes(into, count * stride).fill(0);
    for (let i = 0; i < count; i++) arena.f32.set(vectors[from + i]!, (into + i * stride) / 4);
  };
  return { count: vectors.length, dimension, read };
}

export function finish<Index extends SegmentIndex>(builder: IndexBuilder, sliceRows = 500): Index {
  while (!builder.step({ rows: sliceRows }));
  return builder.finish() as Index;
}

export function buildHnsw(
  core: VectorCore,
  options: { rows: Rows; metric: Metric; parameters?: HnswParameters; seed?: HnswSeed | undefined },
  sliceRows?: number,
): HnswIndex {
  return finish(new HnswBuilder(core, options), sliceRows);
}

/** A bitmap with the given rows. */
export function bitmapOf({ arena }: VectorCore, count: number, rows: Iterable<number>): number {
  const at = arena.allocate(bitmapBytes(count), { zeroed: true });
  for (const row of rows) arena.u32[at / 4 + (row >> 5)]! |= 1 << (row & 31);
  return at;
}

export interface Asked {
  readonly k: number;
  readonly ef?: number;
  readonly rerank?: number;
  readonly allowed?: number;
  readonly deleted?: number;
}

/** Asks an index as a shard does: candidates, then exact distances. */
export class Searcher {
  readonly #core: VectorCore;
  readonly #rows: Rows;
  readonly #slot: QuerySlot;

  constructor(core: VectorCore, rows: Rows, metric: Metric) {
    this.#core = core;
    this.#rows = rows;
    this.#slot = new QuerySlot(core, metric, rows.dimension);
  }

  candidates(index: SegmentIndex, query: Vector, { k, ef, rerank: more, allowed, deleted }: Asked): Found {
    const effort = { ...(ef === undefined ? {} : { ef }), ...(more === undefined ? {} : { rerank: more }) };
    const filter = { ...(allowed === undefined ? {} : { allowed }), ...(deleted === undefined ? {} : { deleted }) };
    return index.search(this.#slot.prepare(query), { k, effort, ...filter });
  }

  search(index: SegmentIndex, query: Vector, asked: Asked): readonly number[] {
    const found = this.candidates(index, query, asked);
    const prepared = this.#slot.prepare(query);
    return [...rerank(this.#core, { query: prepared, rows: this.#rows, found, k: asked.k }).rows];
  }
}

/** The share of the true nearest that was found. */
export function recallOf(found: readonly (readonly number[])[], truth: readonly (readonly number[])[]): number {
  let [hits, all] = [0, 0];
  for (const [i, nearest] of truth.entries()) {
    const got = new Set(found[i]);
    all += nearest.length;
    hits += nearest.filter((row) => got.has(row)).length;
  }
  return all === 0 ? 1 : hits / all;
}

/** Vectors around seeded centres. `spread` is the standard deviation around a centre, in units of that of the centres. */
export function clusters(shape: { count: number; dimension: number; centres: number; spread: number; seed: number }) {
  const random = seededRandom(shape.seed);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const centres = Array.from({ length: shape.centres }, () => Array.from({ length: shape.dimension }, normal));
  return Array.from({ length: shape.count }, () => {
    const centre = Math.floor(random() * shape.centres);
    const values = Float32Array.from(centres[centre]!, (value) => value + normal() * shape.spread);
    return { values, centre };
  });
}

function rowsOf(path: string, elementBytes: 1 | 4): number[][] {
  const bytes = readFileSync(path);
  const length = bytes.readInt32LE(0);
  const stride = 4 + length * elementBytes;
  return Array.from({ length: bytes.length / stride }, (_, row) =>
    Array.from({ length }, (_value, i) => {
      const at = row * stride + 4 + i * elementBytes;
      return elementBytes === 1 ? bytes[at]! : bytes.readInt32LE(at);
    }),
  );
}

/** 4 800 real rows with 200 queries and their exact 100 nearest. */
export function sift() {
  const folder = "test/fixtures/vectors/sift-5k";
  return {
    rows: rowsOf(`${folder}/base.bvecs`, 1),
    queries: rowsOf(`${folder}/query.bvecs`, 1),
    truth: rowsOf(`${folder}/groundtruth_l2.ivecs`, 4),
  };
}
