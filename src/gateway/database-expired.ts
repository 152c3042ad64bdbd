// /v1/databases/…/expired: the vectors that a database's retention archived (`archiveOnExpire`). They are in no search; their data is stored in any
// database of the dimension by …/restore/data.
// Guarantees: what is read is checked; one block is in memory.
import { z } from "@hono/zod-openapi";
import type { ExpiredState, ShardExpiredPage } from "../../objects/vector-rpc.ts";
import { type DatabaseRecord, shardName } from "../vector/database/record.ts";
import { shardCountOf } from "../vector/database/resharding.ts";
import { accessRulesOf, refusedBy } from "../vector/shard/access.ts";
import { PublicError } from "../wire/error-codes.ts";
import { VECTOR_SNAPSHOT_TYPE, VectorSnapshotWriter } from "../wire/vector-snapshot.ts";
import { apiHeaders, success } from "./answers.ts";
import { type Call, scopeOf } from "./call.ts";
import { configRoute } from "./config-route.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase } from "./databases.ts";
import { reading } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import type { Route } from "./route.ts";
import { streamOf } from "./snapshot-reading.ts";
import { type AskedDatabase, findDatabase } from "./vector-databases.ts";
import { publicErrorFrom } from "./vector-failure.ts";

const PATH = "/v1/databases/{db}/expired";
const ERRORS = ["notFound", "dataCorrupt"] as const;

const shape = z.object({
  databaseId: z.string(),
  rows: z.number(),
  bytes: z.number(),
  oldestAt: z.iso.datetime().nullable().openapi({ description: "When the first of them was last written." }),
  newestAt: z.iso.datetime().nullable(),
  through: z.string().openapi({
    description: "Names what there is: give it to …/data and to DELETE, and what is archived meanwhile stays.",
  }),
});

const query = databaseQuery.extend({
  through: z
    .string()
    .regex(/^\d{1,15}(\.\d{1,15}){0,63}$/, "must be what GET …/expired gave")
    .optional()
    .openapi({ description: "What GET …/expired gave; left out: all that there is." }),
});

/** The rows of snapshots and archives are the shards' own. @throws PublicError forbidden */
export function requireReading(call: Call, { accessControl }: DatabaseRecord): void {
  const rules = accessRulesOf(accessControl);
  const refused = rules && refusedBy(rules, scopeOf(call), ["read"]);
  if (refused) throw publicErrorFrom(refused);
}

interface Expired {
  readonly record: DatabaseRecord;
  readonly shards: readonly { readonly shard: number; readonly name: string; readonly state: ExpiredState }[];
  readonly rows: number;
}

/** `through`: a part for each shard. */
async function expiredOf(call: Call, asked: AskedDatabase, through?: string): Promise<Expired> {
  const { record, generation } = await findDatabase(call, asked);
  const count = shardCountOf(record.sharding);
  const lasts = through?.split(".").map(Number);
  if (lasts && lasts.length !== count)
    throw invalidRequest([
      { path: "through", message: `is of ${lasts.length} shards; there are ${count}`, value: through },
    ]);
  const shards = await Promise.all(
    Array.from({ length: count }, async (_, shard) => {
      const name = shardName({ ...asked, generation }, shard);
      const state = await reading(call.services.stubs.vectorShard(name).expiredInfo(lasts?.[shard]), "VectorShard");
      if (!state) throw new PublicError("unavailable", `shard ${shard} of the database is not there; try again`);
      return { shard, name, state };
    }),
  );
  return { record, shards, rows: shards.reduce((sum, { state }) => sum + state.rows, 0) };
}

/** Shards that go take what they archived with them. @throws PublicError conflict */
export async function requireNoneExpired(call: Call, asked: AskedDatabase): Promise<void> {
  const { rows } = await expiredOf(call, asked);
  if (rows === 0) return;
  const message = `${rows} expired vectors are archived in the database's shards: save them (GET …/expired/data) and delete them (DELETE …/expired) first`;
  throw new PublicError("conflict", message, { expired: rows });
}

