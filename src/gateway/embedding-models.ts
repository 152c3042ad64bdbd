// /v1/embedding-models: the models of a tenant, and those that come with the server.
// Guarantees: a model answers only when its bytes are whole and were looked at; a repeated change is one.
import type { EmbedderServiceRpc, ModelInfo } from "../../objects/embedder-rpc.ts";
import type { TenantRpc } from "../../objects/rpc.ts";
import { failure, type Mutation, type RpcResult, unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf, sha256Hex } from "../access/api-key.ts";
import { PART_BYTES } from "../embedding/limits.ts";
import { FAMILY_INPUT, type ModelDefinition, requireFamily, requireFiles } from "../embedding/model.ts";
import { EmbeddingRefusal } from "../embedding/refusal.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import type { Call } from "./call.ts";
import { camelNames, type RawObject } from "./config-fields.ts";
import { BYTES_TYPE, configRoute } from "./config-route.ts";
import { afterCursor, pageOf } from "./cursor.ts";
import { askEmbedder, embedderOf } from "./embedding-call.ts";
import * as schemas from "./embedding-schemas.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { ACTIVATE_DEADLINE_MS } from "./limits.ts";
import type { Route } from "./route.ts";

const PATH = "/v1/embedding-models";
const ONE = `${PATH}/{id}`;
const decoder = new TextDecoder();
const WRITE_ERRORS = ["idempotencyKeyReused", "unknownOutcome"] as const;

async function mutationOf(call: Call, raw: RawObject): Promise<Mutation> {
  const text = `${call.request.method}\0${call.path}\0${decoder.decode(raw.bytes)}`;
  return { writeId: call.writeId!, bodyHash: await sha256Hex(text) };
}

const idOf = (params: Readonly<Record<string, string>>): string =>
  parseWith(schemas.modelParams, { id: params["id"] }).id;

/** A change that was not answered may have been made. */
async function changing<T>(call: Call, work: Promise<T>, limitMs?: number): Promise<T> {
  try {
    return await askEmbedder(call, work, limitMs);
  } catch (error) {
    if (!(error instanceof PublicError) || error.code !== "unavailable") throw error;
    const message = "the embedder did not answer: the change may or may not have been made";
    throw new PublicError("unknownOutcome", message, { writeId: hexOf(call.writeId!) });
  }
}

function shown({ definition, status, isShipped, storedBytes, createdAtMs, updatedAtMs }: ModelInfo): object {
  const { files, ...record } = definition;
  const [createdAt, updatedAt] = [createdAtMs, updatedAtMs].map((ms) => new Date(ms).toISOString());
  return { ...record, status, isShipped, files, storedBytes, partBytes: PART_BYTES, createdAt, updatedAt };
}

function definitionOf(body: ReturnType<typeof schemas.newModelBody.parse>, ownId: string): ModelDefinition {
  const { modelId = ownId, version, provider, family, inputs, remote, files } = body;
  const { inputType = FAMILY_INPUT[family] } = body;
  const { name = modelId, description = "", parameters = {}, licence = "", source = "", outputDimension = null } = body;
  const about = { name, version, provider, description, licence, source };
  const definition = {
    modelId,
    ...about,
    family,
    inputType,
    outputDimension,
    parameters,
    files,
    ...(inputs && { inputs }),
    ...(remote && { remote }),
  };
  try {
    requireFiles(files);
    requireFamily(definition);
  } catch (error) {
    if (error instanceof EmbeddingRefusal) throw new PublicError(error.code, error.message, error.details);
    throw error;
  }
  return definition;
}

function nestedNames(json: Record<string, unknown>): void {
  const { parameters } = json;
  if (typeof parameters === "object" && parameters !== null) camelNames(parameters as Record<string, unknown>);
}

export interface Registrar {
  readonly embedder: Pick<EmbedderServiceRpc, "createModel" | "erase">;
  readonly owner: Pick<TenantRpc, "viewSince">;
}

/**
 * A tenant may be erased while its gateway does not know it yet, its embedder first: whoever registers looks at the tenant afterwards. Living then, its
 * erasure finds the model; else nothing of it stays.
 */
export async function registerModel(
  { embedder, owner }: Registrar,
  { tenant, definition, mutation }: { tenant: number; definition: ModelDefinition; mutation: Mutation },
): Promise<RpcResult<ModelInfo>> {
  const made = await embedder.createModel(tenant, definition, mutation);
  if (!made.ok) return made;
  const view = await owner.viewSince(null);
  if (view !== null && view !== "unchanged" && view.state === "active") return made;
  await embedder.erase(tenant);
  return failure("notFound", "there is no such tenant");
}

