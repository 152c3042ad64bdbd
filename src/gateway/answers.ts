// The envelope of every answer (DESIGN 7), and the headers that go with it.
// Guarantees: an unknown error is answered as `internal` without its text, and logged whole; values are spliced in as raw bytes.
// Must not: parse or re-encode a value.
import { hexOf } from "../access/api-key.ts";
import { ERROR_CODES, type ErrorCode, PublicError } from "../wire/error-codes.ts";
import { VECTOR_TOKEN_HEADER } from "../wire/vector-token.ts";
import type { Call } from "./call.ts";
import { publicErrorOf } from "./errors.ts";

const encoder = new TextEncoder();
const RETRY_AFTER_SECONDS = 1;

type Extra = Readonly<Record<string, string>>;

/** Headers of every answer of the API. */
export function apiHeaders(call: Call, extra?: Extra, contentType = "application/json"): Record<string, string> {
  const headers: Record<string, string> = {
    "content-type": contentType,
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-request-id": call.requestId,
    traceparent: call.traceparent,
  };
  if (call.writeId) headers["jade-write-id"] = hexOf(call.writeId);
  const token = call.reading?.token;
  if (token) headers[VECTOR_TOKEN_HEADER] = token;
  if (call.url.protocol === "https:") headers["strict-transport-security"] = "max-age=31536000";
  return extra ? Object.assign(headers, extra) : headers;
}

let stamped = { ms: Number.NaN, text: "" };

export function timestampOf(call: Call): string {
  const ms = call.services.now();
  // Many answers share a turn, and a turn its millisecond.
  if (stamped.ms !== ms) stamped = { ms, text: new Date(ms).toISOString() };
  return stamped.text;
}

export interface Success {
  readonly message: string;
  readonly data: unknown;
  readonly status?: number;
}

export function success(call: Call, { message, data, status = 200 }: Success): Response {
  return successText(call, { message, data: JSON.stringify(data), status });
}

/** `data` is JSON text already. */
export function successText(call: Call, answer: Omit<Success, "data"> & { readonly data: string }): Response {
  const body = `{"status":"success","message":"${answer.message}","data":${answer.data},"timestamp":"${timestampOf(call)}"}`;
  return new Response(body, { status: answer.status ?? 200, headers: apiHeaders(call) });
}

/** `pieces` = text and raw bytes in turns that make up `data`. */
export function successPieces(
  call: Call,
  message: string,
  pieces: readonly (string | Uint8Array)[],
  status = 200,
): Response {
  const parts = [
    `{"status":"success","message":"${message}","data":`,
    ...pieces,
    `,"timestamp":"${timestampOf(call)}"}`,
  ];
  return new Response(joinPieces(parts), { status, headers: apiHeaders(call) });
}

export function joinPieces(pieces: readonly (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const encoded: Uint8Array[] = [];
  let text = "";
  let length = 0;
  const add = (bytes: Uint8Array): void => {
    encoded.push(bytes);
    length += bytes.length;
  };
  // The encoder is native: a call for each small text costs more than the text.
  for (const piece of pieces) {
    if (typeof piece === "string") {
      text += piece;
      continue;
    }
    add(encoder.encode(text));
    add(piece);
    text = "";
  }
  add(encoder.encode(text));
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const piece of encoded) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return bytes;
}

/** The answer's body and status for an error; `details` is always an object. */
export function errorBody(call: Call, error: PublicError): { readonly status: number; readonly text: string } {
  const { status, category, retryable } = ERROR_CODES[error.code];
  const text = JSON.stringify({
    status: "error",
    code: error.code,
    message: error.message,
    details: error.details ?? {},
    category,
    retryable,
    requestId: call.requestId,
    timestamp: timestampOf(call),
  });
  return { status, text };
}

/** An error whose `details` hold stored values, as raw bytes. */
export function errorPieces(call: Call, error: PublicError, details: readonly (string | Uint8Array)[]): Response {
  const { status, text } = errorBody(call, new PublicError(error.code, error.message));
  call.errorCode = error.code;
  // Quotes within the message are escaped: this is the member.
  const [head, tail] = text.split('"details":{}', 2) as [string, string];
  const body = joinPieces([head, '"details":', ...details, tail]);
  return new Response(body, { status, headers: apiHeaders(call) });
}

const WAITING_CODES: ReadonlySet<ErrorCode> = new Set([
  "rateLimited",
  "overloaded",
  "unavailable",
  "quorumUnavailable",
]);

/** Whole seconds: what the error says, else one. */
function retryAfter({ details }: PublicError): string {
  const seconds = details?.["retryAfterSeconds"];
  return String(typeof seconds === "number" ? seconds : RETRY_AFTER_SECONDS);
}

export function errorAnswer(call: Call, thrown: unknown, headers: Extra = {}): Response {
  const error = publicErrorOf(thrown);
  if (error.code === "internal") {
    const { route, requestId, traceId } = call;
    call.services.log.error("internal error", { route, method: call.request.method, requestId, traceId }, thrown);
  }
  call.errorCode = error.code;
  const { status, text } = errorBody(call, error);
  const extra: Record<string, string> = { ...headers };
  if (WAITING_CODES.has(error.code)) extra["retry-after"] = retryAfter(error);
  if (error.code === "unauthenticated") extra["www-authenticate"] = 'Bearer realm="jade"';
  const allow = error.details?.["allow"];
  if (error.code === "methodNotAllowed" && Array.isArray(allow)) extra["allow"] = allow.join(", ");
  if (error.code === "upgradeRequired") extra["upgrade"] = "websocket";
  return new Response(text, { status, headers: apiHeaders(call, extra) });
}
