// PUT, GET, DELETE /v1/config/keys/<key>: one key, also under conditions.
// Guarantees: a conditional write is one transaction; when it does not hold nothing was written and the answer shows the key as it is.
import type {
  Compare,
  ConfigRequest,
  KeyValue,
  PutAnswer,
  PutRequest,
  RangeAnswer,
  TxnOperation,
} from "../wire/config.ts";
import { PublicError } from "../wire/error-codes.ts";
import { apiHeaders, errorPieces, successPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig, readConfig } from "./config-call.ts";
import { bytesOfText, keyFrom, requireOnce, valueFrom } from "./config-fields.ts";
import { BYTES_TYPE, CONFIG_WRITE_ERRORS, type ConfigInput, configRoute, isBytes } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { type Encodings, keyPiece, keyValuePieces, metaPiece, type Pieces, valuePieces } from "./config-shown.ts";
import { invalidRequest } from "./issues.ts";
import { MAX_CONFIG_PUT_BYTES } from "./limits.ts";
import type { Route } from "./route.ts";

const PATH = "/v1/config/keys";

/** Of the path, or of `?key=`. */
function keyOf(
  call: Call,
  query: { readonly key?: string | undefined; readonly keyEncoding: schemas.KeyEncoding },
): string {
  const rest = call.path.slice(PATH.length + 1);
  if (rest === "") {
    if (query.key === undefined) throw invalidRequest([{ path: "key", message: "is required" }]);
    return keyFrom(query.key, query.keyEncoding);
  }
  if (query.key !== undefined)
    throw invalidRequest([{ path: "key", message: "is given in the path and in the query" }]);
  let text: string;
  try {
    text = decodeURIComponent(rest);
  } catch {
    const message = "is not percent-encoded UTF-8; send keys of other bytes as base64 with keyEncoding=base64";
    throw invalidRequest([{ path: "key", message }]);
  }
  return keyFrom(text, query.keyEncoding);
}

interface Conditions {
  readonly ifAbsent?: boolean | undefined;
  readonly ifModRevision?: number | undefined;
  readonly ifVersion?: number | undefined;
}

function comparesOf(key: string, conditions: Conditions, ifValue: Uint8Array | undefined): Compare[] {
  const { ifAbsent, ifModRevision, ifVersion } = conditions;
  const one = { key, rangeEnd: "", result: "equal" } as const;
  const compares: Compare[] = [];
  if (ifAbsent !== undefined)
    compares.push({ ...one, result: ifAbsent ? "equal" : "notEqual", target: "create", operand: 0 });
  if (ifModRevision !== undefined) compares.push({ ...one, target: "mod", operand: ifModRevision });
  if (ifVersion !== undefined) compares.push({ ...one, target: "version", operand: ifVersion });
  if (ifValue !== undefined) compares.push({ ...one, target: "value", operand: ifValue });
  return compares;
}

type Applied<A> =
  | { readonly answer: A; readonly revision: number }
  | { readonly refused: KeyValue | undefined; readonly revision: number };

/** The write if all compares hold; else the key as it is. */
async function writeIf<A>(
  call: Call,
  input: Pick<ConfigInput<unknown, unknown>, "keyspace">,
  write: TxnOperation,
  compare: readonly Compare[],
): Promise<Applied<A>> {
  if (compare.length === 0) {
    const answer = await callConfig(call, input.keyspace, write as ConfigRequest);
    return { answer: answer as A, revision: answer.header.revision };
  }
  const read = { kind: "range", key: compare[0]!.key, rangeEnd: "" } as const;
  const txn = { kind: "txn", compare, success: [write], failure: [read] } as const;
  const answer = await callConfig(call, input.keyspace, txn);
  const { revision } = answer.header;
  const [response] = answer.responses;
  if (answer.succeeded) return { answer: response as A, revision };
  return { refused: (response as RangeAnswer).kvs[0], revision };
}

