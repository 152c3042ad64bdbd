// From the fields of a request to a database's record, and back to what is shown.
// Guarantees: every refusal names its field; what cannot be done yet is refused, not recorded as if it were. Must not: do I/O.
import type { DatabaseChanges, DatabaseInfo } from "../../objects/database-rpc.ts";
import type { IndexParameters } from "../vector/database/indexes.ts";
import {
  CHANGEABLE,
  type DatabaseRecord,
  defaultParameters,
  KNOWN_INDEX_KINDS,
  quantizersOf,
} from "../vector/database/record.ts";
import type { IndexKind } from "../vector/index/segment-index.ts";
import { parseSchema } from "../vector/metadata/schema.ts";
import { camelNames } from "./config-fields.ts";
import { reductionText, requireReducible, requireReduction } from "./database-reduction.ts";
import type { DatabaseChangesBody, NewDatabaseBody } from "./database-schemas.ts";
import { shardingOf } from "./database-sharding.ts";
import { invalidRequest } from "./issues.ts";
import { asPublic } from "./vector-failure.ts";

const NESTED = ["sharding", "replication", "indexParameters", "retentionPolicy", "accessControl"];

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The specification's records are in both spellings, one level down too. */
export function nestedCamelNames(json: Record<string, unknown>): void {
  for (const name of NESTED) if (isObject(json[name])) camelNames(json[name]);
  const models = json["embeddingModels"];
  if (Array.isArray(models)) for (const model of models) if (isObject(model)) camelNames(model);
}

export function requireKnown(indexType: IndexKind): void {
  if (KNOWN_INDEX_KINDS.has(indexType)) return;
  const known = [...KNOWN_INDEX_KINDS];
  const message = `${indexType} cannot be built yet; there are ${known.join(", ")}`;
  throw invalidRequest([{ path: "indexType", message, value: indexType, limit: known }]);
}

export function parametersOf(
  base: Pick<DatabaseRecord, "indexType" | "metric" | "reduction">,
  given: NewDatabaseBody["indexParameters"],
): IndexParameters {
  const { indexType: kind, metric } = base;
  const defaults = defaultParameters(kind, metric);
  for (const name of Object.keys(given ?? {})) {
    if (name in defaults) continue;
    const path = `indexParameters.${name}`;
    throw invalidRequest([{ path, message: `means nothing to ${kind}`, limit: Object.keys(defaults) }]);
  }
  const quantizers = quantizersOf(kind);
  const quantizer = given?.quantizer;
  if (quantizer && !quantizers.includes(quantizer)) {
    const message = `${quantizer} cannot be had with ${kind}; there are ${quantizers.join(", ")}`;
    throw invalidRequest([{ path: "indexParameters.quantizer", message, value: quantizer, limit: quantizers }]);
  }
  const parameters = { ...defaults, ...given } as IndexParameters;
  requireReducible(base, parameters);
  return parameters;
}

function requireSchema(declared: Readonly<Record<string, string>> | null | undefined): void {
  if (declared) asPublic(() => parseSchema(declared));
}

type ResolvedBody = NewDatabaseBody & Pick<DatabaseRecord, "vectorDimension">;

export function recordOf(body: ResolvedBody, databaseId: string): DatabaseRecord {
  const { indexType, sharding, metadataSchema, replication = {} } = body;
  requireKnown(indexType);
  requireSchema(metadataSchema);
  requireReduction(body);
  return {
    databaseId,
    name: body.name ?? databaseId,
    description: body.description ?? "",
    vectorDimension: body.vectorDimension,
    metric: body.metric,
    ...(body.reduction && { reduction: body.reduction }),
    indexType,
    indexParameters: parametersOf(body, body.indexParameters),
    sharding: shardingOf(sharding),
    replication: {
      factor: replication.factor ?? 1,
      sync: replication.sync ?? false,
      maxLagMs: replication.maxLagMs ?? 0,
    },
    embeddingModels: body.embeddingModels?.map(namedModel) ?? [],
    metadataSchema: metadataSchema ?? null,
    durability: body.durability ?? "sync",
    retentionPolicy: body.retentionPolicy ?? null,
    accessControl: body.accessControl ?? null,
  };
}

/** The specification's record has a name. */
function namedModel(model: NonNullable<NewDatabaseBody["embeddingModels"]>[number]): object {
  return { ...model, name: model.name ?? model.modelId };
}

/** Fields that are given replace the old ones whole, within parameters and replication one by one. */
export function changesOf(body: DatabaseChangesBody, old: DatabaseRecord): DatabaseChanges {
  requireSame(body, old);
  requireSchema(body.metadataSchema);
  const changes: Record<string, unknown> = {};
  for (const name of CHANGEABLE) {
    const given = (body as Readonly<Record<string, unknown>>)[name];
    if (given !== undefined) changes[name] = given;
  }
  if (body.indexParameters)
    changes["indexParameters"] = parametersOf(old, { ...old.indexParameters, ...body.indexParameters });
  if (body.embeddingModels) changes["embeddingModels"] = body.embeddingModels.map(namedModel);
  if (body.replication) changes["replication"] = { ...old.replication, ...body.replication };
  if (Object.keys(changes).length === 0)
    throw invalidRequest([{ path: "", message: `give at least one of ${CHANGEABLE.join(", ")}` }]);
  return changes as DatabaseChanges;
}

/** What is fixed at creation may be sent again, not sent otherwise. */
function requireSame(body: DatabaseChangesBody, old: DatabaseRecord): void {
  const pairs: readonly (readonly [path: string, given: unknown, held: unknown])[] = [
    ["databaseId", body.databaseId, old.databaseId],
    ["vectorDimension", body.vectorDimension, old.vectorDimension],
    ["metric", body.metric, old.metric],
    ["indexType", body.indexType, old.indexType],
    ["reduction", reductionText(body.reduction), reductionText(old.reduction)],
    ["sharding.strategy", body.sharding?.strategy, old.sharding.strategy],
    ["sharding.numShards", body.sharding?.numShards, old.sharding.numShards],
  ];
  const issues = pairs
    .filter(([, given, held]) => given !== undefined && given !== held)
    .map(([path, value, held]) => ({
      path,
      message: `cannot be changed; it is ${String(held ?? "none")}`,
      value,
      limit: held,
    }));
  if (issues.length > 0) throw invalidRequest(issues);
}

/** Archived and restored at every shard, or still on the way there; or to a snapshot. */
function stateOf({ state, isSettled, record: { lifecycle } }: DatabaseInfo): string {
  if (state === "ready" && lifecycle?.underWay?.kind === "restore") return "restoring";
  if (state !== "ready" || !lifecycle?.isArchived) return state;
  return isSettled ? "archived" : "archiving";
}

export function shownDatabase(info: DatabaseInfo): object {
  const { namespace, record, createdAtMs, updatedAtMs } = info;
  const { databaseId, lifecycle, placement: _at, indexes: _more, ...described } = record;
  const { defaultBuild: _build, lastBuild: _last, sharding: held, ...rest } = described;
  const { homes: _homes, topology: _topology, reshard: _reshard, ...sharding } = held;
  const state = stateOf(info);
  const [createdAt, updatedAt] = [createdAtMs, updatedAtMs].map((ms) => new Date(ms).toISOString());
  const damage = lifecycle?.isArchived ? lifecycle.damage : undefined;
  return { databaseId, namespace, state, ...(damage && { damage }), ...rest, sharding, createdAt, updatedAt };
}
