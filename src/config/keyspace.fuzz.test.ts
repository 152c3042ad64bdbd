// The keyspace against its reference over random operations, with restarts, compactions and lease ends between any two.
// A failing run prints its seed: set JADE_CONFIG_SEED to run it alone.
import { describe, expect, it } from "vitest";
import { Random } from "../../test/simulation/random.ts";
import { openDesk } from "../../test/unit/config/open-desk.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { Compare, ConfigAnswer, KeyRange, OperationAnswer, TxnOperation, TxnRequest } from "../wire/config.ts";
import { COMPARE_RESULTS, COMPARE_TARGETS, SORT_TARGETS } from "../wire/config.ts";
import { readConfigAnswer } from "../wire/config-answers.ts";
import { NO_END } from "../wire/config-keys.ts";
import { readConfigCalls, writeConfigCall } from "../wire/config-requests.ts";
import { ReferenceKeyspace } from "./keyspace.reference.ts";
import { checkOperation } from "./txn.ts";

const SEEDS = Number(process.env["JADE_CONFIG_SEEDS"] ?? 40);
const OPERATIONS = 150;
const KEYS = ["a", "a/1", "a/2", "a/2/x", "b", "b\u00ff", "b\u00ff\u00ff", "c\u0000", "\u00ff"];
const LEASES = ["11", "22", "9223372036854775807"];

class Generator extends Random {
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
function comparable(answer: OperationAnswer): unknown {
  if (answer.kind === "txn") return { succeeded: answer.succeeded, responses: answer.responses.map(comparable) };
  if (answer.kind !== "range") return plain({ ...answer, header: undefined });
  return plain({ kvs: answer.kvs, more: answer.more, count: answer.count });
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? [...part] : part)));
}

function isRefusedAlways(operation: TxnOperation): boolean {
  try {
    checkOperation(operation);
    return false;
  } catch {
    return true;
  }
}

function runSeed(seed: number): void {
  const random = new Generator(seed);
  const batches = { pendingRows: random.pick([1, 7, 2000]), runRows: random.pick([1, 9, 2000]) };
  const opened = openDesk({ cacheBytes: random.chance(0.5) ? 600 : 1_000_000, batches });
  const reference = new ReferenceKeyspace();
  const send = (operation: TxnOperation): ConfigAnswer | { kind: "error"; code: string } => {
    const writer = new ByteWriter();
    writeConfigCall(writer, { id: 7, request: operation });
    const [call] = readConfigCalls(writer.take());
    const answer = readConfigAnswer(new ByteReader(opened.desk.run(call!)));
    opened.desk.endTurn();
    return answer;
  };
  for (let step = 0; step < OPERATIONS; step++) {
    if (random.chance(0.05)) opened.restart();
    if (random.chance(0.1)) {
      const lease = random.pick(LEASES);
      if (reference.leases.has(lease)) {
        opened.desk.answer({ kind: "leaseRevoke", lease });
        reference.endLease(lease);
      } else {
        opened.desk.answer({ kind: "leaseGrant", lease, ttlSeconds: 60 });
        reference.leases.add(lease);
      }
    }
    if (random.chance(0.05) && reference.revision > reference.compacted) {
      const revision = reference.compacted + 1 + random.upTo(reference.revision - reference.compacted);
      opened.desk.answer({ kind: "compact", revision });
      reference.compacted = revision;
    }
    if (opened.desk.mustCompact && random.chance(0.3)) opened.desk.compactStep();
    const operation = random.operation(reference.revision);
    const answer = send(operation);
    if (isRefusedAlways(operation)) {
      expect(answer.kind).toBe("error");
      continue;
    }
    const expected = reference.apply(operation);
    const place = `seed ${seed} step ${step} ${JSON.stringify(plain(operation))}`;
    if (typeof expected === "string") expect(answer, place).toMatchObject({ kind: "error", code: expected });
    else expect(comparable(answer as OperationAnswer), place).toEqual(comparable(expected));
    expect(opened.desk.keyspace.revision, place).toBe(reference.revision);
    expect(opened.desk.keyspace.keyCount, place).toBe(reference.living.size);
  }
}

describe("keyspace against its reference", () => {
  it("[CF-1][CF-2][CF-3][CF-4][CF-6][CF-8][CF-10][CF-12] random operations, restarts and compactions", () => {
    const only = process.env["JADE_CONFIG_SEED"];
    if (only !== undefined) runSeed(Number(only));
    else for (let seed = 1; seed <= SEEDS; seed++) runSeed(seed);
  });
});
