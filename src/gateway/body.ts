// Request bodies: complete, bounded, valid UTF-8, JSON objects. Nothing else passes.
// Guarantees: the bytes given back are exactly those that JSON.parse accepted, so raw slices of them are safe to store.
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import { invalidRequest } from "./issues.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const JSON_TYPE = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?;?\s*$/i;
const EMPTY = new Uint8Array(0);

export interface JsonBody {
  readonly bytes: Uint8Array;
  readonly json: Record<string, unknown>;
}

function tooLarge(limitBytes: number, sizeBytes: number | undefined, what: string): PublicError {
  const size = sizeBytes === undefined ? `over ${limitBytes}` : String(sizeBytes);
  const message = `the ${what} has ${size} bytes, the limit is ${limitBytes}`;
  return new PublicError("payloadTooLarge", message, { limit: limitBytes, ...(sizeBytes ? { size: sizeBytes } : {}) });
}

async function readStream(
  stream: ReadableStream<Uint8Array>,
  { limitBytes, what, hold }: { limitBytes: number; what: string; hold: (bytes: number) => void },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > limitBytes) throw tooLarge(limitBytes, undefined, what);
    hold(chunk.length);
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** Throws `payloadTooLarge`, `overloaded`, or `malformedJson` when the client stopped in the middle. */
export async function readBytes(call: Call, limitBytes: number, what = "body"): Promise<Uint8Array> {
  const { request, services, held } = call;
  const declared = request.headers.get("content-length");
  if (declared === null && !request.body) return EMPTY;
  if (declared !== "0") requirePlainBody(request);
  if (declared !== null && Number(declared) > limitBytes) throw tooLarge(limitBytes, Number(declared), what);
  const hold = (bytes: number): void => services.load.hold(held, bytes);
  if (declared !== null) hold(Number(declared));
  try {
    if (declared !== null) return new Uint8Array(await request.arrayBuffer());
    return await readStream(request.body!, { limitBytes, what, hold });
  } catch (error) {
    if (error instanceof PublicError) throw error;
    throw new PublicError("malformedJson", "the body ended before its announced length");
  }
}

/** Bodies are taken as they are: a compressed one would be stored as its compressed bytes. */
export function requirePlainBody({ headers, body }: Pick<Request, "headers" | "body">): void {
  const encoding = headers.get("content-encoding");
  if (encoding === null || body === null || /^\s*(identity)?\s*$/i.test(encoding)) return;
  const shown = encoding.slice(0, 60);
  throw new PublicError(
    "unsupportedMediaType",
    `the body came with Content-Encoding ${shown}; send it uncompressed, without this header`,
    { contentEncoding: shown },
  );
}

export function requireJsonType(request: Request): void {
  const type = request.headers.get("content-type");
  if (type === "application/json" || (type !== null && JSON_TYPE.test(type))) return;
  const shown = type === null ? "no Content-Type" : `Content-Type ${type.slice(0, 60)}`;
  const hint = type?.startsWith("multipart/") ? ", with images in base64" : "";
  throw new PublicError("unsupportedMediaType", `the body came with ${shown}; send application/json in UTF-8${hint}`);
}

/** Throws `malformedJson` or, for JSON that is no object, `invalidRequest`. */
export function parseJsonObject(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.length === 0) throw new PublicError("malformedJson", "the body is empty");
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw new PublicError("malformedJson", "the body is not valid UTF-8");
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The engine's message quotes the text: it may hold a value.
    throw new PublicError("malformedJson", "the body is not complete, valid JSON");
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw invalidRequest([{ path: "", message: "the body must be a JSON object" }]);
}

/** snake_case names that the specification's example records use. */
const ALIASES: readonly (readonly [string, string])[] = [
  ["vector_clock", "vectorClock"],
  ["tenant_id", "tenantId"],
  ["replication_factor", "replicationFactor"],
  ["display_name", "displayName"],
  ["default_consistency", "defaultConsistency"],
  ["conflict_policy", "conflictPolicy"],
  ["expires_at", "expiresAt"],
  ["expires_in_seconds", "expiresInSeconds"],
  ["rate_limit", "rateLimit"],
  ["tokens_valid_after", "tokensValidAfter"],
];

/** Renames in place; where both spellings are given the strict schema refuses the second. */
export function acceptAliases(json: Record<string, unknown>): void {
  for (const [snake, camel] of ALIASES) {
    if (!Object.hasOwn(json, snake) || Object.hasOwn(json, camel)) continue;
    json[camel] = json[snake];
    delete json[snake];
  }
}

export async function readJsonBody(call: Call, limitBytes: number): Promise<JsonBody> {
  requireJsonType(call.request);
  const bytes = await readBytes(call, limitBytes);
  const json = parseJsonObject(bytes);
  acceptAliases(json);
  return { bytes, json };
}
