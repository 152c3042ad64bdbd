// What the shard that places rows answers where it does not do what it is asked.
import type { VectorFailure } from "../../wire/vector.ts";
import { MAX_PLACED_WAITING } from "./limits.ts";

export const UNKNOWN: VectorFailure = {
  kind: "error",
  code: "unknownOutcome",
  message: "a shard of the database did not answer: the write may or may not have been applied",
};
export const MOVING: VectorFailure = {
  kind: "error",
  code: "unavailable",
  message: "the vector was on its way to another shard when that was cut off; try again in some seconds",
};
export const QUEUE_FULL: VectorFailure = {
  kind: "error",
  code: "overloaded",
  message: `${MAX_PLACED_WAITING} writes wait for the shard; nothing was done`,
};

export function scattered(shards: number): VectorFailure {
  const message = `is possible within one shard; these vectors belong to ${shards}`;
  const details = { issues: [{ path: "atomic", message, value: true, limit: 1 }] };
  return { kind: "error", code: "invalidRequest", message: `atomic ${message}`, details };
}

export function leavesItsShard(id: string): VectorFailure {
  return {
    kind: "error",
    code: "conflict",
    message: `atomic is possible within one shard; "${id}" is in another one: store it by itself first`,
    details: { id },
  };
}

/** A snapshot would have such a vector twice, or not at all. */
export const BEING_KEPT: VectorFailure = {
  kind: "error",
  code: "unavailable",
  message:
    "a snapshot of the database is being taken, and the vector would leave its shard; nothing was done, try again in a moment",
};
export const BEING_RESTORED: VectorFailure = {
  kind: "error",
  code: "unavailable",
  message: "the database is being restored from a snapshot; nothing was done, try again in a moment",
  details: { state: "restoring" },
};
