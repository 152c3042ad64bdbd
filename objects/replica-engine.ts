// Opens the storage engine of a storage node with its settings. Must not: hold anything.
import type { Settings } from "../src/cluster/settings.ts";
import { isPurgeable } from "../src/kv/purge.ts";
import type { Standing } from "../src/replication/standing.ts";
import { openEngine } from "../src/storage/engine.ts";
import { REMOTE_BLOCK_BYTES, SERVER_LIMITS } from "../src/storage/limits.ts";
import { SqliteBlobStore } from "../src/storage/sqlite-blob-store.ts";
import type { AtFailPoint } from "../src/storage/state.ts";
import type { CorruptRange, SqlStorage as EngineSql, Kernels, RepairableEngine } from "../src/storage/types.ts";
import { blobStoreOf } from "./blob-store.ts";
import type { Env } from "./env.ts";

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

export interface EngineParts {
  readonly env: Env;
  readonly settings: Settings;
  readonly nodeId: string;
  readonly sql: EngineSql;
  readonly kernels: Kernels;
  /** What may be dropped. */
  readonly standing: Pick<Standing, "dropHorizon">;
  readonly durable: () => Promise<void>;
  readonly onCorrupt: (range: CorruptRange) => void;
  readonly atFailPoint: AtFailPoint | undefined;
}

export function openReplicaEngine(parts: EngineParts): RepairableEngine {
  const { env, settings, nodeId, sql, kernels, standing, durable, onCorrupt, atFailPoint } = parts;
  const { storage: sizes, keyValue } = settings;
  return openEngine({
    sql,
    blobs: blobStoreOf(env, settings, () => new SqliteBlobStore(sql)),
    kernels,
    clock: Date.now,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    objectName: nodeId,
    limits: {
      ...SERVER_LIMITS,
      blockBytes: sizes.blobStore === "sqlite" ? SERVER_LIMITS.blockBytes : REMOTE_BLOCK_BYTES,
      memtableBytes: sizes.memtableMiB * MIB,
      rowCacheBytes: Math.max(1, sizes.rowCacheMiB * MIB),
      blockCacheBytes: sizes.blockCacheMiB * MIB,
      recordRetentionMs: keyValue.idempotencyRetentionHours * HOUR_MS,
      scrubPeriodMs: sizes.scrubDays * 24 * HOUR_MS,
    },
    durable,
    shouldDrop: (_, value) => isPurgeable(value, standing.dropHorizon),
    onCorrupt,
    atFailPoint,
  });
}
