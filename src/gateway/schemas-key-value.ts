// The zod schemas of the data path. Values are `unknown` here: their raw text is taken from the bytes, never through zod.
import { z } from "@hono/zod-openapi";
import type { Settings } from "../cluster/settings.ts";
import { consistency, keyText, vectorClock } from "./schemas.ts";

const value = z.unknown().openapi({ description: "Any JSON value. Comes back byte for byte as it was sent." });

export function keyValueSchemas(limits: Settings["limits"]) {
  const key = keyText(limits.maxKeyBytes);
  const level = consistency.optional();
  const clock = vectorClock.optional();
  const put = z.strictObject({ key, value, consistency: level, vectorClock: clock });
  const operation = z.discriminatedUnion("op", [
    z.strictObject({ op: z.literal("put"), key, value, consistency: level, vectorClock: clock }),
    z.strictObject({ op: z.literal("get"), key, consistency: level }),
    z.strictObject({ op: z.literal("delete"), key, consistency: level, vectorClock: clock }),
  ]);
  return {
    put,
    get: z.strictObject({ key, consistency: level }),
    /** `vectorClock` as JSON text in the query, as an object in the body. */
    delete: z.strictObject({ key, consistency: level, vectorClock: clock }),
    batch: z.strictObject({
      operations: z.array(operation).min(1).max(limits.maxBatchOperations),
      consistency: level.openapi({ description: "For the operations that do not say." }),
    }),
  };
}

export type KeyValueSchemas = ReturnType<typeof keyValueSchemas>;

const clockShape = z.record(z.string(), z.unknown());
export const writtenShape = z.object({ key: z.string(), vectorClock: clockShape });
export const valueShape = z.object({
  key: z.string(),
  value: z.unknown(),
  vectorClock: clockShape,
  conflict: z.boolean().optional(),
  siblings: z
    .array(z.object({ value: z.unknown().optional(), deleted: z.boolean().optional(), vectorClock: clockShape }))
    .optional(),
});
export const batchShape = z.object({
  results: z.array(
    valueShape.partial().extend({
      op: z.string(),
      key: z.string(),
      status: z.enum(["success", "error"]),
      httpStatus: z.number(),
      code: z.string().optional(),
      message: z.string().optional(),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
});
