// /v1/config/locks/<name> and /v1/config/elections/<name>: take or stand, look, give back or resign; an election's owner says who it is.
// Guarantees: at most one owner at a time, in the order of arrival; each answer to an owner carries its fencing token.

import { hexOf } from "../access/api-key.ts";
import type { BinaryKey, ConfigFailure, Ownership } from "../wire/config.ts";
import { isErrorCode, PublicError } from "../wire/error-codes.ts";
import { success, successPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { keyFrom, valueFrom } from "./config-fields.ts";
import { CONFIG_WRITE_ERRORS, configRoute, type KeyspaceInput } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { shownKey, valuePieces } from "./config-shown.ts";
import { reading, writing } from "./errors.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_CONFIG_PUT_BYTES, MAX_LOCK_NAME_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";

/** What comes on top of the time that the caller waits. Ms. */
const ACQUIRE_DEADLINE_MS = 10_000;
const NO_VALUE = new Uint8Array(0);
const WRITE_ERRORS = ["leaseNotFound", ...CONFIG_WRITE_ERRORS] as const;

/** The rest of the path. */
function nameOf(call: Call, path: string): string {
  try {
    return keyFrom(decodeURIComponent(call.path.slice(path.length + 1)), "utf8", "name", MAX_LOCK_NAME_BYTES);
  } catch (error) {
    if (error instanceof PublicError) throw error;
    throw invalidRequest([{ path: "name", message: "is not percent-encoded UTF-8" }]);
  }
}

function unwrapped<A extends object>(answer: A | ConfigFailure): A {
  if (!("kind" in answer) || answer.kind !== "error") return answer as A;
  throw new PublicError(isErrorCode(answer.code) ? answer.code : "internal", answer.message, answer.details);
}

function keyspaceOf({ services }: Call, { keyspace }: KeyspaceInput) {
  return services.stubs.configKeyspace(keyspace.tenant, keyspace.namespace);
}

async function ownershipOf({ services }: Call, { keyspace }: KeyspaceInput, name: BinaryKey): Promise<Ownership> {
  const object = await services.stubs.configKeyspaceToRead(keyspace.tenant, keyspace.namespace);
  return unwrapped(await object.ownership(name));
}

function writeIdOf({ writeId }: Call): { readonly writeIdHex: string } {
  return { writeIdHex: writeId ? hexOf(writeId) : "" };
}

/** Locks and elections differ in their words, and in that a candidate has a value. */
interface Face {
  readonly path: string;
  readonly words: {
    readonly take: string;
    readonly taken: string;
    readonly look: string;
    readonly leave: string;
    readonly left: string;
  };
  readonly isElection: boolean;
}

function routesOf({ path, words, isElection }: Face): readonly Route[] {
  const one = { path: `${path}/{name}`, isRest: true, params: schemas.lockParams } as const;
  const take = configRoute({
    ...one,
    method: "post",
    summary: words.take,
    scope: "read-write",
    query: schemas.namespaceQuery,
    body: isElection ? schemas.campaignBody : schemas.lockBody,
    data: schemas.acquiredShape,
    maxBodyBytes: MAX_CONFIG_PUT_BYTES,
    errors: ["lockNotAcquired", "overloaded", ...WRITE_ERRORS],
    async handle(call, input) {
      const name = nameOf(call, path);
      const { leaseId: lease, waitSeconds, keepPlace } = input.body;
      const given = "value" in input.body ? input.body.value : undefined;
      const value =
        given === undefined
          ? NO_VALUE
          : valueFrom({ parsed: given, names: ["value"], path: "value" }, input.raw, "json");
      const waitMs = Math.round(waitSeconds * 1000);
      const work = keyspaceOf(call, input).acquire({ name, lease, value, waitMs, keepPlace });
      const { key, fencingToken, header } = unwrapped(
        await writing(work, "keyspace", { ...writeIdOf(call), deadlineMs: waitMs + ACQUIRE_DEADLINE_MS }),
      );
      const data = { leaseId: lease, key: shownKey(key, "utf8"), fencingToken, revision: header.revision };
      return success(call, { message: words.taken, data });
    },
  });
  const look = configRoute({
    ...one,
    method: "get",
    summary: words.look,
    scope: "read-only",
    query: schemas.namespaceQuery,
    data: schemas.ownershipShape,
    errors: ["notFound"],
    async handle(call, input) {
      const found = await reading(ownershipOf(call, input, nameOf(call, path)), "keyspace");
      const { owner, waiting, header } = found;
      if (!owner) throw new PublicError("notFound", "nobody holds it", { revision: header.revision });
      const shown = { leaseId: owner.lease, key: shownKey(owner.key, "utf8"), fencingToken: owner.createRevision };
      const fields = JSON.stringify({ ...shown, waiting, revision: header.revision }).slice(0, -1);
      const value = isElection && owner.value.length > 0 ? [",", ...valuePieces(owner.value, "json")] : [];
      return successPieces(call, "found", [fields, ...value, "}"]);
    },
  });
  const leave = configRoute({
    ...one,
    method: "delete",
    summary: words.leave,
    scope: "read-write",
    query: schemas.releaseQuery,
    body: schemas.releaseBody,
    data: schemas.releasedShape,
    errors: ["notOwner", ...WRITE_ERRORS],
    async handle(call, input) {
      const { leaseId: lease = input.query.leaseId, fencingToken = input.query.fencingToken } = input.body;
      if (lease === undefined && fencingToken === undefined)
        throw invalidRequest([{ path: "fencingToken", message: "is required, or leaseId" }]);
      const work = keyspaceOf(call, input).release({ name: nameOf(call, path), lease, fencingToken });
      const { header } = unwrapped(await writing(work, "keyspace", writeIdOf(call)));
      return success(call, { message: words.left, data: { revision: header.revision } });
    },
  });
  return [take, look, leave];
}

const ELECTIONS = "/v1/config/elections";

const proclaim = configRoute({
  path: `${ELECTIONS}/{name}`,
  isRest: true,
  params: schemas.lockParams,
  method: "put",
  summary: "Change what the leader says; only the leader may",
  scope: "read-write",
  query: schemas.namespaceQuery,
  body: schemas.proclaimBody,
  data: schemas.releasedShape,
  maxBodyBytes: MAX_CONFIG_PUT_BYTES,
  errors: ["notOwner", ...WRITE_ERRORS],
  async handle(call, input) {
    const { leaseId: lease, fencingToken, value } = input.body;
    if (lease === undefined && fencingToken === undefined)
      throw invalidRequest([{ path: "fencingToken", message: "is required, or leaseId" }]);
    const said = valueFrom({ parsed: value, names: ["value"], path: "value" }, input.raw, "json");
    const work = keyspaceOf(call, input).release({
      name: nameOf(call, ELECTIONS),
      lease,
      fencingToken,
      proclaim: said,
    });
    const { header } = unwrapped(await writing(work, "keyspace", writeIdOf(call)));
    return success(call, { message: "proclaimed", data: { revision: header.revision } });
  },
});

export const configLockRoutes: readonly Route[] = [
  ...routesOf({
    path: "/v1/config/locks",
    words: {
      ...{ take: "Take a lock under a lease, standing in line for it if asked to", taken: "acquired" },
      ...{ look: "Show who holds a lock", leave: "Give a lock back; only its holder may", left: "released" },
    },
    isElection: false,
  }),
  ...routesOf({
    path: ELECTIONS,
    words: {
      ...{ take: "Stand for an election under a lease, waiting to lead if asked to", taken: "elected" },
      ...{ look: "Show who leads", leave: "Resign; only the leader may", left: "resigned" },
    },
    isElection: true,
  }),
  proclaim,
];