function refusal(
  call: Call,
  { refused, revision }: { refused: KeyValue | undefined; revision: number },
  encodings: Encodings,
): Response {
  const message = refused ? "the key is not as the request says it must be" : "there is no such key";
  const shown: Pieces = refused ? keyValuePieces(refused, encodings) : ["null"];
  const pieces = [`{"revision":${revision},"current":`, ...shown, "}"];
  return errorPieces(call, new PublicError("preconditionFailed", message), pieces);
}

type PutInput = ConfigInput<
  ReturnType<typeof schemas.putQuery.parse>,
  Partial<ReturnType<typeof schemas.putBody.parse>>
>;

function putOf(
  call: Call,
  input: PutInput,
  valueEncoding: schemas.ValueEncoding,
): { put: PutRequest; compare: Compare[] } {
  const { query, body, raw } = input;
  const key = keyOf(call, query);
  const options = { ...query, ...body };
  const { leaseId, sequential, prevKv, ignoreValue, ignoreLease } = options;
  let value: Uint8Array = new Uint8Array(0);
  if (isBytes(call.request)) value = raw.bytes;
  else if (body.value !== undefined || !ignoreValue)
    value = valueFrom({ parsed: body.value, names: ["value"], path: "value" }, raw, valueEncoding);
  let ifValue: Uint8Array | undefined;
  if (query.ifValue !== undefined) ifValue = bytesOfText(query.ifValue, valueEncoding, "ifValue");
  else if (body.ifValue !== undefined)
    ifValue = valueFrom({ parsed: body.ifValue, names: ["ifValue", "if_value"], path: "ifValue" }, raw, valueEncoding);
  const compare = comparesOf(key, options, ifValue);
  if (sequential && compare.length > 0)
    throw invalidRequest([{ path: "sequential", message: "makes a new key: no condition can be set on it" }]);
  const put = { kind: "put", key, value, lease: leaseId, sequential, prevKv, ignoreValue, ignoreLease } as const;
  return { put, compare };
}

async function putKey(call: Call, input: PutInput): Promise<Response> {
  const { query, body } = input;
  requireOnce(query, body);
  const valueEncoding = query.valueEncoding ?? body.valueEncoding ?? "json";
  const encodings = { keyEncoding: query.keyEncoding, valueEncoding };
  const { put, compare } = putOf(call, input, valueEncoding);
  const applied = await writeIf<PutAnswer>(call, input, put, compare);
  if ("refused" in applied) return refusal(call, applied, encodings);
  const { answer, revision } = applied;
  const { version, prevKv } = answer;
  const meta = metaPiece({ ...answer, modRevision: revision }, query.keyEncoding);
  const pieces: Pieces = [`{"revision":${revision},${meta}`];
  if (prevKv) pieces.push(',"prevKv":', ...keyValuePieces(prevKv, encodings));
  pieces.push("}");
  return successPieces(call, version === 1 ? "created" : "stored", pieces, version === 1 ? 201 : 200);
}

function noSuchKey(revision: number): PublicError {
  return new PublicError("notFound", "there is no such key", { revision });
}

async function getKey(
  call: Call,
  { query, keyspace }: ConfigInput<ReturnType<typeof schemas.getQuery.parse>, unknown>,
): Promise<Response> {
  const { keyEncoding, valueEncoding = "json", revision, keysOnly, maxStalenessMs, consistency } = query;
  requireSerializable(maxStalenessMs, consistency);
  const key = keyOf(call, query);
  const answer = await readConfig(call, keyspace, { kind: "range", key, rangeEnd: "", revision, keysOnly }, query);
  const read = revision ?? answer.header.revision;
  const [kv] = answer.kvs;
  if (!kv) throw noSuchKey(read);
  if (!keysOnly && call.request.headers.get("accept") === BYTES_TYPE) return bytesAnswer(call, kv, read);
  const pieces: Pieces = [`{"revision":${read},${metaPiece(kv, keyEncoding)}`];
  if (!keysOnly) pieces.push(",", ...valuePieces(kv.value, valueEncoding));
  pieces.push("}");
  return successPieces(call, "found", pieces);
}

