// /v1/databases/…/reshard: another number of shards for a database, or another place for its vectors among as many, while searches and writes go
// on.
// Guarantees: what is answered as begun goes on by itself, over crashes of anything; cancelled, it goes back.

import { z } from "@hono/zod-openapi";
import type { DatabaseInfo } from "../../objects/database-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import type { ReshardState } from "../../objects/vector-rpc.ts";
import { MAX_SHARDS } from "../vector/database/limits.ts";
import { shardName } from "../vector/database/record.ts";
import { homesOf } from "../vector/database/resharding.ts";
import { DEFAULT_LEARN_ROWS } from "../vector/sharding/limits.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { type ConfigInput, configRoute } from "./config-route.ts";
import { requireNoneExpired } from "./database-expired.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase, change, mutationOf } from "./databases.ts";
import { reading, writing } from "./errors.ts";
import type { Route } from "./route.ts";
import { type AskedDatabase, findDatabase } from "./vector-databases.ts";

const PATH = "/v1/databases/{db}/reshard";
const ERRORS = ["notFound", "dataCorrupt", "idempotencyKeyReused", "unknownOutcome", "conflict"] as const;

const body = z.strictObject({
  shards: z.int("must be a whole number").min(1).max(MAX_SHARDS).optional().openapi({
    description:
      "As many as there are to be. Sharded by ranges or centroids it may be left out: as many as there are, and where vectors belong is learned again.",
  }),
});
const shape = z.object({
  databaseId: z.string(),
  state: z.enum(["preparing", "moving", "ending", "done"]).openapi({
    description: "New shards are made; vectors move; shards that hold nothing any more go; nothing is under way.",
  }),
  numShards: z.number().openapi({ description: "Where vectors go that are written now." }),
  from: z.number().optional(),
  to: z.number().optional(),
  cancelled: z.boolean().optional(),
  progress: z.number().openapi({ description: "0 to 1: of the vectors that may have to move, about." }),
});

const SHOWN = { telling: "preparing", moving: "moving", ending: "ending" } as const;

async function progressOf(call: Call, asked: AskedDatabase, { generation, record }: DatabaseInfo): Promise<number> {
  const { sharding } = record;
  const homes = Array.from({ length: homesOf(sharding) }, (_, shard) => shardName({ ...asked, generation }, shard));
  const states = await Promise.all(
    homes.map(
      (name): Promise<ReshardState | null> =>
        reading(call.services.stubs.vectorShard(name).reshardState(), "VectorShard"),
    ),
  );
  const of = (state: ReshardState | null): number => (state?.topology === sharding.topology ? state!.progress : 0);
  return states.reduce((sum, state) => sum + of(state), 0) / states.length;
}

async function shown(call: Call, asked: AskedDatabase, info: DatabaseInfo): Promise<object> {
  const { sharding } = info.record;
  const { reshard, numShards } = sharding;
  const common = { databaseId: asked.databaseId, numShards };
  if (!reshard) return { ...common, state: "done", progress: 1 };
  const { from, to, phase, isCancelled } = reshard;
  const progress = phase === "telling" ? 0 : phase === "ending" ? 1 : await progressOf(call, asked, info);
  return { ...common, state: SHOWN[phase], from, to, progress, ...(isCancelled && { cancelled: true }) };
}

/** Of few vectors nothing can be learned that holds for the others. */
async function requireLearned(call: Call, asked: AskedDatabase): Promise<void> {
  const { generation, record } = await findDatabase(call, asked);
  const { strategy, topology, learnRows = DEFAULT_LEARN_ROWS } = record.sharding;
  if (strategy === "hash" || topology !== undefined) return;
  const first = call.services.stubs.vectorShard(shardName({ ...asked, generation }, 0));
  if (await reading(first.shardMap(), "VectorShard")) return;
  const message = `where its vectors belong is learned from the first ${learnRows}; there are not so many yet`;
  throw new PublicError("conflict", message, { learnRows });
}

type Input = Pick<ConfigInput<unknown, unknown>, "params" | "raw" | "keyspace">;

async function decide(call: Call, { params, raw, keyspace }: Input, shards: number | "anew" | "back"): Promise<object> {
  const asked = askedDatabase(params, keyspace);
  if (shards !== "back") {
    await requireNoneExpired(call, asked);
    await requireLearned(call, asked);
  }
  const work = call.services.stubs.tenant(asked.tenant).reshardDatabase(asked, shards, await mutationOf(call, raw));
  return shown(call, asked, unwrap(await writing(work, "Tenant", change(call))));
}

const begin = configRoute({
  method: "post",
  path: PATH,
  summary:
    "Bring a database to another number of shards, or learn again where its vectors belong; they move behind the answer",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  body,
  data: shape,
  successStatus: 202,
  errors: ERRORS,
  async handle(call, input) {
    return success(call, {
      status: 202,
      message: "begun",
      data: await decide(call, input, input.body.shards ?? "anew"),
    });
  },
});

const look = configRoute({
  method: "get",
  path: PATH,
  summary: "How far a change of the number of shards is",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  data: shape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    return success(call, { message: "found", data: await shown(call, asked, await findDatabase(call, asked)) });
  },
});

const cancel = configRoute({
  method: "delete",
  path: PATH,
  summary: "Cancel a change of the number of shards: what has moved goes back",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  data: shape,
  successStatus: 202,
  errors: ERRORS,
  async handle(call, input) {
    return success(call, { status: 202, message: "cancelled", data: await decide(call, input, "back") });
  },
});

export const databaseReshardRoutes: readonly Route[] = [begin, look, cancel];
