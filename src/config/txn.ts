// What makes a request acceptable before anything is written, and the compares of a transaction.
// Guarantees: a request that passes `checkOperation` can only fail for what is stored (a lease, a revision). Pure.
import type { BinaryKey, Compare, KeyRange, KeyValue, PutRequest, TxnOperation, TxnRequest } from "../wire/config.ts";
import { bytesOfKey, rangesOverlap } from "../wire/config-keys.ts";
import { ConfigRefusal, invalid } from "./failure.ts";
import { MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPERATIONS, MAX_VALUE_BYTES, SEQUENCE_DIGITS } from "./limits.ts";
import { compareBytes } from "./range.ts";
import type { Version } from "./version.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Throws a refusal for what is wrong whatever is stored. */
export function checkOperation(operation: TxnOperation): void {
  if (operation.kind === "txn") checkTxn(operation);
  else checkKeys(operation);
}

function checkKeys(operation: Exclude<TxnOperation, TxnRequest>): void {
  const suffix = operation.kind === "put" && operation.sequential ? SEQUENCE_DIGITS : 0;
  checkKey(operation.key, "key", MAX_KEY_BYTES - suffix);
  if (operation.kind === "put") {
    checkPut(operation);
    return;
  }
  // An end may be one byte longer than a key, or be made of the greatest one.
  if (operation.rangeEnd.length > MAX_KEY_BYTES + 1) {
    throw invalid("rangeEnd", `is ${operation.rangeEnd.length} bytes long; the limit is ${MAX_KEY_BYTES + 1}`);
  }
}

function checkKey(key: string, path: string, limit: number): void {
  if (key === "") throw invalid(path, "is empty");
  if (key.length > limit)
    throw invalid(path, `is ${key.length} bytes long; the limit is ${limit}`, { value: key.length, limit });
}

function checkPut(put: PutRequest): void {
  if (put.value.length > MAX_VALUE_BYTES) {
    const message = `value is ${put.value.length} bytes long; the limit is ${MAX_VALUE_BYTES}`;
    throw new ConfigRefusal("payloadTooLarge", message, { value: put.value.length, limit: MAX_VALUE_BYTES });
  }
  if (put.ignoreValue && put.value.length > 0) throw invalid("value", "must be empty with ignoreValue");
  if (put.ignoreLease && put.lease) throw invalid("leaseId", "must be absent with ignoreLease");
  if (put.sequential && (put.ignoreValue || put.ignoreLease))
    throw invalid("sequential", "makes a new key: there is no value or lease to keep");
}

function checkTxn(txn: TxnRequest): void {
  const size = sizeOf(txn);
  if (size.operations > MAX_TXN_OPERATIONS || size.compares > MAX_TXN_OPERATIONS) {
    const count = Math.max(size.operations, size.compares);
    const message = `a transaction has ${count} operations; the limit is ${MAX_TXN_OPERATIONS}`;
    throw new ConfigRefusal("tooManyOperations", message, { value: count, limit: MAX_TXN_OPERATIONS });
  }
  if (size.bytes > MAX_TXN_BYTES) {
    const message = `a transaction holds ${size.bytes} bytes; the limit is ${MAX_TXN_BYTES}`;
    throw new ConfigRefusal("payloadTooLarge", message, { value: size.bytes, limit: MAX_TXN_BYTES });
  }
  checkEach(txn);
  checkOverlaps(txn.success, "success");
  checkOverlaps(txn.failure, "failure");
}

function checkEach(txn: TxnRequest): void {
  for (const compare of txn.compare) {
    checkKey(compare.key, "compare.key", MAX_KEY_BYTES);
    if (compare.rangeEnd.length > MAX_KEY_BYTES + 1)
      throw invalid("compare.rangeEnd", `is ${compare.rangeEnd.length} bytes long; the limit is ${MAX_KEY_BYTES + 1}`);
  }
  for (const operation of [...txn.success, ...txn.failure]) {
    if (operation.kind === "txn") checkEach(operation);
    else checkKeys(operation);
  }
}

interface Size {
  operations: number;
  compares: number;
  bytes: number;
}

/** Only one branch happens: operations are those of the longer one, as etcd counts. Bytes are all that was sent. */
function sizeOf(txn: TxnRequest): Size {
  const [success, failure] = [branchSize(txn.success), branchSize(txn.failure)];
  let bytes = success.bytes + failure.bytes;
  for (const { key, operand } of txn.compare) bytes += key.length + (typeof operand === "number" ? 8 : operand.length);
  return {
    operations: Math.max(success.operations, failure.operations),
    compares: txn.compare.length + Math.max(success.compares, failure.compares),
    bytes,
  };
}

