// What a shard of vectors answers where it runs no call.
import { CorruptLog } from "../src/storage/types.ts";
import { CorruptSegment } from "../src/vector/segment/directory.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { isById } from "../src/vector/sharding/placer.ts";
import { BEING_RESTORED } from "../src/vector/sharding/placer-refusals.ts";
import { isVectorWrite, NO_SUCH_SHARD, type VectorCall, type VectorFailure } from "../src/wire/vector.ts";

/** Writes that wait for the turn's end; more means that the object cannot keep up. */
export const MAX_WAITING_WRITES = 10_000;

export const QUEUE_FULL: VectorFailure = {
  kind: "error",
  code: "overloaded",
  message: `${MAX_WAITING_WRITES} writes wait for the shard; nothing was done`,
};

export const ARCHIVED: VectorFailure = {
  kind: "error",
  code: "conflict",
  message: "the database is archived; restore it first",
  details: { state: "archived" },
};

export const HELD: VectorFailure = {
  kind: "error",
  code: "unavailable",
  message: "the database changes to the vectors of another model; nothing was done, try again in a moment",
};

export const UNREADABLE: VectorFailure = {
  kind: "error",
  code: "dataCorrupt",
  message: "stored rows are damaged, and no other copy has them",
};

export const COLD_AWAY: VectorFailure = {
  kind: "error",
  code: "unavailable",
  message: "values that this needs are in the blob store, which does not answer in time; nothing was done, try again",
  details: { values: "cold" },
};

export const COLD_DAMAGED: VectorFailure = {
  kind: "error",
  code: "dataCorrupt",
  message: "values that this needs are damaged or missing in the blob store",
};

/** Its caller does not know where rows may be by now. Calls by id go to their homes, which never change. */
export function isOutdated(call: VectorCall, config: ShardConfig | undefined): boolean {
  const { isPlaced, topology = 0, request } = call;
  if (isPlaced || topology >= (config?.sharding?.topology ?? 0)) return false;
  return !isById(request);
}

/** Why a call is not run now: its caller knows too little, or the database is being restored. Imports wait. */
export function refusedNow(call: VectorCall, config: ShardConfig | undefined): VectorFailure | undefined {
  if (isOutdated(call, config)) return NO_SUCH_SHARD;
  const { era = 0, holds } = config?.lifecycle ?? {};
  const { isPlaced, topology = 0, request } = call;
  // From another shard: it says of which era it is.
  if (isPlaced) return topology < era && isVectorWrite(request) ? BEING_RESTORED : undefined;
  if (!holds || holds === "moves") return undefined;
  const isHeld = request.kind === "get" ? holds === "all" : isById(request) || request.kind === "deleteWhere";
  return isHeld ? BEING_RESTORED : undefined;
}

/** One that an earlier phase told, and that comes late. */
export function isLate(config: ShardConfig, held: ShardConfig | undefined): boolean {
  return (config.lifecycle?.step ?? 0) < (held?.lifecycle?.step ?? 0);
}

/** What is stored does not fit its checksums: it is so the next time, too. */
export function isDamage(error: unknown): boolean {
  return error instanceof CorruptSegment || error instanceof CorruptLog;
}
