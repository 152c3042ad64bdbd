// This project's kernels as contenders: an HNSW graph over codes or float32 rows, and exact scans, in one memory a set.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FlatBuilder } from "../../../src/vector/index/flat-builder.ts";
import { HnswBuilder } from "../../../src/vector/index/hnsw-builder.ts";
import { rowStride } from "../../../src/vector/index/segment-index.ts";
import { createVectorCore } from "../../../src/vector/kernels.ts";
import { QuerySlot } from "../../../src/vector/query.ts";
import { rerank } from "../../../src/vector/rerank.ts";
import { kindBuilder } from "../../../src/vector/shard/index-kinds.ts";
import { root } from "../../lib/root.mjs";

const SLICE_ROWS = 256;

/** The rows of a set in an arena of their own. */
export function openSet(set, metric = "euclidean") {
  const module = new WebAssembly.Module(readFileSync(join(root, "dist/wasm/vector.wasm")));
  const core = createVectorCore(module, { budgetBytes: 3 * 2 ** 30 });
  const { count, dimension, values } = set.base;
  const stride = rowStride(dimension);
  const at = core.arena.allocate(count * stride, { zeroed: true });
  for (let row = 0; row < count; row++)
    core.arena.floats(at + row * stride, dimension).set(values.subarray(row * dimension, (row + 1) * dimension));
  const rows = {
    count,
    dimension,
    resident: [{ at, count }],
    read: () => {
      throw new Error("the rows are in the arena");
    },
  };
  const slot = new QuerySlot(core, metric, dimension);
  const query = (number) => slot.prepare(set.queries.values.subarray(number * dimension, (number + 1) * dimension));
  return { core, rows, metric, query };
}

/** The exact k nearest of every query. */
export function exactTruth({ core, rows, metric, query }, set, k) {
  const builder = new FlatBuilder(core, { rows, metric, quantizer: "none" });
  while (!builder.step({ rows: SLICE_ROWS }));
  const index = builder.finish();
  return Array.from({ length: set.queries.count }, (_, i) => index.search(query(i), { k, effort: {} }).rows);
}

export function hnswContender({ core, rows, metric, query }, { id, title, m, efConstruction, quantizer }) {
  const builder = new HnswBuilder(core, { rows, metric, parameters: { m, efConstruction, quantizer } });
  let index;
  let ef = 0;
  let steps = 0;
  return {
    id,
    title,
    efs: [10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256],
    /** Steps of the builder until so many rows are in. */
    build(_, to) {
      const share = to / rows.count;
      while (index === undefined && (builder.progress < share || share === 1)) {
        steps++;
        if (builder.step({ rows: SLICE_ROWS })) index = builder.finish();
      }
    },
    built() {
      if (index === undefined) throw new Error(`not built after ${steps} steps`);
    },
    get memoryBytesPerRow() {
      return index.memoryBytes / rows.count;
    },
    prepare(value) {
      ef = value;
    },
    search(number, k) {
      const prepared = query(number);
      const found = index.search(prepared, { k, effort: { ef } });
      return found.isExact ? found.rows : rerank(core, { query: prepared, rows, found, k }).rows;
    },
  };
}

/** An index of any kind and quantizer, as a shard of many rows builds it; its efforts are lists or buckets read. */
export function indexContender({ core, rows, metric, query }, { id, title, spec, efs }) {
  const builder = kindBuilder(core, { name: id, effort: {}, ...spec }, { rows, metric });
  let index;
  let probes = 0;
  let [scanned, asked] = [0, 0];
  return {
    id,
    title,
    efs,
    build(_, to) {
      const share = to / rows.count;
      while (index === undefined && (builder.progress < share || share === 1))
        if (builder.step({ rows: SLICE_ROWS })) index = builder.finish();
    },
    built() {
      if (index === undefined) throw new Error("not built");
    },
    get memoryBytesPerRow() {
      return index.memoryBytes / rows.count;
    },
    /** The share of the rows that the searches since `prepare` looked at. */
    get scannedShare() {
      return scanned / asked / rows.count;
    },
    /** 0 = the default. */
    prepare(value) {
      probes = value;
      scanned = asked = 0;
    },
    candidates(number, k, rerankCount) {
      const effort = { ...(probes > 0 && { probes }), ...(rerankCount !== undefined && { rerank: rerankCount }) };
      return index.search(query(number), { k, effort });
    },
    search(number, k) {
      const found = this.candidates(number, k);
      scanned += found.scanned;
      asked++;
      return found.isExact ? found.rows : rerank(core, { query: query(number), rows, found, k }).rows;
    },
    dispose: () => index.release(),
  };
}
