// How the vectors of a database come to its shards: what a request may say of it, and what becomes of that in the record.
// Guarantees: every refusal names its field. Must not: do I/O.
import { z } from "@hono/zod-openapi";
import { MAX_SHARDS } from "../vector/database/limits.ts";
import type { Sharding } from "../vector/database/resharding.ts";
import {
  DEFAULT_LEARN_ROWS,
  DEFAULT_TARGET_RECALL,
  MAX_LEARN_ROWS,
  MAX_SPLIT_CHARACTERS,
  MAX_SPLIT_POINTS,
  MIN_LEARN_ROWS,
} from "../vector/sharding/limits.ts";
import { isSplitPoints } from "../vector/sharding/shard-map.ts";
import { invalidRequest } from "./issues.ts";

const whole = (least: number, most: number) => z.int("must be a whole number").min(least).max(most);

export const shardingBody = z.strictObject({
  strategy: z.enum(["hash", "range", "centroid", "vector"]).optional().openapi({
    description:
      "By a hash of the id (default), by ranges of a metadata field, or by the nearest of learned centroids (`vector` is another name of it).",
  }),
  numShards: whole(1, MAX_SHARDS).optional(),
  key: z.string().min(1).max(200).optional().openapi({ description: "range: the metadata field." }),
  splitPoints: z
    .array(z.union([z.number(), z.string().max(MAX_SPLIT_CHARACTERS)]))
    .min(1)
    .max(MAX_SPLIT_POINTS)
    .optional()
    .openapi({ description: "range: one less than shards, ascending. Default: learned from the first vectors." }),
  shardProbes: whole(1, MAX_SHARDS)
    .optional()
    .openapi({ description: "centroid: shards that a search asks which does not say. Default: by targetRecall." }),
  targetRecall: z
    .number()
    .min(0.5)
    .max(1)
    .optional()
    .openapi({
      description: `centroid: the share of true neighbours that the shards asked by default must hold. Default: ${DEFAULT_TARGET_RECALL}.`,
    }),
  learnRows: whole(MIN_LEARN_ROWS, MAX_LEARN_ROWS)
    .optional()
    .openapi({
      description: `Vectors after which split points or centroids are learned. Default: ${DEFAULT_LEARN_ROWS}.`,
    }),
});

export const shardingShape = z.object({
  ...shardingBody.omit({ strategy: true, numShards: true }).shape,
  strategy: z.enum(["hash", "range", "centroid"]),
  numShards: z.number(),
});

const MEANS: Readonly<Record<Sharding["strategy"], readonly string[]>> = {
  hash: [],
  range: ["key", "splitPoints", "learnRows"],
  centroid: ["shardProbes", "targetRecall", "learnRows"],
};

export function shardingOf({ strategy: asked = "hash", numShards, ...rest }: z.output<typeof shardingBody>): Sharding {
  const strategy = asked === "vector" ? "centroid" : asked;
  const refuse = (path: string, message: string, extra: object = {}) =>
    invalidRequest([{ path: `sharding.${path}`, message, ...extra }]);
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  for (const [name] of given)
    if (!MEANS[strategy].includes(name)) throw refuse(name, `means nothing to ${strategy}`, { limit: MEANS[strategy] });
  const { key, splitPoints, shardProbes } = rest;
  if (strategy === "range" && key === undefined) throw refuse("key", "is needed: the metadata field of the ranges");
  if (splitPoints && !isSplitPoints(splitPoints))
    throw refuse("splitPoints", "must be all numbers or all texts, ascending, none twice");
  if (splitPoints && numShards !== undefined && numShards !== splitPoints.length + 1)
    throw refuse("splitPoints", `has ${splitPoints.length} points; ${numShards} shards have ${numShards - 1}`, {
      value: splitPoints.length,
      limit: numShards - 1,
    });
  const shards = splitPoints ? splitPoints.length + 1 : (numShards ?? 1);
  if (shardProbes !== undefined && shardProbes > shards)
    throw refuse("shardProbes", `must be at most numShards, ${shards}`, { value: shardProbes, limit: shards });
  return { strategy, numShards: shards, ...Object.fromEntries(given) };
}

export const shardingStateShape = z.object({
  strategy: z.enum(["hash", "range", "centroid"]),
  state: z.enum(["learning", "moving", "active"]).openapi({
    description:
      "Learned yet or not where vectors belong; moved there or not. Searches leave shards out when it is active.",
  }),
  splitPoints: shardingBody.shape.splitPoints,
  shardProbes: z.number().optional(),
  skew: z.number().optional().openapi({ description: "Vectors of the greatest shard by the mean of all." }),
});
