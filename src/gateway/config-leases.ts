// /v1/config/leases: grant, keep alive, look at, revoke, list.

import { DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS } from "../access/limits.ts";
import type { LeaseAnswer } from "../wire/config.ts";
import { PublicError } from "../wire/error-codes.ts";
import { success } from "./answers.ts";
import { callConfig } from "./config-call.ts";
import { CONFIG_WRITE_ERRORS, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { shownKey } from "./config-shown.ts";
import { afterCursor, pageOf } from "./cursor.ts";
import { parseWith } from "./issues.ts";
import type { Route } from "./route.ts";

const PATH = "/v1/config/leases";
const ONE = `${PATH}/{lease}`;
/** Digits of the greatest int64: padded, ids sort as numbers do. */
const LEASE_DIGITS = 19;

const leaseOf = (params: Readonly<Record<string, string>>): string => parseWith(schemas.leaseParams, params).lease;

/** A keyspace answers that there is no lease as a time of -1. */
function requireLease<A extends LeaseAnswer>(answer: A): A {
  if (answer.ttlSeconds >= 0) return answer;
  const message = `there is no lease ${answer.lease}; it may have expired`;
  throw new PublicError("leaseNotFound", message, { leaseId: answer.lease });
}

const grant = configRoute({
  method: "post",
  path: PATH,
  summary: "Grant a lease: keys written with it are deleted when it ends",
  scope: "read-write",
  query: schemas.namespaceQuery,
  body: schemas.newLeaseBody,
  data: schemas.grantedShape,
  successStatus: 201,
  errors: ["leaseExists", "tooManyLeases", ...CONFIG_WRITE_ERRORS],
  async handle(call, { body, keyspace }) {
    const { ttlSeconds, leaseId = "" } = body;
    const answer = await callConfig(call, keyspace, { kind: "leaseGrant", lease: leaseId, ttlSeconds });
    const data = { leaseId: answer.lease, ttlSeconds: answer.grantedTtlSeconds, revision: answer.header.revision };
    return success(call, { status: 201, message: "granted", data });
  },
});

const list = configRoute({
  method: "get",
  path: PATH,
  summary: "List leases",
  scope: "read-only",
  query: schemas.pagedQuery(MAX_PAGE_ITEMS, DEFAULT_PAGE_ITEMS),
  data: schemas.pageOfShape(schemas.leaseItemShape),
  errors: [],
  async handle(call, { query, keyspace }) {
    const { leases } = await callConfig(call, keyspace, { kind: "leases" });
    const after = afterCursor(query.cursor);
    const padded = leases.map((lease) => lease.padStart(LEASE_DIGITS, "0")).sort();
    const rest = padded.filter((lease) => lease > after).slice(0, query.limit + 1);
    const item = (lease: string) => ({ leaseId: lease.replace(/^0+/, "") });
    return success(call, { message: "listed", data: pageOf(rest, query.limit, { name: (lease) => lease, item }) });
  },
});

const look = configRoute({
  method: "get",
  path: ONE,
  summary: "Show how long a lease has left",
  scope: "read-only",
  params: schemas.leaseParams,
  query: schemas.leaseQuery,
  data: schemas.leaseShape,
  errors: ["leaseNotFound"],
  async handle(call, { params, query, keyspace }) {
    const request = { kind: "leaseTimeToLive", lease: leaseOf(params), withKeys: query.keys } as const;
    const answer = requireLease(await callConfig(call, keyspace, request));
    const { lease, ttlSeconds, grantedTtlSeconds } = answer;
    const keys = query.keys ? { keys: answer.keys.map((key) => shownKey(key, query.keyEncoding)) } : {};
    const data = { leaseId: lease, ttlSeconds, grantedTtlSeconds, ...keys, revision: answer.header.revision };
    return success(call, { message: "found", data });
  },
});

const keepAlive = configRoute({
  method: "post",
  path: `${ONE}/keep-alive`,
  summary: "Begin a lease's time to live anew",
  scope: "read-write",
  params: schemas.leaseParams,
  query: schemas.namespaceQuery,
  data: schemas.grantedShape,
  errors: ["leaseNotFound", ...CONFIG_WRITE_ERRORS],
  async handle(call, { params, keyspace }) {
    const answer = requireLease(await callConfig(call, keyspace, { kind: "leaseKeepAlive", lease: leaseOf(params) }));
    const data = { leaseId: answer.lease, ttlSeconds: answer.grantedTtlSeconds, revision: answer.header.revision };
    return success(call, { message: "kept alive", data });
  },
});

const revoke = configRoute({
  method: "delete",
  path: ONE,
  summary: "End a lease and delete its keys, in one revision",
  scope: "read-write",
  params: schemas.leaseParams,
  query: schemas.namespaceQuery,
  data: schemas.revokedShape,
  errors: ["leaseNotFound", ...CONFIG_WRITE_ERRORS],
  async handle(call, { params, keyspace }) {
    const answer = await callConfig(call, keyspace, { kind: "leaseRevoke", lease: leaseOf(params) });
    return success(call, { message: "revoked", data: { leaseId: answer.lease, revision: answer.header.revision } });
  },
});

export const configLeaseRoutes: readonly Route[] = [grant, list, look, keepAlive, revoke];
