// POST /v1/config/txn: compares, then one of two branches, all of it under one revision.
// Guarantees: the whole body is judged before anything is sent; values are exact slices of it; nesting is bounded.
import type { Compare, CompareTarget, OperationAnswer, TxnAnswer, TxnOperation, TxnRequest } from "../wire/config.ts";
import { isWriting } from "../wire/config-requests.ts";
import { PublicError } from "../wire/error-codes.ts";
import { rawItems, rawMember } from "../wire/raw-json.ts";
import { admitMore, requireScope } from "./access.ts";
import { successPieces } from "./answers.ts";
import type { Call } from "./call.ts";
import { callConfig } from "./config-call.ts";
import { camelNames, keyFrom, type RawObject, rangeFrom, valueFrom } from "./config-fields.ts";
import { rangePieces, rangeRequest } from "./config-range.ts";
import { CONFIG_WRITE_ERRORS, type ConfigInput, configRoute } from "./config-route.ts";
import * as schemas from "./config-schemas.ts";
import { type Encodings, keyPiece, keyValuePieces, listPieces, metaPiece, type Pieces } from "./config-shown.ts";
import { type Issue, invalidRequest, parseWith } from "./issues.ts";
import { MAX_CONFIG_TXN_BYTES, MAX_TXN_DEPTH } from "./limits.ts";
import type { Route } from "./route.ts";

const TARGETS: Readonly<Record<schemas.CompareBody["target"], CompareTarget>> = {
  version: "version",
  createRevision: "create",
  modRevision: "mod",
  value: "value",
  leaseId: "lease",
};

/** Where an object of the body stands: for its issues, and for its exact values. */
interface Place extends Encodings {
  readonly path: string;
  readonly raw: RawObject;
  readonly depth: number;
}

function issue(path: string, message: string, more: Partial<Issue> = {}): PublicError {
  return invalidRequest([{ path, message, ...more }]);
}

/** The objects of a list within an object. */
function placesOf(place: Place, list: string): readonly Place[] {
  const { bytes, start } = place.raw;
  const slice = rawMember(bytes, list, start);
  if (!slice) return [];
  const at = place.path === "" ? list : `${place.path}.${list}`;
  return rawItems(bytes, slice.start).map((item, index) => ({
    ...place,
    path: `${at}[${index}]`,
    raw: { bytes, start: item.start },
  }));
}

function compareOf(compare: schemas.CompareBody, place: Place): Compare {
  const { target, result, value } = compare;
  const range = rangeFrom(compare, place.keyEncoding, place.path);
  if (!range) throw issue(`${place.path}.key`, "is required, or prefix, start, end");
  const common = { key: range.key, rangeEnd: range.rangeEnd, target: TARGETS[target], result };
  const path = `${place.path}.value`;
  if (target === "value")
    return { ...common, operand: valueFrom({ parsed: value, names: ["value"], path }, place.raw, place.valueEncoding) };
  if (target === "leaseId") {
    const isLease = value === "" || schemas.leaseId.safeParse(value).success;
    if (!isLease) throw issue(path, "must be a lease's id as text, or empty");
    return { ...common, operand: value as string };
  }
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw issue(path, "must be a whole number from 0 on");
  return { ...common, operand: value as number };
}

function operationOf(operation: schemas.OperationBody, place: Place): TxnOperation {
  const { keyEncoding, path } = place;
  switch (operation.op) {
    case "put": {
      const { op: _, key, value, leaseId, ...options } = operation;
      const isEmpty = value === undefined && options.ignoreValue;
      const member = { parsed: value, names: ["value"], path: `${path}.value` };
      const bytes = isEmpty ? new Uint8Array(0) : valueFrom(member, place.raw, place.valueEncoding);
      return { kind: "put", key: keyFrom(key, keyEncoding, `${path}.key`), value: bytes, lease: leaseId, ...options };
    }
    case "get": {
      const { key, revision, keysOnly } = operation;
      return { kind: "range", key: keyFrom(key, keyEncoding, `${path}.key`), rangeEnd: "", revision, keysOnly };
    }
    case "range":
      return rangeRequest(operation, place, path);
    case "delete": {
      const range = rangeFrom(operation, keyEncoding, path);
      if (!range) throw issue(`${path}.key`, "is required, or prefix, start, end");
      return { kind: "deleteRange", key: range.key, rangeEnd: range.rangeEnd, prevKv: operation.prevKv };
    }
    case "txn": {
      const success = innerOf(operation.success, place, "success");
      const failure = innerOf(operation.failure, place, "failure");
      return txnOf({ compare: operation.compare, success, failure }, place);
    }
    default:
      return operation satisfies never;
  }
}

/** The schema leaves an inner transaction's operations to be judged here, so that nesting has its bound before it has a cost. */
function innerOf(items: readonly unknown[], { path, depth }: Place, branch: string): schemas.OperationBody[] {
  const at = `${path}.${branch}`;
  if (items.length > 0 && depth >= MAX_TXN_DEPTH)
    throw issue(at, `is nested deeper than ${MAX_TXN_DEPTH} transactions`, { limit: MAX_TXN_DEPTH });
  for (const item of items) namesOfOperation(item);
  try {
    return parseWith(schemas.innerOperations, { operations: items }).operations;
  } catch (error) {
    if (!(error instanceof PublicError)) throw error;
    const issues = (error.details?.["issues"] ?? []) as readonly Issue[];
    throw invalidRequest(issues.map((one) => ({ ...one, path: one.path.replace(/^operations/, at) })));
  }
}

