// A shard's store on node:sqlite for unit tests: what the object is in workerd, with a clock by hand.
import { readFileSync } from "node:fs";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { createKernels } from "../../../src/storage/kernels.ts";
import { SqliteBlobStore } from "../../../src/storage/sqlite-blob-store.ts";
import { createVectorCore, type VectorCore } from "../../../src/vector/kernels.ts";
import type { Metric } from "../../../src/vector/metric.ts";
import type { IndexSpec } from "../../../src/vector/shard/index-kinds.ts";
import { Searcher } from "../../../src/vector/shard/searcher.ts";
import { ShardIndexes } from "../../../src/vector/shard/shard-indexes.ts";
import { TieredBlobs } from "../../../src/vector/shard/tiered-blobs.ts";
import { VectorStore } from "../../../src/vector/shard/vector-store.ts";
import { NodeSql } from "../storage/node-sql.ts";

export interface OpenStore {
  readonly sql: NodeSql;
  readonly clock: { ms: number };
  /** Of the next start. */
  budgetBytes: number;
  core: VectorCore;
  indexes: ShardIndexes;
  store: VectorStore;
  searcher: Searcher;
  /** What the store reads from: of this opening. */
  blobs: TieredBlobs;
  /** Indexes that segments had to do without. */
  readonly missing: string[];
  /** The turn's commit. */
  endTurn(): void;
  /** Starts anew in the same turn. */
  reopen(): void;
  /** Starts anew from what was committed; what was not is lost. */
  crash(): void;
  /** The indexes that the shard shall have from now on, also after a crash. */
  want(specs: readonly IndexSpec[]): void;
}

export interface OpenStoreOptions {
  readonly budgetBytes?: number;
  readonly dimension?: number;
  readonly metric?: Metric;
  readonly specs?: readonly IndexSpec[];
}

export const DIMENSION = 5;

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const vectorModule = new WebAssembly.Module(readFileSync("dist/wasm/vector.wasm"));

export function openStore(options: OpenStoreOptions = {}): OpenStore {
  const { budgetBytes = 64 * 1024 * 1024, dimension = DIMENSION, metric = "euclidean" } = options;
  let { specs = [] } = options;
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  const clock = { ms: 1_000_000 };
  const missing: string[] = [];
  let drawn = 0;
  const open = (): Pick<OpenStore, "core" | "indexes" | "store" | "searcher" | "blobs"> => {
    const core = createVectorCore(vectorModule, { budgetBytes: opened?.budgetBytes ?? budgetBytes });
    const onMissing = ({ why }: { why: string }): void => void missing.push(why);
    const indexes = new ShardIndexes({ core, metric, now: () => clock.ms, specs, onMissing });
    const random = (count: number): Uint8Array => new Uint8Array(count).fill(++drawn % 256);
    const crc32c = (bytes: Uint8Array, seed?: number): number => kernels.crc32c(bytes, seed);
    const blobs = new TieredBlobs({ local: new SqliteBlobStore(sql), sql });
    const common = { sql, blobs, kernels: { crc32c }, arena: core.arena, indexes, random };
    const store = new VectorStore({ ...common, dimension, name: "v1/default/db~1/0", now: () => clock.ms });
    return { core, indexes, store, blobs, searcher: new Searcher({ core, store, indexes, metric, dimension }) };
  };
  let opened: OpenStore | undefined;
  const first: OpenStore = {
    sql,
    clock,
    missing,
    budgetBytes,
    ...open(),
    endTurn() {
      first.store.endTurn();
      sql.endTurn();
    },
    reopen() {
      Object.assign(first, open());
    },
    crash() {
      sql.crash();
      Object.assign(first, open());
      sql.endTurn();
    },
    want(wanted) {
      specs = wanted;
      first.indexes.want(wanted);
    },
  };
  opened = first;
  sql.endTurn();
  return first;
}

export function valuesOf(...numbers: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from({ length: DIMENSION }, (_, at) => numbers[at % numbers.length]!).buffer);
}
