// /v1/databases/…/reembed: a database's vectors made anew by another model, from the texts that its rows keep.
// Guarantees: what is answered as begun goes on by itself; searches are by the old model until all rows are there.
import type { NewReembedding } from "../../objects/database-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf } from "../access/api-key.ts";
import { isOpen, type Reembedding } from "../vector/database/reembedding.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { configRoute } from "./config-route.ts";
import * as schemas from "./database-reembedding-schemas.ts";
import { databaseParams, databaseQuery } from "./database-schemas.ts";
import { askedDatabase, change, mutationOf } from "./databases.ts";
import { findModel } from "./embedding-models.ts";
import { writing } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import type { Route } from "./route.ts";
import { findDatabase } from "./vector-databases.ts";

const PATH = "/v1/databases/{db}/reembed";
const ERRORS = ["notFound", "dataCorrupt", "idempotencyKeyReused", "unknownOutcome", "conflict"] as const;

function shown(job: Reembedding) {
  const { jobId, modelId, vectorDimension, textField, onMissing, state, message } = job;
  const { rows, embedded, missing, startedAtMs, endedAtMs } = job;
  const progress = isOpen(job) ? Math.min(rows === 0 ? 0 : embedded / rows, 0.99) : 1;
  return {
    ...{
      jobId,
      model: modelId,
      vectorDimension,
      textField,
      onMissing,
      state,
      rows,
      embedded,
      missing,
      progress,
      message,
    },
    startedAt: new Date(startedAtMs).toISOString(),
    endedAt: endedAtMs === null ? null : new Date(endedAtMs).toISOString(),
  };
}

/** The model is there, is used for texts, and says what it makes. */
async function askedOf(
  call: Call,
  tenant: number,
  { model, textField, onMissing }: schemas.ReembedBody,
): Promise<NewReembedding> {
  const { definition, status } = await findModel(call, tenant, model);
  if (status !== "active") throw new PublicError("conflict", `the embedding model "${model}" is ${status}`);
  const { outputDimension, inputType } = definition;
  if (inputType !== "text" || outputDimension === null)
    throw invalidRequest([{ path: "model", message: "makes no vectors of texts", value: model }]);
  const jobId = `ree_${hexOf(call.writeId!).slice(0, 16)}`;
  return { jobId, modelId: model, vectorDimension: outputDimension, textField, onMissing };
}

const begin = configRoute({
  method: "post",
  path: PATH,
  summary:
    "Make a database's vectors anew by another model, from the texts in its rows' metadata, behind the answer; searches are by the old ones until all are there",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  body: schemas.reembedBody,
  data: schemas.reembeddingShape,
  successStatus: 202,
  errors: [...ERRORS, "quotaExceeded"],
  async handle(call, { body, params, raw, keyspace }) {
    const name = askedDatabase(params, keyspace);
    await findDatabase(call, name);
    const asked = await askedOf(call, name.tenant, body);
    const work = call.services.stubs.tenant(name.tenant).reembedDatabase(name, asked, await mutationOf(call, raw));
    const { record } = unwrap(await writing(work, "Tenant", change(call)));
    return success(call, { status: 202, message: "begun", data: shown(record.reembedding!) });
  },
});

const look = configRoute({
  method: "get",
  path: PATH,
  summary: "Show how far the re-embedding of a database is, or how the last one ended",
  scope: "read-only",
  params: databaseParams,
  query: databaseQuery,
  data: schemas.reembeddingShape,
  errors: ["notFound", "dataCorrupt"],
  async handle(call, { params, keyspace }) {
    const { record } = await findDatabase(call, askedDatabase(params, keyspace));
    if (record.reembedding) return success(call, { message: "found", data: shown(record.reembedding) });
    throw new PublicError("notFound", "the database was never re-embedded");
  },
});

const cancel = configRoute({
  method: "delete",
  path: PATH,
  summary: "Cancel the re-embedding of a database; what was made is erased, the database stays as it is",
  scope: "admin",
  params: databaseParams,
  query: databaseQuery,
  data: schemas.reembeddingShape,
  errors: ERRORS,
  async handle(call, { params, raw, keyspace }) {
    const name = askedDatabase(params, keyspace);
    const work = call.services.stubs.tenant(name.tenant).reembedDatabase(name, null, await mutationOf(call, raw));
    const { record } = unwrap(await writing(work, "Tenant", change(call)));
    return success(call, { message: "cancelled", data: shown(record.reembedding!) });
  },
});

export const databaseReembeddingRoutes: readonly Route[] = [begin, look, cancel];