function txnOf(body: schemas.TxnBody, place: Place): TxnRequest {
  const compares = placesOf(place, "compare");
  const branch = (name: "success" | "failure"): readonly TxnOperation[] => {
    const places = placesOf(place, name);
    return body[name].map((operation, index) => operationOf(operation, { ...places[index]!, depth: place.depth + 1 }));
  };
  return {
    kind: "txn",
    compare: body.compare.map((compare, index) => compareOf(compare, compares[index]!)),
    success: branch("success"),
    failure: branch("failure"),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** snake_case names of one operation and of its compares. */
function namesOfOperation(item: unknown): void {
  if (!isObject(item)) return;
  camelNames(item);
  if (Array.isArray(item["compare"])) for (const compare of item["compare"]) if (isObject(compare)) camelNames(compare);
}

function countOf({ compare, success, failure }: TxnRequest): number {
  let count = compare.length;
  for (const operation of [...success, ...failure]) count += operation.kind === "txn" ? countOf(operation) : 1;
  return count;
}

async function runTxn(
  call: Call,
  input: ConfigInput<ReturnType<typeof schemas.txnQuery.parse>, schemas.TxnBody>,
): Promise<Response> {
  const { query, body, raw, principal, keyspace } = input;
  const encodings = { keyEncoding: query.keyEncoding, valueEncoding: query.valueEncoding ?? "json" };
  const request = txnOf(body, { ...encodings, path: "", raw, depth: 0 });
  if (isWriting(request)) requireScope(principal, "read-write");
  await admitMore(call, principal, countOf(request) - 1);
  const answer = await callConfig(call, keyspace, request);
  const { revision } = answer.header;
  const responses = responsesOf(answer, request, { encodings, revision });
  const pieces = [`{"succeeded":${answer.succeeded},"revision":${revision},"responses":`, ...responses, "}"];
  return successPieces(call, "done", pieces);
}

interface Showing {
  readonly encodings: Encodings;
  readonly revision: number;
}

function responsesOf(answer: TxnAnswer, request: TxnRequest, showing: Showing): Pieces {
  const asked = answer.succeeded ? request.success : request.failure;
  const pairs = answer.responses.map((response, index) => ({ response, operation: asked[index]! }));
  return listPieces(pairs, ({ response, operation }) => responsePieces(response, operation, showing));
}

function responsePieces(response: OperationAnswer, operation: TxnOperation, showing: Showing): Pieces {
  const { encodings, revision } = showing;
  switch (response.kind) {
    case "put": {
      const meta = metaPiece({ ...response, modRevision: revision }, encodings.keyEncoding);
      const { prevKv } = response;
      return [`{"op":"put",${meta}`, ...(prevKv ? [',"prevKv":', ...keyValuePieces(prevKv, encodings)] : []), "}"];
    }
    case "range": {
      if (operation.kind !== "range") throw new Error("a range answers what was no range");
      if (operation.rangeEnd !== "") return ['{"op":"range",', ...rangePieces(response, operation, encodings), "}"];
      const [kv] = response.kvs;
      if (!kv) return [`{"op":"get",${keyPiece(operation.key, encodings.keyEncoding)},"found":false}`];
      const [head, ...rest] = keyValuePieces(kv, encodings, operation.keysOnly) as [string, ...Pieces];
      return [`{"op":"get","found":true,${head.slice(1)}`, ...rest];
    }
    case "deleteRange": {
      const { deleted, prevKvs } = response;
      if (prevKvs.length === 0) return [`{"op":"delete","deleted":${deleted}}`];
      const previous = listPieces(prevKvs, (kv) => keyValuePieces(kv, encodings));
      return [`{"op":"delete","deleted":${deleted},"prevKvs":`, ...previous, "}"];
    }
    case "txn": {
      if (operation.kind !== "txn") throw new Error("a transaction answers what was none");
      const responses = responsesOf(response, operation, showing);
      return [`{"op":"txn","succeeded":${response.succeeded},"responses":`, ...responses, "}"];
    }
    default:
      return response satisfies never;
  }
}

export const configTxnRoute: Route = configRoute({
  method: "post",
  path: "/v1/config/txn",
  summary:
    "Run a transaction: if all compares hold the operations of success, else those of failure, under one revision",
  scope: "read-only",
  query: schemas.txnQuery,
  body: schemas.txnBody,
  prepare: (json) => {
    for (const list of ["compare", "success", "failure"]) {
      if (Array.isArray(json[list])) for (const item of json[list]) namesOfOperation(item);
    }
  },
  maxBodyBytes: MAX_CONFIG_TXN_BYTES,
  data: schemas.txnShape,
  errors: [
    ...(["compacted", "futureRevision", "keyNotFound", "leaseNotFound", "duplicateKey", "tooManyOperations"] as const),
    ...CONFIG_WRITE_ERRORS,
  ],
  handle: runTxn,
});
