// A sample of the rows of all shards, each giving its share: what a map is learned from.
// Guarantees: a shard's rows come in the order of its listing, by a hash of their ids, so their values are drawn at random. Must not: change
// anything; `ask` reaches the shards.
import type { VectorAnswer, VectorRequest, VectorShown } from "../../wire/vector.ts";
import { type JsonObject, visitMetadata } from "../metadata/values.ts";
import type { Metric } from "../metric.ts";
import type { ShardingConfig } from "../shard/shard-config.ts";
import { learnCentroids, learnSplits } from "./learn-map.ts";
import { MAX_SAMPLE_ROWS, MAX_SAMPLE_VALUES, SAMPLE_PAGE_ROWS } from "./limits.ts";
import { parsed } from "./placer-rows.ts";
import type { LearnedMap, ShardMap, SplitPoint } from "./shard-map.ts";
import { rowCounts, sumOf } from "./skew.ts";

export interface SampleAsk {
  readonly ask: (shard: number, request: VectorRequest) => Promise<VectorAnswer>;
  /** Shards that may hold rows. */
  readonly shards: number;
  readonly dimension: number;
  readonly metric: Metric;
  readonly sharding: ShardingConfig;
  /** By which rows are placed now. */
  readonly before: ShardMap | undefined;
}

/** The map to be learned of what there is now, in slices; undefined = there is nothing. @throws where a shard does not answer */
export async function learning(asked: SampleAsk): Promise<Generator<void, LearnedMap | undefined>> {
  const { metric, sharding, before } = asked;
  const { strategy, key = "", numShards, targetRecall } = sharding;
  const rows = await sampled(asked);
  if (strategy === "range") return splitsOf(rows, key, numShards);
  const vectors = rows.map(({ values }) => new Float32Array(values!.slice().buffer));
  const held = before?.kind === "centroid" ? before : undefined;
  return learnCentroids(vectors, { metric, numShards, targetRecall, seed: 1, before: held });
}

/** Short, and run as the other one. */
function* splitsOf(rows: readonly VectorShown[], key: string, numShards: number) {
  if (rows.length === 0) return undefined;
  const values = rows.map(({ metadata = new Uint8Array(0) }) => splitPointOf(parsed(metadata) ?? {}, key));
  const points = values.filter((value) => value !== undefined);
  return learnSplits(points, { key, numShards, oddRows: rows.length - points.length });
}

async function sampled({ ask, shards, dimension, sharding }: SampleAsk): Promise<readonly VectorShown[]> {
  const isOfValues = sharding.strategy === "centroid";
  const most = isOfValues ? Math.min(MAX_SAMPLE_ROWS, Math.floor(MAX_SAMPLE_VALUES / dimension)) : MAX_SAMPLE_ROWS;
  const counts = await rowCounts(ask, shards);
  const shown = { values: isOfValues, metadata: !isOfValues };
  const rows: VectorShown[] = [];
  for (const [shard, count] of counts.entries()) {
    let left = Math.ceil(count * Math.min(1, most / Math.max(1, sumOf(counts))));
    for (let cursor: Uint8Array = new Uint8Array(0); left > 0; ) {
      const limit = Math.min(left, SAMPLE_PAGE_ROWS);
      const page = await ask(shard, { kind: "list", cursor, limit, filter: undefined, shown });
      if (page.kind !== "rows") throw new Error(`shard ${shard} does not list: ${JSON.stringify(page)}`);
      for (const row of page.rows) if (row) rows.push(row);
      left -= page.rows.length;
      if (page.cursor.length === 0) break;
      cursor = page.cursor;
    }
  }
  return rows;
}

/** The row's only value at the key, if it has exactly one. */
function splitPointOf(metadata: JsonObject, key: string): SplitPoint | undefined {
  const found: unknown[] = [];
  visitMetadata(metadata, {
    present: () => undefined,
    point: () => undefined,
    scalar: (path, value) => void (path === key && found.push(value)),
  });
  const [value] = found;
  return found.length === 1 && (typeof value === "number" || typeof value === "string") ? value : undefined;
}
