// The vector kernels inside workerd: the same module, the same answers as everywhere.

import { describe, expect, it } from "vitest";
import wasm from "../../dist/wasm/vector.wasm";
import { FlatBuilder } from "../../src/vector/index/flat-builder.ts";
import { HnswBuilder } from "../../src/vector/index/hnsw-builder.ts";
import { type IndexBuilder, type Rows, rowStride } from "../../src/vector/index/segment-index.ts";
import { createVectorCore } from "../../src/vector/kernels.ts";
import { QuerySlot } from "../../src/vector/query.ts";
import { rerank } from "../../src/vector/rerank.ts";

const [COUNT, DIMENSION] = [3000, 40];

/** Whole numbers of a small generator: exact in float32 wherever this runs. */
function vectors(): Float32Array {
  let state = 7;
  return Float32Array.from({ length: COUNT * DIMENSION }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 16) % 97;
  });
}

describe("the vector kernels in workerd", () => {
  it("[VE-23] build and search as in Node: the ten nearest of a graph are those of the exact scan", () => {
    const core = createVectorCore(wasm, { budgetBytes: 2 ** 26 });
    const stride = rowStride(DIMENSION);
    const at = core.arena.allocate(COUNT * stride);
    core.arena.f32.set(vectors(), at / 4);
    const read = (): never => {
      throw new Error("the rows are in the arena");
    };
    const rows: Rows = { count: COUNT, dimension: DIMENSION, resident: [{ at, count: COUNT }], read };
    const finish = (builder: IndexBuilder) => {
      while (!builder.step({ rows: 100 }));
      return builder.finish();
    };
    const graph = finish(new HnswBuilder(core, { rows, metric: "euclidean" }));
    const scan = finish(new FlatBuilder(core, { rows, metric: "euclidean", quantizer: "none" }));
    const slot = new QuerySlot(core, "euclidean", DIMENSION);
    let same = 0;
    for (let row = 0; row < 100; row++) {
      const query = slot.prepare(core.arena.floats(at + row * 30 * stride, DIMENSION).map((value) => 96 - value));
      const exact = scan.search(query, { k: 10, effort: {} });
      const found = graph.search(query, { k: 10, effort: { ef: 300 } });
      expect(found.isExact).toBe(true);
      expect(rerank(core, { query, rows, found: exact, k: 10 }).rows).toEqual(exact.rows);
      const right = new Set(exact.rows);
      for (const one of found.rows) if (right.has(one)) same++;
    }
    expect(same).toBeGreaterThan(950);
  });
});
