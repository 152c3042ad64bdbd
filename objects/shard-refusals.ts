// What a shard of vectors answers where it runs no call.
import type { VectorFailure } from "../src/wire/vector.ts";

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
