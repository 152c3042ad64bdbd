// etcd's requests as those of a configuration keyspace, and its answers as etcd's. The one mapping for JSON and gRPC.
// Guarantees: what etcd refuses before it looks at its data is refused here, with its texts; pure.
import type {
  CompareResult,
  ConfigRequest,
  Compare as KeyspaceCompare,
  KeyValue as KeyspaceKeyValue,
  OperationAnswer,
  TxnOperation,
} from "../wire/config.ts";
import { SORT_TARGETS } from "../wire/config.ts";
import { GRPC, ownRefusal, refusal } from "./errors.ts";
import type {
  Compare,
  DeleteRangeRequest,
  KeyValue,
  PutRequest,
  RangeRequest,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "./messages.ts";

/** etcd's default. */
const MAX_TXN_OPERATIONS = 128;
const MAX_NESTING = 12;
const DESCEND = 2;
const NO_VALUE = new Uint8Array(0);
/** No revision, version or count gets there. */
const BEYOND_ALL = Number.MAX_SAFE_INTEGER;

function positive(value: number | undefined): number {
  return value !== undefined && value > 0 ? value : 0;
}

export function rangeOf(request: RangeRequest): Extract<ConfigRequest, { kind: "range" }> {
  const { key = "", rangeEnd = "", keysOnly, countOnly, sortTarget = 0, sortOrder = 0 } = request;
  if (key === "") throw refusal("emptyKey");
  const limit = positive(request.limit);
  const plain = {
    ...({ kind: "range", key, rangeEnd, limit, keysOnly, countOnly, withCount: true } as const),
    revision: positive(request.revision),
    sortTarget: SORT_TARGETS[sortTarget] ?? "key",
    descending: sortOrder === DESCEND,
  };
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  if (!minModRevision && !maxModRevision && !minCreateRevision && !maxCreateRevision) return plain;
  // A greatest revision below zero lets nothing through; a keyspace has no revision 0 of a key either.
  if ((maxModRevision ?? 0) < 0 || (maxCreateRevision ?? 0) < 0) return { ...plain, minModRevision: BEYOND_ALL };
  const least = { minModRevision: positive(minModRevision), minCreateRevision: positive(minCreateRevision) };
  return { ...plain, ...least, maxModRevision: maxModRevision ?? 0, maxCreateRevision: maxCreateRevision ?? 0 };
}

export function putOf(request: PutRequest): Extract<ConfigRequest, { kind: "put" }> {
  const { key = "", value = NO_VALUE, lease = "", prevKv, ignoreValue, ignoreLease } = request;
  if (key === "") throw refusal("emptyKey");
  if (ignoreValue && value.length > 0) throw refusal("valueProvided");
  if (ignoreLease && lease !== "") throw refusal("leaseProvided");
  return { kind: "put", key, value, lease, prevKv, ignoreValue, ignoreLease };
}

export function deleteRangeOf(request: DeleteRangeRequest): Extract<ConfigRequest, { kind: "deleteRange" }> {
  const { key = "", rangeEnd = "", prevKv } = request;
  if (key === "") throw refusal("emptyKey");
  return { kind: "deleteRange", key, rangeEnd, prevKv };
}

/** `room`: operations that may still be nested here. */
export function txnOf(
  request: TxnRequest,
  room = MAX_TXN_OPERATIONS,
  depth = 0,
): Extract<ConfigRequest, { kind: "txn" }> {
  const { compare = [], success = [], failure = [] } = request;
  const most = Math.max(compare.length, success.length, failure.length);
  if (most > room) throw refusal("tooManyOperations");
  if (depth > MAX_NESTING) throw ownRefusal(GRPC.invalidArgument, `transactions are nested deeper than ${MAX_NESTING}`);
  const compares = compare.map(compareOf);
  const inner = (operation: RequestOp): TxnOperation => operationOf(operation, room - most, depth + 1);
  return { kind: "txn", compare: compares, success: success.map(inner), failure: failure.map(inner) };
}

function operationOf(operation: RequestOp, room: number, depth: number): TxnOperation {
  if (operation.requestRange) return rangeOf(operation.requestRange);
  if (operation.requestPut) return putOf(operation.requestPut);
  if (operation.requestDeleteRange) return deleteRangeOf(operation.requestDeleteRange);
  if (operation.requestTxn) return txnOf(operation.requestTxn, room, depth);
  throw refusal("keyNotFound");
}

const RESULTS: readonly CompareResult[] = ["equal", "greater", "less", "notEqual"];

/** Holds for every key and for none; `exists`: for every key that exists. */
const ALWAYS = { target: "version", result: "less", operand: BEYOND_ALL } as const;
const EXISTS = { target: "version", result: "greater", operand: 0 } as const;
const NEVER = { target: "version", result: "greater", operand: BEYOND_ALL } as const;

function compareOf(compare: Compare): KeyspaceCompare {
  const { key = "", rangeEnd = "", target = 0, result: code = 0 } = compare;
  if (key === "") throw refusal("emptyKey");
  const range = { key, rangeEnd };
  const result = RESULTS[code];
  const isValue = target === 3;
  if (result === undefined) return { ...range, ...(isValue ? EXISTS : ALWAYS) };
  const operand = [compare.version, compare.createRevision, compare.modRevision, compare.value, compare.lease][target];
  // As in etcd: without the member that belongs to the target both sides count as equal.
  if (operand === undefined) {
    if (result !== "equal") return { ...range, ...NEVER };
    return { ...range, ...(isValue ? EXISTS : ALWAYS) };
  }
  if (typeof operand === "number" && operand < 0) {
    const holds = result === "greater" || result === "notEqual";
    return { ...range, ...(holds ? ALWAYS : NEVER) };
  }
  const name = (["version", "create", "mod", "value", "lease"] as const)[target]!;
  return { ...range, target: name, result, operand };
}

function shownKeyValue(kv: KeyspaceKeyValue): KeyValue {
  return kv;
}

/** The answer without its header. */
export function responseOf(answer: OperationAnswer, header: ResponseHeader, inner: ResponseHeader) {
  switch (answer.kind) {
    case "range":
      return { header, kvs: answer.kvs.map(shownKeyValue), more: answer.more, count: answer.count };
    case "put":
      return { header, prevKv: answer.prevKv };
    case "deleteRange":
      return { header, deleted: answer.deleted, prevKvs: answer.prevKvs };
    case "txn":
      return txnResponseOf(answer, header, inner);
    default:
      return answer satisfies never;
  }
}

/** `inner`: the header of operations in the transaction, which says the revision alone. */
export function txnResponseOf(
  answer: Extract<OperationAnswer, { kind: "txn" }>,
  header: ResponseHeader,
  inner: ResponseHeader,
): TxnResponse {
  const responses = answer.responses.map((response): ResponseOp => {
    switch (response.kind) {
      case "range":
        return { responseRange: responseOf(response, inner, inner) };
      case "put":
        return { responsePut: responseOf(response, inner, inner) };
      case "deleteRange":
        return { responseDeleteRange: responseOf(response, inner, inner) };
      case "txn":
        return { responseTxn: txnResponseOf(response, {}, inner) };
      default:
        return response satisfies never;
    }
  });
  return { header, succeeded: answer.succeeded, responses };
}
