// /v1/config/compact, status, namespaces: the keyspace as a whole.
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { hexOf, sha256Hex } from "../access/api-key.ts";
import { DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS } from "../access/limits.ts";
import { success } from "./answers.ts";
import { callConfig } from "./config-call.ts";
import { CONFIG_WRITE_ERRORS, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { afterCursor, pageOf } from "./cursor.ts";
import { reading, writing } from "./errors.ts";
import type { Route } from "./route.ts";

const NAMESPACES = "/v1/config/namespaces";

const compact = configRoute({
  method: "post",
  path: "/v1/config/compact",
  summary:
    "Forget what was before a revision: older states can no longer be read, their space is reclaimed behind the answer",
  scope: "read-write",
  query: schemas.namespaceQuery,
  body: schemas.compactBody,
  data: schemas.compactedShape,
  errors: ["compacted", "futureRevision", ...CONFIG_WRITE_ERRORS],
  async handle(call, { body, keyspace }) {
    const { header } = await callConfig(call, keyspace, { kind: "compact", revision: body.revision });
    const data = { compactedRevision: body.revision, revision: header.revision };
    return success(call, { message: "compacted", data });
  },
});

const status = configRoute({
  method: "get",
  path: "/v1/config/status",
  summary: "Revision, number of keys and leases, size of a keyspace",
  scope: "read-only",
  query: schemas.namespaceQuery,
  data: schemas.statusShape,
  errors: [],
  async handle(call, { keyspace }) {
    const answer = await callConfig(call, keyspace, { kind: "status" });
    const { compactedRevision, keys, leases, watches, databaseBytes, header } = answer;
    const data = {
      ...{ namespace: keyspace.namespace, revision: header.revision, term: header.term, compactedRevision },
      ...{ keys, leases, watches, databaseBytes },
    };
    return success(call, { message: "found", data });
  },
});

const list = configRoute({
  method: "get",
  path: NAMESPACES,
  summary: "List the tenant's namespaces: those that were written to",
  scope: "read-only",
  query: schemas.namespacesQuery(MAX_PAGE_ITEMS, DEFAULT_PAGE_ITEMS),
  data: schemas.pageOfShape(schemas.namespaceShape),
  errors: [],
  async handle(call, { query, keyspace }) {
    const page = { after: afterCursor(query.cursor), limit: query.limit + 1 };
    const rows = await reading(call.services.stubs.tenant(keyspace.tenant).listNamespaces(page), "Tenant");
    const item = ({ namespace, createdAtMs }: (typeof rows)[number]) => ({
      namespace,
      createdAt: new Date(createdAtMs).toISOString(),
    });
    return success(call, {
      message: "listed",
      data: pageOf(rows, query.limit, { name: (row) => row.namespace, item }),
    });
  },
});

const erase = configRoute({
  method: "delete",
  path: NAMESPACES,
  summary: "Delete a namespace with all its keys, leases and history; written to again it begins anew",
  scope: "admin",
  query: schemas.deleteNamespaceQuery,
  data: schemas.deletedNamespaceShape,
  errors: ["notFound", "unknownOutcome", "idempotencyKeyReused"],
  async handle(call, { query, keyspace }) {
    const writeId = call.writeId!;
    const mutation = { writeId, bodyHash: await sha256Hex(`DELETE\0${NAMESPACES}\0${query.namespace}`) };
    const work = call.services.stubs.tenant(keyspace.tenant).deleteNamespace(query.namespace, mutation);
    const data = unwrap(await writing(work, "Tenant", { writeIdHex: hexOf(writeId) }));
    return success(call, { message: "deleted", data });
  },
});

export const configAdminRoutes: readonly Route[] = [compact, status, list, erase];