const create = configRoute({
  method: "post",
  path: PATH,
  summary: "Register an embedding model; its files are uploaded after it",
  scope: "admin",
  query: schemas.noQuery,
  body: schemas.newModelBody,
  prepare: nestedNames,
  data: schemas.modelShape,
  successStatus: 201,
  errors: ["alreadyExists", "quotaExceeded", ...WRITE_ERRORS],
  async handle(call, { body, raw, keyspace: { tenant } }) {
    const definition = definitionOf(body, `emb_${hexOf(call.writeId!).slice(0, 16)}`);
    const registrar = { embedder: embedderOf(call), owner: call.services.stubs.tenant(tenant) };
    const work = registerModel(registrar, { tenant, definition, mutation: await mutationOf(call, raw) });
    return success(call, { status: 201, message: "registered", data: shown(unwrap(await changing(call, work))) });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List the embedding models that the tenant has",
  scope: "read-only",
  query: schemas.modelsQuery,
  data: schemas.modelsShape,
  errors: [],
  async handle(call, { query, keyspace: { tenant } }) {
    const page = { after: afterCursor(query.cursor), limit: query.limit + 1 };
    const models = await askEmbedder(call, embedderOf(call).listModels(tenant, page));
    const name = ({ definition }: ModelInfo): string => definition.modelId;
    return success(call, { message: "listed", data: pageOf(models, query.limit, { name, item: shown }) });
  },
});

/** @throws PublicError `notFound` */
export async function findModel(call: Call, tenant: number, modelId: string): Promise<ModelInfo> {
  const found = await askEmbedder(call, embedderOf(call).findModel(tenant, modelId));
  if (found) return found;
  throw new PublicError("notFound", `there is no embedding model "${modelId}"`);
}

const look = configRoute({
  method: "get",
  path: ONE,
  summary: "Show an embedding model",
  scope: "read-only",
  params: schemas.modelParams,
  query: schemas.noQuery,
  data: schemas.modelShape,
  errors: ["notFound"],
  async handle(call, { params, keyspace: { tenant } }) {
    return success(call, { message: "found", data: shown(await findModel(call, tenant, idOf(params))) });
  },
});

const upload = configRoute({
  method: "put",
  path: `${ONE}/files/{file}`,
  summary: "Upload a part of a model's file (application/octet-stream); the same part sent again replaces it",
  scope: "admin",
  params: schemas.fileParams,
  query: schemas.partQuery,
  bodyType: BYTES_TYPE,
  maxBodyBytes: PART_BYTES,
  data: schemas.partShape,
  errors: ["notFound", "conflict", "payloadTooLarge", "unsupportedMediaType", "unknownOutcome"],
  async handle(call, { params, query: { part }, raw, keyspace: { tenant } }) {
    const { id, file } = parseWith(schemas.fileParams, params);
    const work = embedderOf(call).putPart(tenant, { modelId: id, file, part }, raw.bytes);
    return success(call, { message: "stored", data: unwrap(await changing(call, work)) });
  },
});

const change = configRoute({
  method: "patch",
  path: ONE,
  summary: "Make a model active or disabled, or change what is said of it",
  scope: "admin",
  params: schemas.modelParams,
  query: schemas.noQuery,
  body: schemas.modelChangesBody,
  prepare: nestedNames,
  data: schemas.modelShape,
  errors: ["notFound", "conflict", "dataCorrupt", ...WRITE_ERRORS],
  async handle(call, { params, body, raw, keyspace: { tenant } }) {
    if (Object.values(body).every((value) => value === undefined))
      throw invalidRequest([{ path: "status", message: "or another field to change is needed" }]);
    const changes = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
    const work = embedderOf(call).changeModel(tenant, idOf(params), changes, await mutationOf(call, raw));
    return success(call, { message: "changed", data: shown(unwrap(await changing(call, work, ACTIVATE_DEADLINE_MS))) });
  },
});

const remove = configRoute({
  method: "delete",
  path: ONE,
  summary: "Delete a model with its files; databases that name it take no more texts",
  scope: "admin",
  params: schemas.modelParams,
  query: schemas.noQuery,
  data: schemas.deletedModelShape,
  errors: ["notFound", "conflict", ...WRITE_ERRORS],
  async handle(call, { params, raw, keyspace: { tenant } }) {
    const work = embedderOf(call).deleteModel(tenant, idOf(params), await mutationOf(call, raw));
    return success(call, { message: "deleted", data: unwrap(await changing(call, work)) });
  },
});

export const embeddingModelRoutes: readonly Route[] = [create, list, look, upload, change, remove];
