// Transactions of `client.config` as a session carries them, and their answers. The twin of the JSON in config-txn.ts.
import type { Compare, OperationAnswer, TxnOperation, TxnRequest } from "../wire/config.ts";
import { prefixRange } from "../wire/config-keys.ts";
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

function placeOf(at: ConfigKey | ConfigRange) {
  return isKey(at) ? { key: binaryOf(at), rangeEnd: "" } : (rangeOf(at) ?? prefixRange(""));
}

function compareOf({ at, field, sign, operand }: ConfigCompare): Compare {
  if (!Object.hasOwn(TARGETS, field)) throw invalid("compare.target", `is one of ${Object.keys(TARGETS).join(", ")}`);
  const target = TARGETS[field];
  const place = { ...placeOf(at), target, result: RESULTS[sign] };
  if (target === "value") return { ...place, operand: valueBytes(operand) };
  if (target === "lease") return { ...place, operand: String(operand ?? "") };
  return { ...place, operand: whole("compare.value", operand as number) ?? 0 };
}

function operationOf(one: ConfigOperation): TxnOperation {
  switch (one.op) {
    case "put": {
      const { leaseId, sequential, prevKv, ignoreLease } = one.fields;
      const put = { kind: "put", key: binaryOf(one.key), value: valueBytes(one.value) } as const;
      return { ...put, lease: leaseId, sequential, prevKv, ignoreLease };
    }
    case "get": {
      const revision = whole("revision", one.fields.revision);
      return { kind: "range", key: binaryOf(one.key), rangeEnd: "", keysOnly: one.fields.keysOnly, revision };
    }
    case "range":
      return rangeRequestOf(one.fields);
    case "delete":
      return { kind: "deleteRange", ...placeOf(one.at), prevKv: one.fields.prevKv };
    case "txn":
      return txnRequestOf(one.txn);
    default:
      return one satisfies never;
  }
}

export function txnRequestOf({ compare, success, failure }: TxnParts): TxnRequest {
  const request = {
    compare: compare.map(compareOf),
    success: success.map(operationOf),
    failure: failure.map(operationOf),
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
