// What a shard of vectors answers where it runs no call.
import { CorruptLog } from "../src/storage/types.ts";
import { CorruptSegment } from "../src/vector/segment/directory.ts";
import type { ShardConfig } from "../src/vector/shard/shard-config.ts";
import { isById } from "../src/vector/sharding/placer.ts";
import type { VectorCall, VectorFailure } from "../src/wire/vector.ts";

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

/** Its caller does not know where rows may be by now. Calls by id go to their homes, which never change. */
export function isOutdated(call: VectorCall, config: ShardConfig | undefined): boolean {
  const { isPlaced, topology = 0, request } = call;
  if (isPlaced || topology >= (config?.sharding?.topology ?? 0)) return false;
  return !isById(request);
}

/** What is stored does not fit its checksums: it is so the next time, too. */
export function isDamage(error: unknown): boolean {
  return error instanceof CorruptSegment || error instanceof CorruptLog;
}