function branchSize(operations: readonly TxnOperation[]): Size {
  const size: Size = { operations: 0, compares: 0, bytes: 0 };
  for (const operation of operations) {
    if (operation.kind === "txn") {
      const inner = sizeOf(operation);
      size.operations += inner.operations;
      size.compares += inner.compares;
      size.bytes += inner.bytes;
      continue;
    }
    size.operations++;
    size.bytes +=
      operation.key.length + (operation.kind === "put" ? operation.value.length : operation.rangeEnd.length);
  }
  return size;
}

/** Where each stands: `success[3]`. */
interface Writes {
  readonly puts: Map<BinaryKey, string>;
  readonly deletes: Map<KeyRange, string>;
}

/**
 * As in etcd: no key may be written twice in one revision. Of an inner transaction only one branch happens, so each counts alone.
 * `path`: of the operations.
 */
function checkOverlaps(operations: readonly TxnOperation[], path: string): Writes {
  const writes: Writes = { puts: new Map(), deletes: new Map() };
  for (const [index, operation] of operations.entries())
    if (operation.kind === "deleteRange") writes.deletes.set(operation, `${path}[${index}]`);
  for (const [index, operation] of operations.entries()) {
    if (operation.kind !== "put") continue;
    const at = `${path}[${index}]`;
    refuseIfWritten(writes, operation.key, at);
    writes.puts.set(operation.key, at);
  }
  for (const [index, operation] of operations.entries()) {
    if (operation.kind !== "txn") continue;
    const inner = (["success", "failure"] as const).map((name) =>
      checkOverlaps(operation[name], `${path}[${index}].${name}`),
    );
    for (const { puts } of inner) for (const [key, at] of puts) refuseIfWritten(writes, key, at);
    for (const { deletes } of inner) {
      for (const [range, at] of deletes) {
        const put = [...writes.puts].find(([key]) => rangesOverlap({ key, rangeEnd: "" }, range));
        if (put) throw duplicate(put[0], put[1], at);
      }
    }
    for (const { puts, deletes } of inner) {
      for (const [key, at] of puts) writes.puts.set(key, at);
      for (const [range, at] of deletes) writes.deletes.set(range, at);
    }
  }
  return writes;
}

function refuseIfWritten({ puts, deletes }: Writes, key: BinaryKey, at: string): void {
  const put = puts.get(key);
  if (put !== undefined) throw duplicate(key, put, at);
  for (const [range, place] of deletes)
    if (rangesOverlap({ key, rangeEnd: "" }, range)) throw duplicate(key, place, at);
}

function duplicate(key: BinaryKey, ...operations: readonly [string, string]): ConfigRefusal {
  const shown = shownKey(key);
  const message = `${operations.join(" and ")} write the key ${JSON.stringify(shown.key)}: a transaction may write each key once`;
  return new ConfigRefusal("duplicateKey", message, { ...shown, operations });
}

/** As answers show it. */
function shownKey(key: BinaryKey): { readonly key: string; readonly keyEncoding?: "base64" } {
  try {
    return { key: decoder.decode(bytesOfKey(key)) };
  } catch {
    return { key: btoa(key), keyEncoding: "base64" }; // no UTF-8
  }
}

/** What compares read. */
export interface CompareSource {
  /** Living versions of a range. */
  each(range: KeyRange): readonly Version[];
  valueOf(version: Version): KeyValue;
}

export function compareHolds(source: CompareSource, compare: Compare): boolean {
  const versions = source.each(compare);
  if (versions.length === 0) {
    // etcd: a range without keys fails a value's compare, and compares as zero otherwise.
    return (
      compare.target !== "value" &&
      holds(compare, compareNumbers(0, compare.target === "lease" ? leaseOf(compare) : Number(compare.operand)))
    );
  }
  return versions.every((version) => holds(compare, orderOf(source, version, compare)));
}

function orderOf(source: CompareSource, version: Version, compare: Compare): number {
  switch (compare.target) {
    case "value":
      return compareBytes(source.valueOf(version).value, compare.operand as Uint8Array);
    case "lease":
      return compareNumbers(BigInt(version.lease || 0), leaseOf(compare));
    case "version":
      return compareNumbers(version.version, Number(compare.operand));
    case "create":
      return compareNumbers(version.createRevision, Number(compare.operand));
    case "mod":
      return compareNumbers(version.modRevision, Number(compare.operand));
    default:
      return compare.target satisfies never;
  }
}

function leaseOf({ operand }: Compare): bigint {
  return BigInt((operand as string) || 0);
}

function compareNumbers(a: number | bigint, b: number | bigint): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

function holds({ result }: Compare, order: number): boolean {
  switch (result) {
    case "equal":
      return order === 0;
    case "notEqual":
      return order !== 0;
    case "greater":
      return order > 0;
    case "less":
      return order < 0;
    default:
      return result satisfies never;
  }
}
