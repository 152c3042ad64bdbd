// Frames over tables that are not readable within a turn: loaded first, then applied whole.
import { describe, expect, it } from "vitest";
import { MemoryEngine } from "../../test/simulation/memory-engine.ts";
import { EMPTY_STATE, encodeState } from "../kv/key-state.ts";
import { stampWrite } from "../kv/stamp.ts";
import { CorruptBlock, NotResident, type RecordKey, type RowKey } from "../storage/types.ts";
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import { type ReplicaOp, type ReplicaResult, readResult, writeOp } from "./frames.ts";
import { encodeAnswer } from "./records.ts";
import { Replica, readAnswerHeader } from "./replica.ts";

const rowOf = (key: string): RowKey => ({ tenant: 7, key, token: { hi: 0, lo: 0 } });
const idOf = (n: number): Uint8Array => new Uint8Array(16).fill(n);

/** Tables far away: what was not prepared since the last swap cannot be read. */
class FarEngine extends MemoryEngine {
  readonly loaded = new Set<string>();
  readonly corrupt = new Set<string>();
  /** Called after each loading: a compaction that swaps tables meanwhile. */
  afterLoad: () => void = () => undefined;
  loadCount = 0;

  override prepare(rows: readonly RowKey[] = [], records: readonly RecordKey[] = []): undefined {
    this.loadCount++;
    for (const { key } of rows) this.loaded.add(key);
    for (const { writeId } of records) this.loaded.add(`record ${writeId[0]}`);
    this.afterLoad();
  }

  #require(name: string): void {
    if (this.corrupt.has(name)) throw new CorruptBlock(name, 0);
    if (!this.loaded.has(name)) throw new NotResident();
  }

  override get(row: RowKey): Uint8Array | undefined {
    this.#require(row.key);
    return super.get(row);
  }

  override put(row: RowKey, value: Uint8Array): void {
    // What a turn wrote is in memory.
    this.loaded.add(row.key);
    super.put(row, value);
  }

  override findRecord(tenant: number, writeId: Uint8Array): Uint8Array | undefined {
    this.#require(`record ${writeId[0]}`);
    return super.findRecord(tenant, writeId);
  }
}

function replicaOver(engine: FarEngine): { handle: (...ops: ReplicaOp[]) => Promise<ReplicaResult[]> } {
  let reserved = 0;
  const facts = {
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
  };
  const hints = { add: () => true };
  const replica = new Replica({
    engine,
    facts,
    hints,
    actor: 4097,
    now: () => 1000,
    timeOriginMs: 0,
    counterBlock: 16,
    mayWait: true,
  });
  return {
    handle: async (...ops) => {
      const writer = new ByteWriter();
      for (const op of ops) writeOp(writer, op);
      const reader = new ByteReader(await replica.handle(writer.take()));
      readAnswerHeader(reader);
      return ops.map(() => readResult(reader));
    },
  };
}

const stamp = (key: string, n: number): ReplicaOp => ({
  kind: "stamp",
  row: rowOf(key),
  writeId: idOf(n),
  value: idOf(n),
  clock: undefined,
  restamp: false,
  supersedeAll: false,
});

function shippedState(n: number): Uint8Array {
  const write = { writeId: idOf(n), value: idOf(n), clock: undefined, restamped: false };
  const result = stampWrite(EMPTY_STATE, write, { dot: { actor: 8193, counter: n }, time: n, isSettled: () => false });
  if (result.kind !== "stamped") throw new Error(result.kind);
  return encodeState(result.state);
}

describe("frames over tables far away", () => {
  it("[RP-32] everything that a frame reads is loaded before anything of it is applied", async () => {
    const engine = new FarEngine();
    const { handle } = replicaOver(engine);
    const results = await handle(
      stamp("a", 1),
      { kind: "merge", row: rowOf("b"), state: shippedState(2) },
      { kind: "get", row: rowOf("c") },
      { kind: "recall", row: rowOf("d"), writeId: idOf(3) },
      { kind: "vote", row: rowOf("e"), writeId: idOf(4), bodyHash: new Uint8Array(8) },
      { kind: "repair", row: rowOf("f"), state: shippedState(5) },
    );
    expect(results.map((result) => result.kind)).toEqual(["stamped", "done", "state", "recalled", "voted", "done"]);
    expect(engine.loadCount).toBe(1);
  });

  it("[RP-32] a table that is swapped while another is loaded is loaded again, and the frame is applied once", async () => {
    const engine = new FarEngine();
    const { handle } = replicaOver(engine);
    const swaps = ["a", "b", "record 1"];
    engine.afterLoad = () => engine.loaded.delete(swaps.shift() ?? "");
    let commits = 0;
    const commit = engine.commit.bind(engine);
    engine.commit = () => {
      commits++;
      expect(swaps).toEqual([]);
      commit();
    };
    const results = await handle(stamp("a", 1), stamp("b", 2));
    expect(results.map((result) => result.kind)).toEqual(["stamped", "stamped"]);
    expect([engine.loadCount, commits]).toEqual([4, 1]);
  });

  it("[RP-32] a frame whose tables never stay is given up whole: nothing of it is applied", async () => {
    const engine = new FarEngine();
    const { handle } = replicaOver(engine);
    engine.afterLoad = () => engine.loaded.delete("b");
    await expect(handle(stamp("a", 1), stamp("b", 2))).rejects.toThrow("did not stay resident");
    expect(engine.rows()).toEqual([]);
  });

  it("[RP-32] [RP-23] a corrupt block is no reason to wait: its operation is refused, the others are applied", async () => {
    const engine = new FarEngine();
    const { handle } = replicaOver(engine);
    engine.corrupt.add("a");
    const [refused, stamped] = await handle(stamp("a", 1), stamp("b", 2));
    expect(refused).toMatchObject({ kind: "refused", code: "corrupt" });
    expect(stamped!.kind).toBe("stamped");
  });

  it("[RP-32] a remembered write is found though its record lay far away", async () => {
    const engine = new FarEngine();
    const { handle } = replicaOver(engine);
    const clock = { vector: [{ actor: 4097, counter: 1 }], dots: [], time: 5 };
    engine.addRecord(7, idOf(1), encodeAnswer(0, clock));
    const [result] = await handle(stamp("a", 1));
    expect(result).toMatchObject({ kind: "stamped", repeated: true, answer: clock });
  });
});
