// Transactions of `client.config` as a session carries them, and their answers. The twin of the JSON in config-txn.ts.
import type { Compare, KeyRange, OperationAnswer, TxnOperation, TxnRequest } from "../wire/config.ts";
import { requireKnown } from "./config-known.ts";
import type { ConfigCompare, ConfigOperation, ConfigOperationResult, TxnParts } from "./config-txn.ts";
import type { ConfigKey, ConfigRange } from "./config-types.ts";
import {
  binaryOf,
  entryOfKv,
  invalid,
  metaOfKv,
  rangeOf,
  rangeRequestOf,
  shownKey,
  valueBytes,
  whole,
} from "./config-wire.ts";

const TARGETS = {
  version: "version",
  createRevision: "create",
  modRevision: "mod",
  value: "value",
  leaseId: "lease",
} as const;
const RESULTS = { "=": "equal", "!=": "notEqual", ">": "greater", "<": "less" } as const;

const isKey = (at: ConfigKey | ConfigRange): at is ConfigKey => typeof at === "string" || at instanceof Uint8Array;

/** `path`: where the fields stand, for the errors. A range that says nothing is no range: it could delete everything. */
function placeOf(at: ConfigKey | ConfigRange, path: string): KeyRange {
  if (isKey(at)) return { key: binaryOf(at), rangeEnd: "" };
  requireKnown(at, "place", path);
  const range = rangeOf(at);
  if (!range) throw invalid(`${path}.key`, "is required, or prefix, start, end");
  return range;
}

function compareOf({ at, field, sign, operand }: ConfigCompare, path: string): Compare {
  if (!Object.hasOwn(TARGETS, field))
    throw invalid(`${path}.target`, `must be one of ${Object.keys(TARGETS).join(", ")}`);
  const target = TARGETS[field];
  const place = { ...placeOf(at, path), target, result: RESULTS[sign] };
  if (target === "value") return { ...place, operand: valueBytes(operand) };
  if (target === "lease") return { ...place, operand: String(operand ?? "") };
  return { ...place, operand: whole(`${path}.value`, operand as number) ?? 0 };
}

function operationOf(one: ConfigOperation, path: string): TxnOperation {
  switch (one.op) {
    case "put": {
      requireKnown(one.fields, "txnPut", path);
      const { leaseId, sequential, prevKv, ignoreLease } = one.fields;
      const put = { kind: "put", key: binaryOf(one.key), value: valueBytes(one.value) } as const;
      return { ...put, lease: leaseId, sequential, prevKv, ignoreLease };
    }
    case "get": {
      requireKnown(one.fields, "txnGet", path);
      const revision = whole(`${path}.revision`, one.fields.revision);
      return { kind: "range", key: binaryOf(one.key), rangeEnd: "", keysOnly: one.fields.keysOnly, revision };
    }
    case "range":
      requireKnown(one.fields, "txnRange", path);
      return rangeRequestOf(one.fields);
    case "delete":
      requireKnown(one.fields, "txnDelete", path);
      return { kind: "deleteRange", ...placeOf(one.at, path), prevKv: one.fields.prevKv };
    case "txn":
      return txnRequestOf(one.txn, `${path}.`);
    default:
      return one satisfies never;
  }
}

/** `at`: before the names of its lists, for the errors. */
export function txnRequestOf({ compare, success, failure }: TxnParts, at = ""): TxnRequest {
  const request = {
    compare: compare.map((one, index) => compareOf(one, `${at}compare[${index}]`)),
    success: success.map((one, index) => operationOf(one, `${at}success[${index}]`)),
    failure: failure.map((one, index) => operationOf(one, `${at}failure[${index}]`)),
  };
  return { kind: "txn", ...request };
}

/** `operations`: of the branch that was taken. */
export function resultsOf(
  operations: readonly TxnOperation[],
  answers: readonly OperationAnswer[],
  revision: number,
): readonly ConfigOperationResult[] {
  return answers.map((answer, index) => resultOf(operations[index]!, answer, revision));
}

function resultOf(operation: TxnOperation, answer: OperationAnswer, revision: number): ConfigOperationResult {
  switch (answer.kind) {
    case "put": {
      const { prevKv, ...meta } = answer;
      const shown = { op: "put", ...metaOfKv({ ...meta, modRevision: revision }) } as const;
      return prevKv ? { ...shown, prevKv: entryOfKv(prevKv, "json") } : shown;
    }
    case "deleteRange": {
      const { deleted, prevKvs } = answer;
      if (prevKvs.length === 0) return { op: "delete", deleted };
      return { op: "delete", deleted, prevKvs: prevKvs.map((kv) => entryOfKv(kv, "json")) };
    }
    case "txn": {
      const { success, failure } = operation as TxnRequest;
      const responses = resultsOf(answer.succeeded ? success : failure, answer.responses, revision);
      return { op: "txn", succeeded: answer.succeeded, responses };
    }
    case "range": {
      const range = operation as Extract<TxnOperation, { kind: "range" }>;
      const items = answer.kvs.map((kv) => entryOfKv(kv, "json", range.keysOnly));
      // As it was asked for: `get` has no order.
      if (range.rangeEnd === "" && range.sortTarget === undefined)
        return items[0]
          ? { op: "get", found: true, ...items[0] }
          : { op: "get", found: false, key: shownKey(range.key) };
      const hasCount = range.countOnly || range.withCount || !answer.more;
      return { op: "range", items, more: answer.more, ...(hasCount ? { count: answer.count } : {}) };
    }
    default:
      return answer satisfies never;
  }
}
