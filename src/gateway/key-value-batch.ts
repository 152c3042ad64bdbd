// POST /v1/key-value/batch: many independent operations in one frame.
// Guarantees: the request is checked whole before anything is written; each operation has its own result; a reused
// Idempotency-Key with another body writes nothing. Must not: promise atomicity: operations succeed or fail each on its own.
import type { Settings } from "../cluster/settings.ts";
import { clockToMap } from "../wire/clock.ts";
import { ERROR_CODES, type PublicError } from "../wire/error-codes.ts";
import { rawItems, rawMember } from "../wire/raw-json.ts";
import type { Consistency, SessionAnswer, SessionRequest } from "../wire/session.ts";
import { admitMore, authenticate, requireScope } from "./access.ts";
import { apiHeaders, joinPieces, timestampOf } from "./answers.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import { acceptAliases, parseJsonObject, readBytes, requireJsonType } from "./body.ts";
import { type Call, identifyWrite } from "./call.ts";
import { answerError, callCoordinator } from "./coordinator-call.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { checkedValue, optionalClock, requireFailure, valuePieces } from "./key-value.ts";
import { requireNoQuery } from "./query.ts";
import type { KeyValueSchemas } from "./schemas-key-value.ts";
import { bodyHashOf, itemIdsOf, type WriteIdentity } from "./write-identity.ts";

type Operation = Omit<SessionRequest, "id" | "op"> & { readonly op: "put" | "get" | "delete" };

export async function batchKeyValue(call: Call, schemas: KeyValueSchemas): Promise<Response> {
  const { limits } = call.services.settings;
  const principal = requireScope(await authenticate(call), "read-only");
  const identity = await identifyWrite(call, principal.tenantId);
  requireNoQuery(call.url.search);
  requireJsonType(call.request);
  const bytes = await readBytes(call, limits.maxBatchBytes, "batch");
  const operations = readOperations(bytes, schemas, limits);
  await admitMore(call, principal, operations.length - 1);
  const isWrite = operations.some(({ op }) => op !== "get");
  if (isWrite) requireScope(principal, "read-write");
  const requests = await requestsOf(operations, identity);
  const answers = await send(call, principal, requests, identity);
  return batchAnswer(call, requests, answers, isWrite ? identity.writeId : undefined);
}

function readOperations(bytes: Uint8Array, schemas: KeyValueSchemas, limits: Settings["limits"]): Operation[] {
  const json = parseJsonObject(bytes);
  if (Array.isArray(json["operations"])) {
    for (const item of json["operations"]) if (typeof item === "object" && item !== null) acceptAliases(item);
  }
  const batch = parseWith(schemas.batch, json);
  const list = rawMember(bytes, "operations")!;
  const slices = rawItems(bytes, list.start);
  return batch.operations.map((item, index): Operation => {
    const { op, key } = item;
    const consistency: Consistency | undefined = item.consistency ?? batch.consistency;
    if (item.op === "get") return { op, key, consistency };
    const clock = optionalClock(item.vectorClock);
    if (item.op === "delete") return { op, key, consistency, clock };
    const slice = rawMember(bytes, "value", slices[index]!.start);
    const path = `operations[${index}].value`;
    if (!slice) throw invalidRequest([{ path, message: "is required" }]);
    const value = checkedValue(bytes.subarray(slice.start, slice.end), limits, path);
    return { op, key, consistency, clock, value };
  });
}

async function requestsOf(operations: readonly Operation[], identity: WriteIdentity): Promise<SessionRequest[]> {
  const ids = await itemIdsOf(identity.writeId, operations.length);
  // One hash over the whole batch: another body under the same key is refused at its first write.
  const bodyHash = identity.isVoted ? await bodyHashOf(operations) : undefined;
  return operations.map((operation, id) => {
    if (operation.op === "get") return { ...operation, id };
    return { ...operation, id, writeId: ids[id]!, isRetry: identity.isRetry, bodyHash };
  });
}

/** Under a user's own key the first write goes ahead alone: when its body lost the vote, no other write may follow. */
async function send(
  call: Call,
  { caller }: TenantPrincipal,
  requests: readonly SessionRequest[],
  identity: WriteIdentity,
): Promise<SessionAnswer[]> {
  const first = identity.isVoted ? requests.find((request) => request.writeId) : undefined;
  if (!first) return callCoordinator(call, caller, requests);
  const [vote] = await callCoordinator(call, caller, [{ ...first, id: 0 }]);
  if (vote?.kind === "error" && isVoteOpen(vote.code)) {
    throw answerError(vote, identity.writeId);
  }
  const rest = requests.filter((request) => request !== first);
  if (rest.length === 0) return [vote!];
  const others = await callCoordinator(
    call,
    caller,
    rest.map((request, id) => ({ ...request, id })),
  );
  const answers: SessionAnswer[] = [];
  let next = 0;
  for (const request of requests) answers.push(request === first ? vote! : others[next++]!);
  return answers;
}

/** Lost, or not known to be won by a majority: the whole batch is refused or to be repeated. */
function isVoteOpen(code: string): boolean {
  return (
    code === "idempotencyKeyReused" ||
    ["unknownOutcome", "quorumUnavailable", "unavailable", "overloaded"].includes(code)
  );
}

function batchAnswer(
  call: Call,
  requests: readonly SessionRequest[],
  answers: readonly SessionAnswer[],
  batchId: Uint8Array | undefined,
): Response {
  const pieces: (string | Uint8Array)[] = ['{"status":"success","message":"done","data":{"results":['];
  for (const [index, request] of requests.entries()) {
    pieces.push(`${index > 0 ? "," : ""}{"op":"${request.op}",`);
    pieces.push(...resultPieces(request, answers[index]!, batchId), "}");
  }
  pieces.push(`]},"timestamp":"${timestampOf(call)}"}`);
  return new Response(joinPieces(pieces), { headers: apiHeaders(call) });
}

function resultPieces(request: SessionRequest, answer: SessionAnswer, batchId: Uint8Array | undefined) {
  const key = JSON.stringify(request.key);
  if (answer.kind === "value") return ['"status":"success","httpStatus":200,', ...valuePieces(request.key, answer)];
  if (answer.kind === "written") {
    return [
      `"status":"success","httpStatus":200,"key":${key},"vectorClock":${JSON.stringify(clockToMap(answer.clock))}`,
    ];
  }
  // The id to retry with is the batch's: the items' ids follow from it.
  const error: PublicError = answerError(requireFailure(answer), batchId);
  const { status, category, retryable } = ERROR_CODES[error.code];
  const fields = { httpStatus: status, code: error.code, message: error.message, details: error.details ?? {} };
  return [`"status":"error","key":${key},${JSON.stringify({ ...fields, category, retryable }).slice(1, -1)}`];
}