/** The value's bytes as the body; the rest in headers. */
function bytesAnswer(call: Call, kv: KeyValue, revision: number): Response {
  const headers: Record<string, string> = {
    "jade-revision": String(revision),
    "jade-create-revision": String(kv.createRevision),
    "jade-mod-revision": String(kv.modRevision),
    "jade-version": String(kv.version),
  };
  if (kv.lease !== "") headers["jade-lease-id"] = kv.lease;
  return new Response(kv.value.slice(), { headers: apiHeaders(call, headers, BYTES_TYPE) });
}

export function requireSerializable(maxStalenessMs: number | undefined, consistency: string): void {
  if (maxStalenessMs === undefined || consistency === "serializable") return;
  throw invalidRequest([{ path: "maxStalenessMs", message: "has a meaning with consistency=serializable only" }]);
}

async function deleteKey(
  call: Call,
  input: ConfigInput<ReturnType<typeof schemas.deleteQuery.parse>, unknown>,
): Promise<Response> {
  const { query } = input;
  const { keyEncoding, valueEncoding = "json", prevKv } = query;
  const key = keyOf(call, query);
  const ifValue = query.ifValue === undefined ? undefined : bytesOfText(query.ifValue, valueEncoding, "ifValue");
  const encodings = { keyEncoding, valueEncoding };
  const write = { kind: "deleteRange", key, rangeEnd: "", prevKv } as const;
  const applied = await writeIf<{ deleted: number; prevKvs: readonly KeyValue[] }>(
    call,
    input,
    write,
    comparesOf(key, query, ifValue),
  );
  if ("refused" in applied) return refusal(call, applied, encodings);
  const { answer, revision } = applied;
  if (answer.deleted === 0) throw noSuchKey(revision);
  const pieces: Pieces = [`{${keyPiece(key, keyEncoding)},"deleted":1,"revision":${revision}`];
  const [previous] = answer.prevKvs;
  if (previous) pieces.push(',"prevKv":', ...keyValuePieces(previous, encodings));
  pieces.push("}");
  return successPieces(call, "deleted", pieces);
}

const put = {
  method: "put",
  summary:
    "Store a value under a key, also under conditions; 201 when the key is new. A body of application/octet-stream is the value itself",
  scope: "read-write",
  query: schemas.putQuery,
  body: schemas.putBody,
  maxBodyBytes: MAX_CONFIG_PUT_BYTES,
  takesBytes: true,
  data: schemas.putShape,
  otherSuccess: [201],
  errors: ["preconditionFailed", "keyNotFound", "leaseNotFound", ...CONFIG_WRITE_ERRORS],
  handle: putKey,
} as const;
const get = {
  method: "get",
  summary: "Read a key, now or at a past revision; Accept: application/octet-stream gives the value's bytes",
  scope: "read-only",
  query: schemas.getQuery,
  data: schemas.gotShape,
  errors: ["notFound", "compacted", "futureRevision"],
  handle: getKey,
} as const;
const del = {
  method: "delete",
  summary: "Delete a key, also under conditions",
  scope: "read-write",
  query: schemas.deleteQuery,
  data: schemas.deletedKeyShape,
  errors: ["notFound", "preconditionFailed", ...CONFIG_WRITE_ERRORS],
  handle: deleteKey,
} as const;

const inPath = { path: `${PATH}/{key}`, isRest: true, params: schemas.keyParams } as const;

export const configKeyRoutes: readonly Route[] = [
  configRoute({ ...put, ...inPath }),
  configRoute({ ...get, ...inPath }),
  configRoute({ ...del, ...inPath }),
  configRoute({ ...put, path: PATH }),
  configRoute({ ...get, path: PATH }),
  configRoute({ ...del, path: PATH }),
];
