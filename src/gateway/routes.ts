// Every route of the gateway, once: the dispatcher, the OpenAPI document and the bad-input tests all read this list.
import { PublicError } from "../wire/error-codes.ts";
import { clusterRoute, listClusterEvents } from "./cluster.ts";
import { clusterNodeRoutes } from "./cluster-nodes.ts";
import { configRoutes } from "./config-routes.ts";
import { configWatchRoute } from "./config-watch-route.ts";
import { databaseExpiredRoutes } from "./database-expired.ts";
import { databaseIndexRoutes } from "./database-indexes.ts";
import { databaseLifecycleRoutes } from "./database-lifecycle.ts";
import { databaseReembeddingRoutes } from "./database-reembedding.ts";
import { databaseReshardRoutes } from "./database-reshard.ts";
import { databaseRoutes } from "./databases.ts";
import { embeddingModelRoutes } from "./embedding-models.ts";
import { embeddingsRoute } from "./embeddings.ts";
import { healthRoutes } from "./health.ts";
import { deleteKeyValue, getKeyValue, putKeyValue } from "./key-value.ts";
import { batchKeyValue } from "./key-value-batch.ts";
import { exportKeyValue, exportQuery } from "./key-value-export.ts";
import { metricsRoute } from "./metrics.ts";
import { getRepair, listRepairs, startRepair } from "./repairs.ts";
import { pathPattern, type Route } from "./route.ts";
import { batchShape, keyValueSchemas, valueShape, writtenShape } from "./schemas-key-value.ts";
import type { Services } from "./services.ts";
import { sessionRoute } from "./session.ts";
import { listStorageNodes } from "./storage-nodes.ts";
import { createKey, listKeys, revokeKey } from "./tenant-keys.ts";
import { changeTenant, createTenant, deleteTenant, getTenant, listTenants, tenantUsage } from "./tenants.ts";
import { vectorBatchRoutes } from "./vector-batch.ts";
import { vectorImportRoutes } from "./vector-imports.ts";
import { vectorSearchRoutes } from "./vector-search.ts";
import { vectorRoutes } from "./vectors.ts";

/** No route of the list: it describes the list. */
export const OPENAPI_PATH = "/v1/openapi.json";
const KEY_VALUE_PATH = "/v1/key-value";
const BODY_ERRORS = ["malformedJson", "malformedClock", "payloadTooLarge", "unsupportedMediaType"] as const;
const WRITE_ERRORS = [
  "unknownOutcome",
  "quorumUnavailable",
  "overloaded",
  "idempotencyKeyReused",
  "tooManySiblings",
  "quotaExceeded",
] as const;

function keyValueRoutes(services: Services): readonly Route[] {
  const schemas = keyValueSchemas(services.settings.limits);
  return [
    {
      method: "post",
      path: KEY_VALUE_PATH,
      summary: "Store a value",
      access: "data",
      body: schemas.put,
      data: writtenShape,
      errors: [...BODY_ERRORS, ...WRITE_ERRORS],
      run: (call) => putKeyValue(call, schemas),
    },
    {
      method: "get",
      path: KEY_VALUE_PATH,
      summary: "Read a value",
      access: "data",
      query: schemas.get,
      data: valueShape,
      errors: ["notFound", "quorumUnavailable", "dataCorrupt", "overloaded"],
      run: (call) => getKeyValue(call, schemas),
    },
    {
      method: "delete",
      path: KEY_VALUE_PATH,
      summary: "Delete a value; a body with the same fields is accepted too",
      access: "data",
      query: schemas.delete,
      data: writtenShape,
      errors: [...BODY_ERRORS, ...WRITE_ERRORS],
      run: (call) => deleteKeyValue(call, schemas),
    },
    {
      method: "post",
      path: `${KEY_VALUE_PATH}/batch`,
      summary: "Many independent operations; each has its own result",
      access: "data",
      body: schemas.batch,
      data: batchShape,
      errors: [...BODY_ERRORS, ...WRITE_ERRORS],
      run: (call) => batchKeyValue(call, schemas),
    },
    {
      method: "get",
      path: `${KEY_VALUE_PATH}/export`,
      summary: "All keys and values, page by page, as newline-delimited JSON; the last line of a page holds the cursor",
      access: "data",
      query: exportQuery,
      errors: ["quorumUnavailable", "dataCorrupt", "overloaded"],
      run: (call) => exportKeyValue(call),
    },
  ];
}

export function allRoutes(services: Services): readonly Route[] {
  return [
    ...keyValueRoutes(services),
    ...configRoutes,
    ...databaseRoutes,
    ...databaseLifecycleRoutes,
    ...databaseExpiredRoutes,
    ...databaseReshardRoutes,
    ...databaseReembeddingRoutes,
    ...vectorBatchRoutes,
    ...vectorRoutes,
    ...vectorSearchRoutes,
    ...embeddingModelRoutes,
    embeddingsRoute,
    ...databaseIndexRoutes,
    ...vectorImportRoutes,
    createTenant,
    listTenants,
    getTenant,
    tenantUsage,
    changeTenant,
    deleteTenant,
    createKey,
    listKeys,
    revokeKey,
    listStorageNodes,
    startRepair,
    listRepairs,
    getRepair,
    ...healthRoutes(services),
    clusterRoute(services),
    ...clusterNodeRoutes,
    listClusterEvents,
    metricsRoute(services),
    sessionRoute,
    configWatchRoute,
  ];
}

/** Matches a path against the patterns, whatever the method. */
export function allowedMethods(routes: readonly Route[], path: string): readonly string[] {
  const methods = new Set<string>(path === OPENAPI_PATH ? ["GET", "HEAD"] : []);
  for (const route of routes) {
    if (!pathPattern(route).test(path)) continue;
    methods.add(route.method.toUpperCase());
    if (route.method === "get") methods.add("HEAD");
  }
  if (methods.size > 0) methods.add("OPTIONS");
  return [...methods].sort();
}

/** `methodNotAllowed` for a known path, `notFound` for another. */
export function unroutedError(routes: readonly Route[], method: string, path: string): PublicError {
  const allow = allowedMethods(routes, path);
  if (allow.length === 0) return new PublicError("notFound", "there is no such path");
  return new PublicError("methodNotAllowed", `${method} is not possible here; allowed: ${allow.join(", ")}`, { allow });
}
