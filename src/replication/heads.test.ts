// Heads of states: what is kept of them, and that a replica does the same with them as without.
import { describe, expect, it } from "vitest";
import { seededWords } from "../../scripts/lib/seeded.mjs";
import { MemoryEngine } from "../../test/simulation/memory-engine.ts";
import { sameBytes } from "../kv/key-state.ts";
import { UsageMeter } from "../kv/usage.ts";
import type { RowKey } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { actorOf, type Clock } from "../wire/clock.ts";
import { type ReplicaOp, type ReplicaResult, readOps, readResult, writeOp } from "./frames.ts";
import { Heads } from "./heads.ts";
import { HEAD_SETS, HEAD_SLOT_BYTES } from "./limits.ts";
import { Replica, readAnswerHeader } from "./replica.ts";

/** A row as a frame brings it, with its key as bytes. */
function framed(row: RowKey): RowKey {
  const writer = new ByteWriter();
  writeOp(writer, { kind: "get", row });
  const [op] = readOps(writer.take());
  return (op as { row: RowKey }).row;
}

const rowOf = (number: number, key = `key-${number}`): RowKey => ({
  tenant: 7,
  key,
  token: { hi: Math.imul(number, 0x9e3779b1) >>> 0, lo: number },
});

/** Two replicas of one node: one keeps heads, the other's keys are not ASCII, so that it has none. */
class Twins {
  readonly #replicas: readonly Replica[];
  readonly #usages = [new UsageMeter(), new UsageMeter()];

  constructor(node: number, now: () => number) {
    this.#replicas = this.#usages.map((usage) => {
      let reserved = 0;
      return new Replica({
        engine: new MemoryEngine(),
        facts: {
          reservedCounter: () => reserved,
          reserveCounter: (upTo: number) => {
            reserved = upTo;
          },
          isErased: () => false,
          routeRevision: () => 0,
          isRebuilding: () => false,
          isFilling: () => false,
          isFilled: () => true,
          stampFloor: () => 0,
          purgeHorizon: () => 0,
        },
        hints: { add: () => true },
        actor: actorOf(node, 1),
        now,
        timeOriginMs: 0,
        counterBlock: 16,
        usage,
      });
    });
  }

  /** What both answer; throws where they differ. */
  handle(number: number, opOf: (row: RowKey) => ReplicaOp): ReplicaResult {
    const answers = this.#replicas.map((replica, index) => {
      const writer = new ByteWriter();
      writeOp(writer, opOf(rowOf(number, index === 0 ? `key-${number}` : `clé-${number}`)));
      return replica.handle(writer.take()) as Uint8Array;
    });
    const sums = this.#usages.map((usage) => usage.of(7).storedBytes);
    if (!sameBytes(answers[0]!, answers[1]!) || sums[0] !== sums[1])
      throw new Error(`with heads ${answers[0]} and ${sums[0]} bytes, without ${answers[1]} and ${sums[1]}`);
    const reader = new ByteReader(answers[0]!);
    readAnswerHeader(reader);
    return readResult(reader);
  }
}

describe("heads of states", () => {
  it("[RP-95] a replica answers and holds the same with heads as without, whatever is written, shipped, repeated and deleted", () => {
    let stampCount = 0;
    for (let seed = 1; seed <= 15; seed++) {
      const words = seededWords(seed);
      let nowMs = 1_000_000;
      const nodes = [1, 2, 3].map((node) => new Twins(node, () => nowMs));
      const clocks: Clock[] = [];
      const writeIds: Uint8Array[] = [];
      for (let step = 0; step < 150; step++) {
        nowMs += words() % 3;
        const number = words() % 3;
        const node = nodes[words() % 3]!;
        const isRepeated = writeIds.length > 0 && words() % 8 === 0;
        const writeId = isRepeated
          ? writeIds[words() % writeIds.length]!
          : Uint8Array.from({ length: 16 }, () => words() & 0xff);
        const clock = clocks.length > 0 && words() % 2 === 0 ? clocks[words() % clocks.length] : undefined;
        const value = words() % 6 === 0 ? undefined : new Uint8Array(words() % 40).fill(step);
        const supersedeAll = words() % 10 === 0;
        const stamped = node.handle(number, (row) => ({
          kind: "stamp",
          row,
          writeId,
          value,
          clock,
          restamp: false,
          supersedeAll,
        }));
        if (stamped.kind === "stamped") {
          clocks.push(stamped.answer);
          stampCount++;
        }
        writeIds.push(writeId);
        const held = node.handle(number, (row) => ({ kind: "get", row }));
        const other = nodes[words() % 3]!;
        if (words() % 4 > 0 && held.kind === "state" && held.state) {
          const { state } = held;
          const kind = words() % 9 === 0 ? "repair" : "merge";
          other.handle(number, (row) => ({ kind, row, state }));
        }
        if (words() % 5 === 0 && stamped.kind === "stamped" && stamped.counter > 0) {
          const { counter } = stamped;
          const actor = actorOf(nodes.indexOf(node) + 1, 1);
          node.handle(number, () => ({ kind: "settled", actor, counters: [counter] }));
        }
        for (const each of nodes) each.handle(number, (row) => ({ kind: "get", row }));
      }
    }
    expect(stampCount).toBe(15 * 150);
  });

  it("[RP-95] a head is of the state put last; one that finds no room, or whose key is told as a string, is forgotten", () => {
    const heads = new Heads();
    const row = framed(rowOf(1));
    heads.put(row, Uint8Array.of(1), false);
    expect(heads.find(row)).toBeUndefined();
    heads.put(row, Uint8Array.of(2), true);
    heads.put(row, Uint8Array.of(3), false);
    expect(heads.find(row)).toEqual(Uint8Array.of(3));
    const twin = framed(rowOf(1, "of the same token"));
    expect(heads.find(twin)).toBeUndefined();
    expect(heads.find(framed({ ...rowOf(1), tenant: 8 }))).toBeUndefined();
    heads.put(twin, Uint8Array.of(4), true);
    expect([heads.find(row), heads.find(twin)]).toEqual([Uint8Array.of(3), Uint8Array.of(4)]);
    heads.put(row, new Uint8Array(HEAD_SLOT_BYTES), true);
    expect(heads.find(row)).toBeUndefined();
    heads.put(row, Uint8Array.of(5), true);
    heads.forget(rowOf(1));
    expect(heads.find(row)).toBeUndefined();
  });

  it("[RP-96] new keys take the places of others, and of the key used last only when its set is gone through", () => {
    const heads = new Heads();
    const count = HEAD_SETS * 5;
    for (let number = 0; number < count; number++) heads.put(framed(rowOf(number)), Uint8Array.of(number & 0xff), true);
    let kept = 0;
    for (let number = 0; number < count; number++) {
      const head = heads.find(framed(rowOf(number)));
      if (head === undefined) continue;
      if (head[0] !== (number & 0xff)) throw new Error(`the head of ${number} is ${head}`);
      kept++;
    }
    expect(kept).toBeGreaterThan(HEAD_SETS * 2);
    expect(kept).toBeLessThanOrEqual(HEAD_SETS * 4);
  });
});
