// What a storage node reports to /metrics. Names and help texts: src/telemetry.
import type { HintDelivery } from "../src/replication/hint-delivery.ts";
import type { HintLog } from "../src/replication/hint-log.ts";
import { TICKS_PER_MS } from "../src/replication/hybrid-clock.ts";
import type { Replica } from "../src/replication/replica.ts";
import type { Standing } from "../src/replication/standing.ts";
import type { StorageEngine } from "../src/storage/types.ts";

export interface ReplicaParts {
  readonly nodeId: string;
  readonly databaseBytes: number;
  readonly engine: StorageEngine;
  readonly replica: Replica;
  readonly hints: HintLog;
  readonly delivery: HintDelivery;
  readonly standing: Standing;
  /** At this start the node's facts or its standing failed their checksum. */
  readonly isStandingDamaged: boolean;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function replicaMetrics(parts: ReplicaParts): Record<string, number> {
  const { nodeId, databaseBytes, engine, replica, hints, delivery, standing } = parts;
  const samples: Record<string, number> = {};
  const set = (name: string, value: number): void => {
    samples[`jade_${name}{node="${nodeId}"}`] = value;
  };
  for (const [name, value] of Object.entries(engine.stats())) set(`storage_${snakeCase(name)}`, value);
  set("storage_database_bytes", databaseBytes);
  set("kv_stamps_total", replica.counts.stamps);
  set("kv_merges_total", replica.counts.merges);
  set("kv_replica_reads_total", replica.counts.reads);
  set("kv_repeated_writes_total", replica.counts.repeatedWrites);
  set("kv_refusals_total", replica.counts.refusals);
  set("kv_hints_stored_total", replica.counts.hintsStored);
  set("kv_hints_refused_total", replica.counts.hintsRefused);
  set("kv_hints_delivered_total", delivery.deliveredCount);
  set("kv_hints_expired_total", hints.expiredCount);
  set("kv_hints_corrupt_total", hints.corruptCount);
  set("kv_hints_pending", hints.pendingCount());
  set("kv_healed_rows_total", replica.counts.healedRows);
  set("kv_healed_records_total", replica.counts.healedRecords);
  set("kv_dirty_ranges", hints.dirtyRanges().length);
  set("kv_standing_damaged", parts.isStandingDamaged ? 1 : 0);
  set("kv_rebuilding", standing.isRebuilding ? 1 : 0);
  set("kv_sync_jobs", standing.jobs().filter((job) => job.phase !== "done").length);
  set("kv_sync_rows_compared_total", standing.rowsComparedTotal);
  set("kv_sync_rows_read_total", standing.rowsReadTotal);
  set("kv_sync_rows_repaired_total", standing.rowsRepairedTotal);
  set("kv_purge_horizon_seconds", Math.floor(standing.purgeHorizon() / TICKS_PER_MS / 1000));
  return samples;
}
