// A vector database as its tenant's object keeps it: every field resolved. What its shards are called, and what they must know of it.
// Must not: judge input (the gateway's schemas do), or do I/O.
import type { Durability } from "../../wire/vector.ts";
import { DEFAULT_EF, DEFAULT_EF_CONSTRUCTION, DEFAULT_M, DEFAULT_TABLES } from "../index/limits.ts";
import type { IndexKind } from "../index/segment-index.ts";
import type { Metric } from "../metric.ts";
import { HEADER_SECTIONS, QUANTIZERS, type Quantizer } from "../shard/index-kinds.ts";
import type { ShardConfig } from "../shard/shard-config.ts";
import { type IndexFields, type IndexParameters, indexSpecsOf } from "./indexes.ts";

export interface DatabaseRecord extends IndexFields {
  readonly databaseId: string;
  readonly name: string;
  readonly description: string;
  readonly vectorDimension: number;
  readonly metric: Metric;
  readonly indexType: IndexKind;
  readonly sharding: { readonly strategy: "hash"; readonly numShards: number };
  readonly replication: { readonly factor: number; readonly sync: boolean; readonly maxLagMs: number };
  readonly embeddingModels: readonly object[];
  /** Field → type (metadata/schema.ts); null = metadata is free. */
  readonly metadataSchema: Readonly<Record<string, string>> | null;
  readonly durability: Durability;
  readonly retentionPolicy: object | null;
  readonly accessControl: object | null;
}

/** What may be changed of a database that exists; the rest is for ever. */
export const CHANGEABLE = [
  ...["name", "description", "indexParameters", "replication", "embeddingModels"],
  ...["metadataSchema", "durability", "retentionPolicy", "accessControl"],
] as const as readonly (keyof DatabaseRecord)[];

/** Which of the indexes that have a name can be built by now. */
export const KNOWN_INDEX_KINDS: ReadonlySet<IndexKind> = new Set(HEADER_SECTIONS.map(([, kind]) => kind));

/** What a database of this kind is built with where nothing is said. */
export function defaultParameters(kind: IndexKind, metric: Metric): IndexParameters {
  switch (kind) {
    case "FLAT":
      return { quantizer: "int8" };
    case "HNSW":
      return { quantizer: "int8", M: DEFAULT_M, efConstruction: DEFAULT_EF_CONSTRUCTION, efSearch: DEFAULT_EF[metric] };
    case "IVF":
      return { quantizer: "rabitq", lists: undefined, probes: undefined };
    case "LSH":
      return { quantizer: "int8", tables: DEFAULT_TABLES, bits: undefined, probes: undefined };
    default:
      return kind satisfies never;
  }
}

/** How the rows of an index of this kind can be kept for comparing. */
export function quantizersOf(kind: IndexKind): readonly Quantizer[] {
  return kind === "HNSW" ? ["int8", "none"] : QUANTIZERS;
}

export interface DatabaseName {
  readonly tenant: number;
  readonly namespace: string;
  readonly databaseId: string;
  /** Never given twice in a tenant: what is created again under an old name finds nothing old. */
  readonly generation: number;
}

export function shardName({ tenant, namespace, databaseId, generation }: DatabaseName, shard: number): string {
  return `v${tenant}/${namespace}/${databaseId}~${generation}/${shard}`;
}

export function shardConfigOf(record: DatabaseRecord): ShardConfig {
  const { vectorDimension, metric, metadataSchema, durability } = record;
  return {
    dimension: vectorDimension,
    metric,
    durability,
    ...(metadataSchema && { metadataSchema }),
    indexes: indexSpecsOf(record),
  };
}
