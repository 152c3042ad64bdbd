// The same work for the vector kernels in Node and in workerd: a graph over seeded clusters, and searches in it.

import { HnswBuilder } from "../../../src/vector/index/hnsw-builder.ts";
import { createVectorCore } from "../../../src/vector/kernels.ts";
import { QuerySlot } from "../../../src/vector/query.ts";
import { clusteredVectors } from "./vector-clusters.mjs";

const DIMENSION = 128;
const K = 10;

/** Gives `build()`, to be called once, and `search(queries, ef)`, which gives the sum of the rows found. */
export function kernelWork(module, { count, queryCount }) {
  const core = createVectorCore(module, { budgetBytes: 2 ** 30 });
  const { values } = clusteredVectors({ count: count + queryCount, dimension: DIMENSION, clusters: 200, seed: 5 });
  const at = core.arena.allocate(count * DIMENSION * 4);
  core.arena.f32.set(values.subarray(0, count * DIMENSION), at / 4);
  const queries = Array.from({ length: queryCount }, (_, i) =>
    values.slice((count + i) * DIMENSION, (count + i + 1) * DIMENSION),
  );
  const slot = new QuerySlot(core, "euclidean", DIMENSION);
  const rows = { count, dimension: DIMENSION, resident: [{ at, count }], read: () => undefined };
  let index;
  return {
    build() {
      const builder = new HnswBuilder(core, { rows, metric: "euclidean" });
      while (!builder.step({ rows: 256 }));
      index = builder.finish();
      return index.memoryBytes;
    },
    search(rounds, ef) {
      let sum = 0;
      for (let round = 0; round < rounds; round++)
        for (const query of queries)
          for (const row of index.search(slot.prepare(query), { k: K, effort: { ef } }).rows) sum += row;
      return sum;
    },
  };
}
