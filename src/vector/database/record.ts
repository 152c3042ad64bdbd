// A vector database as its tenant's object keeps it: every field resolved. What its shards are called, and what they must know of it.
// Must not: judge input (the gateway's schemas do), or do I/O.
import type { Durability } from "../../wire/vector.ts";
import { DEFAULT_EF, DEFAULT_EF_CONSTRUCTION, DEFAULT_M, DEFAULT_TABLES } from "../index/limits.ts";
import type { IndexKind } from "../index/segment-index.ts";
import type { Metric } from "../metric.ts";
import type { ReducedSpec } from "../reduce/reduced-builder.ts";
import { type AccessControl, accessRulesOf } from "../shard/access.ts";
import { HEADER_SECTIONS, QUANTIZERS, type Quantizer } from "../shard/index-kinds.ts";
import type { Retention } from "../shard/retention.ts";
import type { ShardConfig, ShardingConfig, ShardLifecycle } from "../shard/shard-config.ts";
import { DEFAULT_LEARN_ROWS, DEFAULT_TARGET_RECALL } from "../sharding/limits.ts";
import { type IndexFields, type IndexParameters, indexSpecsOf } from "./indexes.ts";
import { isStillHolding, toldOf } from "./keeping.ts";
import { type Lifecycle, NO_LIFECYCLE } from "./lifecycle.ts";
import { copyZones, fillingZones, type Placement } from "./placement.ts";
import type { Reembedding } from "./reembedding.ts";
import { homesOf, type Sharding, shardCountOf, topologyOf } from "./resharding.ts";

export interface RetentionPolicy {
  readonly maxAgeDays?: number | undefined;
  readonly maxVectors?: number | undefined;
  readonly maxBytes?: number | undefined;
  /** What goes is kept aside. */
  readonly archiveOnExpire?: boolean | undefined;
}

const DAY_MS = 86_400_000;

/** Each shard keeps its share; hashes spread ids evenly. */
function retentionOf({ retentionPolicy, sharding }: DatabaseRecord): Retention | undefined {
  const { maxAgeDays, maxVectors, maxBytes, archiveOnExpire } = retentionPolicy ?? {};
  const share = (total: number): number => Math.max(1, Math.floor(total / sharding.numShards));
  if (maxAgeDays === undefined && maxVectors === undefined && maxBytes === undefined) return undefined;
  return {
    ...(maxAgeDays !== undefined && { maxAgeMs: maxAgeDays * DAY_MS }),
    ...(maxVectors !== undefined && { maxRows: share(maxVectors) }),
    ...(maxBytes !== undefined && { maxBytes: share(maxBytes) }),
    ...(archiveOnExpire && { archives: true as const }),
  };
}

export interface DatabaseRecord extends IndexFields {
  readonly databaseId: string;
  readonly name: string;
  readonly description: string;
  readonly vectorDimension: number;
  readonly metric: Metric;
  readonly indexType: IndexKind;
  /** Of the rows in all indexes; absent = they are whole. */
  readonly reduction?: ReducedSpec | undefined;
  readonly sharding: Sharding;
  readonly replication: { readonly factor: number; readonly sync: boolean; readonly maxLagMs: number };
  /** Where its copies stand; absent = the record is of a time when there were none. */
  readonly placement?: Placement | undefined;
  readonly embeddingModels: readonly object[];
  /** Field → type (metadata/schema.ts); null = metadata is free. */
  readonly metadataSchema: Readonly<Record<string, string>> | null;
  readonly durability: Durability;
  readonly retentionPolicy: RetentionPolicy | null;
  readonly accessControl: AccessControl | null;
  /** Absent in records of before there were snapshots and archives. */
  readonly lifecycle?: Lifecycle | undefined;
  /** The last one that was asked for. */
  readonly reembedding?: Reembedding | undefined;
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

/** Of what the names of its shards have in common. */
export function databaseNamed(base: string): DatabaseName | undefined {
  const [, tenant, namespace, databaseId, generation] = /^v(\d+)\/([^/]*)\/(.+)~(\d+)$/.exec(base) ?? [];
  if (namespace === undefined || databaseId === undefined) return undefined;
  return { tenant: Number(tenant), namespace, databaseId, generation: Number(generation) };
}

function shardingOf({ sharding }: DatabaseRecord, name: DatabaseName, shard: number): ShardingConfig | undefined {
  const { strategy, numShards, key, splitPoints } = sharding;
  if (strategy === "hash" && sharding.topology === undefined) return undefined;
  const { learnRows = DEFAULT_LEARN_ROWS, targetRecall = DEFAULT_TARGET_RECALL } = sharding;
  const base = shardName(name, 0).slice(0, -2);
  const common = { strategy, numShards, shard, base, key, splitPoints, learnRows, targetRecall };
  if (sharding.topology === undefined) return common;
  return { ...common, homes: homesOf(sharding), topology: topologyOf(sharding), span: shardCountOf(sharding) };
}

/** What one shard is told of it. */
function restoreOf(lifecycle: Lifecycle, shard: number): ShardLifecycle["restore"] {
  if (!lifecycle.restore || isStillHolding(lifecycle)) return undefined;
  const { without = [], ...asked } = lifecycle.restore;
  const parts = without.filter((left) => left.shard === shard).map(({ part }) => part);
  return parts.length === 0 ? asked : { ...asked, without: parts };
}

function shardLifecycleOf({ lifecycle = NO_LIFECYCLE, reembedding }: DatabaseRecord, shard: number): ShardLifecycle {
  const { snapshots, isArchived } = lifecycle;
  const restore = restoreOf(lifecycle, shard);
  const holdsWrites = reembedding?.state === "switching" ? true : undefined;
  const kept = { snapshots: snapshots.map(({ snapshotId }) => snapshotId), restore, isArchived, ...toldOf(lifecycle) };
  return holdsWrites ? { ...kept, holdsWrites } : kept;
}

/** What a shard and its copies must know. */
export function copiedConfigOf(record: DatabaseRecord, shard: number, config: ShardConfig): ShardConfig {
  const filling = fillingZones(record, shard);
  const zones = [...copyZones(record, shard), ...filling];
  const { factor, sync, maxLagMs } = record.replication;
  if (zones.length === 0) return config;
  const moving = filling.length > 0 && { filling, confirmations: factor - 1 };
  return { ...config, replication: { zones, sync, maxLagMs, ...moving } };
}

export function shardConfigOf(record: DatabaseRecord, name: DatabaseName, shard: number): ShardConfig {
  const { vectorDimension, metric, metadataSchema, durability } = record;
  const sharding = shardingOf(record, name, shard);
  const retention = retentionOf(record);
  const access = accessRulesOf(record.accessControl);
  return {
    dimension: vectorDimension,
    metric,
    durability,
    ...(metadataSchema && { metadataSchema }),
    ...(sharding && { sharding }),
    ...(retention && { retention }),
    ...(access && { access }),
    ...((record.lifecycle || record.reembedding?.state === "switching") && {
      lifecycle: shardLifecycleOf(record, shard),
    }),
    indexes: indexSpecsOf(record),
  };
}
