import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { VECTOR_MIGRATIONS } from "../../../migrations/vector.ts";
import { Random } from "../../../test/simulation/random.ts";
import { NodeSql } from "../../../test/unit/storage/node-sql.ts";
import { createKernels } from "../../storage/kernels.ts";
import { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { FoundAnswer, VectorRequest } from "../../wire/vector.ts";
import { createVectorCore } from "../kernels.ts";
import { ResultCache } from "./result-cache.ts";
import type { ShardConfig } from "./shard-config.ts";
import { ShardDesk } from "./shard-desk.ts";

const kernels = createKernels(new WebAssembly.Module(readFileSync("dist/wasm/storage.wasm")));
const vectorModule = new WebAssembly.Module(readFileSync("dist/wasm/vector.wasm"));
const DIMENSION = 8;
const CONFIG: ShardConfig = {
  dimension: DIMENSION,
  metric: "euclidean",
  durability: "sync",
  indexes: [{ name: "default", kind: "FLAT", quantizer: "int8", effort: {} }],
};

function openDesk(resultCacheBytes: number): ShardDesk {
  const sql = new NodeSql();
  for (const statements of VECTOR_MIGRATIONS) sql.database.exec(statements);
  return new ShardDesk({
    sql,
    blobs: new SqliteBlobStore(sql),
    crc32c: (bytes, seed) => kernels.crc32c(bytes, seed),
    core: createVectorCore(vectorModule, { budgetBytes: 16 * 1024 * 1024 }),
    config: CONFIG,
    name: "v1/default/db~1/0",
    random: (count) => crypto.getRandomValues(new Uint8Array(count)),
    now: () => 1_000_000,
    resultCacheBytes,
    onMissing: () => undefined,
  });
}

const random = new Random(8);
const vector = (): Uint8Array =>
  new Uint8Array(Float32Array.from({ length: DIMENSION }, () => random.between(-1000, 1000) / 7).buffer);
const search = (query: Uint8Array, more: object = {}): VectorRequest => ({
  ...{ kind: "search", queries: [query], k: 10, index: "", shown: { metadata: true } },
  ...more,
});
const run = (desk: ShardDesk, request: VectorRequest): FoundAnswer => {
  const { answer } = desk.run({ request });
  if (answer.kind !== "found") throw new Error(JSON.stringify(answer));
  return answer;
};
const upsert = (desk: ShardDesk, ...ids: readonly string[]): void => {
  const rows = ids.map((id) => ({ id, values: vector(), metadata: new TextEncoder().encode(`{"id":"${id}"}`) }));
  desk.run({ request: { kind: "upsert", rows } });
};

/** Ranks 0..count-1, the first most often, by Zipf's law. */
function zipf(count: number): () => number {
  const sums: number[] = [];
  for (let rank = 0; rank < count; rank++) sums.push((sums.at(-1) ?? 0) + 1 / (rank + 1));
  return () => {
    const drawn = (random.between(0, 1_000_000) / 1_000_000) * sums.at(-1)!;
    return Math.max(
      0,
      sums.findIndex((sum) => sum >= drawn),
    );
  };
}

describe("remembered results", () => {
  it("[VE-219] of a hot set by Zipf's law at least 99 % are answered from them", () => {
    const desk = openDesk(4 * 1024 * 1024);
    upsert(desk, ...Array.from({ length: 500 }, (_, at) => `r${at}`));
    const hot = Array.from({ length: 100 }, () => vector());
    const pick = zipf(hot.length);
    let scanned = 0;
    for (let at = 0; at < 12_000; at++) scanned += run(desk, search(hot[pick()]!)).scanned;
    const { hits, misses, bytes } = desk.results.stats;
    console.log(`result cache: ${((100 * hits) / (hits + misses)).toFixed(2)} % of ${hits + misses}, ${bytes} bytes`);
    expect(hits / (hits + misses)).toBeGreaterThanOrEqual(0.99);
    expect(scanned).toBe(misses * 500);
  });

  it("[VE-219] never older than the rows: every search answers as one without them, whatever is written between", () => {
    const [remembering, forgetful] = [openDesk(1024 * 1024), openDesk(0)];
    const hot = Array.from({ length: 6 }, () => vector());
    for (let step = 0; step < 1500; step++) {
      const kind = random.between(0, 9);
      if (kind === 0) {
        const rows = [{ id: `r${random.between(0, 40)}`, values: vector(), metadata: new Uint8Array(0) }];
        for (const desk of [remembering, forgetful]) desk.run({ request: { kind: "upsert", rows } });
      } else if (kind === 1) {
        const ids = [`r${random.between(0, 40)}`];
        for (const desk of [remembering, forgetful]) desk.run({ request: { kind: "delete", ids } });
      } else {
        const more = random.pick([
          {},
          { k: 3 },
          { threshold: 300 },
          { shown: { values: true } },
          { filter: '{"a":{"$exists":false}}' },
          { queries: [hot[0]!, hot[1]!] },
        ]);
        const request = search(random.pick(hot), more);
        expect(run(remembering, request).results).toEqual(run(forgetful, request).results);
      }
    }
    expect(remembering.results.stats.hits).toBeGreaterThan(100);
    expect(forgetful.results.stats).toEqual({ hits: 0, misses: 0, bytes: 0 });
  });

  it("[VE-219] they are bounded in bytes; the one that was asked for longest ago goes; a large one is not kept", () => {
    const cache = new ResultCache<number>(10_000);
    for (let at = 0; at < 100; at++) {
      cache.get(1, "first");
      if (cache.get(1, `k${at}`) === undefined) cache.add(`k${at}`, at, 872);
      if (at === 0) cache.add("first", -1, 500);
      expect(cache.stats.bytes).toBeLessThanOrEqual(10_000);
    }
    expect(cache.get(1, "first")).toBe(-1);
    expect([cache.get(1, "k99"), cache.get(1, "k0")]).toEqual([99, undefined]);
    cache.add("large", 1, 2000);
    expect(cache.get(1, "large")).toBeUndefined();
    expect(cache.get(2, "k99")).toBeUndefined();
    expect(cache.stats.bytes).toBe(0);
  });
});
