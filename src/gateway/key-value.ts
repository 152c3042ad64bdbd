// POST, GET, DELETE /v1/key-value: the hot path. Straight functions, no middleware; the schemas are those of the OpenAPI document.
// Guarantees: a value is stored as the exact bytes sent and answered as the exact bytes stored. Must not: parse a stored value.
import type { Settings } from "../cluster/settings.ts";
import { type Clock, clockFromMap, clockToMap, MalformedClock } from "../wire/clock.ts";
import { PublicError } from "../wire/error-codes.ts";
import { rawMember } from "../wire/raw-json.ts";
import type { SessionAnswer, SessionRequest } from "../wire/session.ts";
import { authenticate, requireScope } from "./access.ts";
import { successPieces, successText } from "./answers.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import { acceptAliases, parseJsonObject, readBytes, requireJsonType } from "./body.ts";
import { type Call, identifyWrite } from "./call.ts";
import { answerError, callCoordinator } from "./coordinator-call.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { BODY_OVERHEAD_BYTES, MAX_ADMIN_BODY_BYTES } from "./limits.ts";
import { parseQuery, requireNoQuery } from "./query.ts";
import type { KeyValueSchemas } from "./schemas-key-value.ts";
import { bodyHashOf, type WriteIdentity } from "./write-identity.ts";

export function checkedValue(value: Uint8Array, limits: Settings["limits"], path: string): Uint8Array {
  if (value.length <= limits.maxValueBytes) return value;
  const message = `${path} has ${value.length} bytes of JSON text, the limit is ${limits.maxValueBytes}`;
  throw new PublicError("payloadTooLarge", message, { path, size: value.length, limit: limits.maxValueBytes });
}

export function optionalClock(map: unknown): Clock | undefined {
  return map === undefined ? undefined : clockFromMap(map);
}

async function tenantOf(call: Call, scope: "read-only" | "read-write"): Promise<TenantPrincipal> {
  return requireScope(await authenticate(call), scope);
}

export async function putKeyValue(call: Call, schemas: KeyValueSchemas): Promise<Response> {
  const { limits } = call.services.settings;
  const principal = await tenantOf(call, "read-write");
  const identity = await identifyWrite(call, principal.tenantId);
  requireNoQuery(call.url.search);
  requireJsonType(call.request);
  const bytes = await readBytes(call, limits.maxValueBytes + BODY_OVERHEAD_BYTES);
  const json = parseJsonObject(bytes);
  acceptAliases(json);
  const body = parseWith(schemas.put, json);
  const slice = rawMember(bytes, "value");
  if (!slice) throw invalidRequest([{ path: "value", message: "is required" }]);
  const value = checkedValue(bytes.subarray(slice.start, slice.end), limits, "value");
  const request = { op: "put", key: body.key, value, clock: optionalClock(body.vectorClock) } as const;
  return write(call, principal, { ...request, consistency: body.consistency }, identity);
}

export async function deleteKeyValue(call: Call, schemas: KeyValueSchemas): Promise<Response> {
  const principal = await tenantOf(call, "read-write");
  const identity = await identifyWrite(call, principal.tenantId);
  const body = parseWith(schemas.delete, await deleteFields(call));
  const request = { op: "delete", key: body.key, clock: optionalClock(body.vectorClock) } as const;
  return write(call, principal, { ...request, consistency: body.consistency }, identity);
}

/** Query and body together; a field may come from one of them only. */
async function deleteFields(call: Call): Promise<Record<string, unknown>> {
  const query: Record<string, unknown> = parseQuery(call.url.search);
  acceptAliases(query);
  if (typeof query["vectorClock"] === "string") {
    try {
      query["vectorClock"] = JSON.parse(query["vectorClock"]);
    } catch {
      throw new MalformedClock("vectorClock in the query is not JSON");
    }
  }
  const bytes = await readBytes(call, MAX_ADMIN_BODY_BYTES + BODY_OVERHEAD_BYTES);
  if (bytes.length === 0) return query;
  requireJsonType(call.request);
  const json = parseJsonObject(bytes);
  acceptAliases(json);
  for (const name of Object.keys(query)) {
    if (Object.hasOwn(json, name))
      throw invalidRequest([{ path: name, message: "is given in the query and in the body" }]);
  }
  return { ...query, ...json };
}

async function write(
  call: Call,
  principal: TenantPrincipal,
  operation: Pick<SessionRequest, "key" | "value" | "clock" | "consistency"> & { readonly op: "put" | "delete" },
  { writeId, isRetry, isVoted }: WriteIdentity,
): Promise<Response> {
  const bodyHash = isVoted ? await bodyHashOf([operation]) : undefined;
  const [answer] = await callCoordinator(call, principal.caller, [{ ...operation, id: 0, writeId, isRetry, bodyHash }]);
  if (answer?.kind !== "written") throw answerError(requireFailure(answer), writeId);
  return successText(call, {
    message: operation.op === "put" ? "stored" : "deleted",
    data: `{"key":${JSON.stringify(operation.key)},"vectorClock":${JSON.stringify(clockToMap(answer.clock))}}`,
  });
}

/** Writes answer `written` or an error, reads `value`, `notFound` or an error. */
export function requireFailure(
  answer: SessionAnswer | undefined,
): Extract<SessionAnswer, { kind: "error" | "notFound" }> {
  if (answer?.kind === "error" || answer?.kind === "notFound") return answer;
  throw new Error(`the Coordinator answered ${answer?.kind}`);
}

export async function getKeyValue(call: Call, schemas: KeyValueSchemas): Promise<Response> {
  const principal = await tenantOf(call, "read-only");
  const { key, consistency } = parseWith(schemas.get, parseQuery(call.url.search));
  const [answer] = await callCoordinator(call, principal.caller, [{ id: 0, op: "get", key, consistency }]);
  if (answer?.kind !== "value") throw answerError(requireFailure(answer));
  return successPieces(call, "found", ["{", ...valuePieces(key, answer), "}"]);
}

/** `"key":…,"value":…,"vectorClock":…` and, of a conflict, its siblings; values as raw bytes. */
export function valuePieces(key: string, answer: Extract<SessionAnswer, { kind: "value" }>): (string | Uint8Array)[] {
  const clock = JSON.stringify(clockToMap(answer.clock));
  const pieces: (string | Uint8Array)[] = [
    `"key":${JSON.stringify(key)},"value":`,
    answer.value,
    `,"vectorClock":${clock}`,
  ];
  if (!answer.siblings) return pieces;
  pieces.push(',"conflict":true,"siblings":[');
  for (const [index, sibling] of answer.siblings.entries()) {
    if (index > 0) pieces.push(",");
    if (sibling.value) pieces.push('{"value":', sibling.value, ",");
    else pieces.push('{"deleted":true,');
    pieces.push(`"vectorClock":${JSON.stringify(clockToMap(sibling.clock))}}`);
  }
  pieces.push("]");
  return pieces;
}
