// Random requests to a keyspace, and its answers in a form that can be compared with its reference's (src/config/keyspace.reference.ts).
import { checkOperation } from "../../../src/config/txn.ts";
import type { Compare, KeyRange, OperationAnswer, TxnOperation, TxnRequest } from "../../../src/wire/config.ts";
import { COMPARE_RESULTS, COMPARE_TARGETS, SORT_TARGETS } from "../../../src/wire/config.ts";
import { NO_END } from "../../../src/wire/config-keys.ts";
import { Random } from "../../simulation/random.ts";

const KEYS = ["a", "a/1", "a/2", "a/2/x", "b", "b\u00ff", "b\u00ff\u00ff", "c\u0000", "\u00ff"];
export const LEASES = ["11", "22", "9223372036854775807"];

export class Generator extends Random {
  upTo(count: number): number {
    return this.between(0, count - 1);
  }

  range(): KeyRange {
    const key = this.pick(KEYS);
    if (this.chance(0.4)) return { key, rangeEnd: "" };
    if (this.chance(0.2)) return { key: "\0", rangeEnd: NO_END };
    return { key, rangeEnd: this.pick([...KEYS, NO_END]) };
  }

  value(): Uint8Array {
    return new Uint8Array(this.upTo(4)).map(() => this.upTo(256));
  }

  operation(revision: number, depth = 0): TxnOperation {
    const kind = this.upTo(depth < 2 ? 10 : 8);
    if (kind < 3) return this.put();
    if (kind < 4) return { kind: "deleteRange", ...this.range(), prevKv: this.chance(0.5) };
    if (kind < 8) return this.read(revision);
    return this.txn(revision, depth);
  }

  put(): TxnOperation {
    const keep = this.chance(0.1);
    const sequential = !keep && this.chance(0.1);
    const lease = keep || this.chance(0.7) ? "" : this.pick(LEASES);
    const value = keep ? new Uint8Array(0) : this.value();
    const ignore = keep ? { ignoreValue: true, ignoreLease: this.chance(0.5) } : {};
    return { kind: "put", key: this.pick(KEYS), value, lease, prevKv: this.chance(0.5), sequential, ...ignore };
  }

  read(revision: number): TxnOperation {
    const bound = (): number => (this.chance(0.9) ? 0 : this.upTo(revision + 2));
    return {
      kind: "range",
      ...this.range(),
      limit: this.chance(0.5) ? 0 : this.upTo(5),
      revision: this.chance(0.5) ? 0 : this.upTo(revision + 2),
      sortTarget: this.chance(0.7) ? "key" : this.pick(SORT_TARGETS),
      descending: this.chance(0.3),
      keysOnly: this.chance(0.2),
      countOnly: this.chance(0.1),
      withCount: true,
      ...{ minModRevision: bound(), maxModRevision: bound(), minCreateRevision: bound(), maxCreateRevision: bound() },
    };
  }

  txn(revision: number, depth: number): TxnRequest {
    const branch = (): TxnOperation[] =>
      Array.from({ length: this.upTo(4) }, () => this.operation(revision, depth + 1));
    const compare = Array.from({ length: this.upTo(3) }, (): Compare => {
      const target = this.pick(COMPARE_TARGETS);
      const operand =
        target === "value" ? this.value() : target === "lease" ? this.pick([...LEASES, ""]) : this.upTo(revision + 1);
      const range = this.range();
      return {
        ...(this.chance(0.8) ? { ...range, rangeEnd: "" } : range),
        target,
        result: this.pick(COMPARE_RESULTS),
        operand,
      };
    });
    return { kind: "txn", compare, success: branch(), failure: branch() };
  }
}

/** Without what etcd leaves open: `count` of a single key that a filter hides. */
export function comparable(answer: OperationAnswer): unknown {
  if (answer.kind === "txn") return { succeeded: answer.succeeded, responses: answer.responses.map(comparable) };
  if (answer.kind !== "range") return plain({ ...answer, header: undefined });
  return plain({ kvs: answer.kvs, more: answer.more, count: answer.count });
}

export function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? [...part] : part)));
}

export function isRefusedAlways(operation: TxnOperation): boolean {
  try {
    checkOperation(operation);
    return false;
  } catch {
    return true;
  }
}