const timeOf = (ms: readonly number[]): string | null => (ms.length === 0 ? null : new Date(ms[0]!).toISOString());

const look = configRoute({
  method: "get",
  path: PATH,
  summary: "How many vectors a database's retention has archived",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  data: shape,
  errors: ERRORS,
  async handle(call, { params, keyspace }) {
    const { databaseId, ...asked } = askedDatabase(params, keyspace);
    const { shards, rows } = await expiredOf(call, { ...asked, databaseId });
    const states = shards.map(({ state }) => state).filter((state) => state.rows > 0);
    const oldestAt = timeOf(states.map(({ oldestMs }) => oldestMs!).sort((a, b) => a - b));
    const newestAt = timeOf(states.map(({ newestMs }) => newestMs!).sort((a, b) => b - a));
    const bytes = states.reduce((sum, state) => sum + state.bytes, 0);
    const through = shards.map(({ state }) => state.lastPart).join(".");
    return success(call, { message: "found", data: { databaseId, rows, bytes, oldestAt, newestAt, through } });
  },
});

async function* dataOf(
  call: Call,
  { databaseId }: AskedDatabase,
  { record, shards, rows }: Expired,
): AsyncGenerator<Uint8Array> {
  const writer = new VectorSnapshotWriter();
  const { vectorDimension, metric } = record;
  yield writer.head({
    ...{ snapshotId: "expired", databaseId, createdAtMs: call.startedMs, rows, vectorDimension, metric },
    shards: shards.map(({ shard, state }) => ({ shard, revision: 0, rows: state.rows })),
  });
  for (const { name, state } of shards) {
    const stub = call.services.stubs.vectorShard(name);
    let left = state.rows;
    for (let after = 0; after < state.lastPart; ) {
      const page: ShardExpiredPage | null = await reading(stub.expiredPage(after), "VectorShard");
      if (page?.kind === "damaged") throw new PublicError("dataCorrupt", page.message);
      if (!page || page.part > state.lastPart) break;
      yield writer.rows(page.rows, page.count);
      left -= page.count;
      after = page.part;
    }
    // The stream breaks off, and its checksum with it.
    if (left !== 0) throw new PublicError("conflict", "vectors were archived or deleted meanwhile: begin again");
  }
  yield writer.end();
}

const download = configRoute({
  method: "get",
  path: `${PATH}/data`,
  summary: `The vectors that a database's retention has archived, as a checksummed stream (${VECTOR_SNAPSHOT_TYPE})`,
  scope: "read-only",
  params: databaseParams,
  query,
  errors: ERRORS,
  async handle(call, { params, query: { through }, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const expired = await expiredOf(call, asked, through);
    requireReading(call, expired.record);
    const headers = apiHeaders(call, {}, VECTOR_SNAPSHOT_TYPE);
    return new Response(streamOf(call, dataOf(call, asked, expired)), { headers });
  },
});

const drop = configRoute({
  method: "delete",
  path: PATH,
  summary: "Delete the vectors that a database's retention has archived",
  scope: "admin",
  params: databaseParams,
  query,
  data: z.object({ databaseId: z.string() }),
  errors: [...ERRORS, "unavailable"],
  async handle(call, { params, query: { through }, keyspace }) {
    const asked = askedDatabase(params, keyspace);
    const { shards } = await expiredOf(call, asked, through);
    // Repeated, it is the same: what one shard did not answer is done by the next try.
    await Promise.all(
      shards.map(({ name, state }) =>
        reading(call.services.stubs.vectorShard(name).dropExpired(state.lastPart), "VectorShard"),
      ),
    );
    return success(call, { message: "deleted", data: { databaseId: asked.databaseId } });
  },
});

export const databaseExpiredRoutes: readonly Route[] = [look, download, drop];
