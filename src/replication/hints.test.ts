// Hints in SQLite, and their delivery.
import { describe, expect, it } from "vitest";
import { REPLICA_MIGRATIONS } from "../../migrations/replica.ts";
import { NodeSql } from "../../test/unit/storage/node-sql.ts";
import { referenceKernels } from "../storage/kernels.reference.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { type ReplicaResult, readOps, writeResult } from "./frames.ts";
import { HintDelivery } from "./hint-delivery.ts";
import { HintLog } from "./hint-log.ts";
import {
  HINT_DELIVERY_BYTES,
  HINT_RETRY_MAX_MS,
  HINT_RETRY_MIN_MS,
  MAX_HINT_BYTES_PER_TARGET,
  MAX_HINTS_PER_TARGET,
  PEER_FRAME_LIFE_MS,
} from "./limits.ts";

const TTL_MS = 10_000;
const MIB = 1024 * 1024;
const row = (key: string, tenant = 1, hi = 0x12345678) => ({ tenant, token: { hi, lo: 0 }, key });
const state = (n: number, bytes = 10): Uint8Array => new Uint8Array(bytes).fill(n);

class Bench {
  readonly sql = new NodeSql();
  nowMs = 1000;
  log: HintLog;

  constructor() {
    for (const statements of REPLICA_MIGRATIONS) this.sql.database.exec(statements);
    this.log = this.#open();
  }

  #open(): HintLog {
    return new HintLog({ sql: this.sql, now: () => this.nowMs, ttlMs: TTL_MS, kernels: referenceKernels });
  }

  restart(): void {
    this.sql.endTurn();
    this.log = this.#open();
  }

  /** The keys of the next frame. */
  keys(target: string): string[] {
    const batch = this.log.next(target);
    return batch ? readOps(batch.frame).map((op) => (op.kind === "merge" ? op.row.key : op.kind)) : [];
  }
}

describe("hint log", () => {
  it("[RP-21] keeps hints of each target in order, over a restart too", () => {
    const bench = new Bench();
    for (const [i, target] of ["n1", "n2", "n1", "n1"].entries()) bench.log.add(target, row(`k${i}`), state(i));
    bench.restart();
    bench.log.add("n1", row("k4"), state(4));
    expect(bench.keys("n1")).toEqual(["k0", "k2", "k3", "k4"]);
    expect(bench.keys("n2")).toEqual(["k1"]);
    expect(bench.log.targets().sort()).toEqual(["n1", "n2"]);
    expect(bench.log.pendingCount()).toBe(5);
    expect(bench.log.pendingCount("n1")).toBe(4);
  });

  it("[RP-21] drops up to what was acknowledged, and nothing that came meanwhile", () => {
    const bench = new Bench();
    bench.log.add("n1", row("a"), state(1));
    bench.log.add("n1", row("b"), state(2));
    const { lastId } = bench.log.next("n1")!;
    bench.log.add("n1", row("c"), state(3));
    bench.log.drop("n1", lastId);
    expect(bench.keys("n1")).toEqual(["c"]);
    expect(bench.log.pendingCount("n1")).toBe(1);
  });

  it("a state above 1 MiB is split into rows below the platform's cap and comes back whole", () => {
    const bench = new Bench();
    const big = Uint8Array.from({ length: 3 * MIB + 17 }, (_, i) => i % 251);
    bench.log.add("n1", row("big"), big);
    bench.log.add("n1", row("small"), state(1));
    const pieces = [...bench.sql.exec<{ size: number }>("SELECT LENGTH(piece) AS size FROM hints")];
    expect(Math.max(...pieces.map(({ size }) => size))).toBe(MIB);
    expect(pieces.length).toBe(5);
    bench.restart();
    const ops = readOps(bench.log.next("n1")!.frame);
    expect(ops.length).toBe(1);
    expect(ops[0]!.kind === "merge" && Buffer.compare(ops[0]!.state, big)).toBe(0);
  });

  it("[RP-21] a hint of many pieces behind thousands of small ones is not cut", () => {
    const bench = new Bench();
    for (let i = 0; i < 4095; i++) bench.log.add("n1", row("k"), state(1, 1));
    bench.log.add("n1", row("big"), state(7, 2 * MIB));
    bench.log.add("n1", row("last"), state(1));
    const keys: string[] = [];
    for (let batch = bench.log.next("n1"); batch; batch = bench.log.next("n1")) {
      const ops = readOps(batch.frame);
      expect(ops.length).toBe(batch.hintCount);
      keys.push(...ops.map((op) => (op.kind === "merge" ? op.row.key : "")));
      bench.log.drop("n1", batch.lastId);
    }
    expect(keys.length).toBe(4097);
    expect(keys.slice(-2)).toEqual(["big", "last"]);
    expect(bench.log.targets()).toEqual([]);
  });

  it("a frame holds about the delivery bound", () => {
    const bench = new Bench();
    for (let i = 0; i < 30; i++) bench.log.add("n1", row("k"), state(i, 100_000));
    const batch = bench.log.next("n1")!;
    expect(batch.frame.length).toBeGreaterThanOrEqual(HINT_DELIVERY_BYTES);
    expect(batch.frame.length).toBeLessThan(HINT_DELIVERY_BYTES + 101_000);
  });

  it("[RP-19] beyond the bytes of a target a hint is refused and its range marked dirty; other targets go on", () => {
    const bench = new Bench();
    const accepted = Array.from({ length: 20 }, () => bench.log.add("n1", row("k"), state(1, 4 * MIB))).filter(
      Boolean,
    ).length;
    expect(accepted).toBe(Math.floor(MAX_HINT_BYTES_PER_TARGET / (4 * MIB + 100)));
    expect(bench.log.overflowCount).toBe(20 - accepted);
    expect(bench.log.dirtyRanges()).toEqual([{ target: "n1", range: 0x12 }]);
    expect(bench.log.add("n2", row("k"), state(1))).toBe(true);
    bench.restart();
    expect(bench.log.add("n1", row("k"), state(1, 4 * MIB))).toBe(false);
  });

  it("[RP-19] beyond the count of a target too", () => {
    const bench = new Bench();
    bench.sql.database.exec(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MAX_HINTS_PER_TARGET})
       INSERT INTO hints (id, part, target, tenant, token_hi, created_ms, piece) SELECT i, 0, 'n1', 1, 0, 1000, x'00' FROM n`,
    );
    bench.restart();
    expect(bench.log.add("n1", row("k"), state(1))).toBe(false);
    expect(bench.log.add("n2", row("k"), state(1))).toBe(true);
  });

  it("[RP-20] what outlives its time is dropped, counted, and its range marked dirty", () => {
    const bench = new Bench();
    bench.log.add("n1", row("a", 1, 0xab000000), state(1));
    bench.nowMs += TTL_MS;
    bench.log.add("n1", row("b", 1, 0xcd000000), state(2));
    expect(bench.log.expire()).toBe(0);
    bench.nowMs += 1;
    expect(bench.log.expire()).toBe(1);
    expect(bench.log.expiredCount).toBe(1);
    expect(bench.keys("n1")).toEqual(["b"]);
    expect(bench.log.dirtyRanges()).toEqual([{ target: "n1", range: 0xab }]);
  });

  it("[RP-22] the hints of an erased tenant are gone, those of others stay", () => {
    const bench = new Bench();
    bench.log.add("n1", row("a", 1), state(1));
    bench.log.add("n1", row("b", 2), state(2));
    bench.log.eraseTenant(1);
    expect(bench.keys("n1")).toEqual(["b"]);
    expect(bench.log.pendingCount()).toBe(1);
  });

  it("[RP-63] a hint of which any stored byte changed is dropped, counted, and everything is to be repaired; the others go out", () => {
    const bench = new Bench();
    const fill = () => {
      for (const key of ["a", "b", "c"]) bench.log.add("n1", row(key), state(1));
      bench.sql.endTurn();
    };
    fill();
    const [held] = [...bench.sql.exec<{ piece: ArrayBuffer }>("SELECT piece FROM hints WHERE id = 2")];
    const bytes = new Uint8Array(held!.piece);
    const changes: [string, number | string | Uint8Array][] = [
      ["tenant", 2],
      ["token_hi", 7],
      ["created_ms", 999],
      ["crc", 5],
      ["part", 3],
      ["id", 9],
      ["target", "n2"],
      ["piece", bytes.slice(1)],
    ];
    for (let at = 0; at < bytes.length; at++) {
      changes.push(["piece", bytes.map((byte, i) => (i === at ? byte ^ (1 << (at & 7)) : byte))]);
    }
    for (const [i, [column, value]] of changes.entries()) {
      bench.sql.exec("DELETE FROM hints");
      bench.sql.exec("DELETE FROM dirty_ranges");
      bench.restart();
      fill();
      bench.sql.database.prepare(`UPDATE hints SET ${column} = ? WHERE id = 2`).run(value);
      bench.restart();
      expect(bench.keys("n1"), `${column}, change ${i}`).toEqual(["a", "c"]);
      expect(bench.keys("n2"), `${column}, change ${i}`).toEqual([]);
      expect(bench.log.corruptCount).toBe(1);
      expect(bench.log.dirtyRanges().filter(({ target }) => target === "n1").length).toBe(256);
      expect(bench.log.pendingCount()).toBe(2);
    }
  });

  it("a hint of before the checksum is delivered", () => {
    const bench = new Bench();
    bench.log.add("n1", row("a"), state(1));
    bench.sql.exec("UPDATE hints SET crc = NULL");
    expect(bench.keys("n1")).toEqual(["a"]);
    expect(bench.log.corruptCount).toBe(0);
  });

  it("[RP-13] a hint of a turn that did not commit never was", () => {
    const bench = new Bench();
    bench.log.add("n1", row("a"), state(1));
    bench.sql.endTurn();
    bench.log.add("n1", row("b"), state(2));
    bench.sql.crash();
    bench.restart();
    expect(bench.keys("n1")).toEqual(["a"]);
  });
});

describe("hint delivery", () => {
  type Answer = ReplicaResult | "cut" | "away";

  const TARGET_MS = 77_000;

  function deliver(
    bench: Bench,
    answerOf: (key: string) => Answer,
  ): { delivery: HintDelivery; offered: string[][]; deadlines: number[][] } {
    const offered: string[][] = [];
    const deadlines: number[][] = [];
    const call = async (target: string, frame: Uint8Array): Promise<Uint8Array> => {
      const ops = readOps(frame);
      const keys = ops.flatMap((op) => (op.kind === "merge" ? [op.row.key] : []));
      deadlines.push(ops.flatMap((op) => (op.kind === "deadline" ? [op.atMs] : [])));
      // The question for its clock is answered by whoever is there.
      if (keys.length > 0) offered.push([target, ...keys]);
      const writer = new ByteWriter(64);
      for (const field of [1, 1, TARGET_MS]) writer.varint(field);
      for (const key of keys) {
        const answer = answerOf(key);
        if (answer === "away") throw new Error("away");
        if (answer !== "cut") writeResult(writer, answer);
      }
      return writer.take();
    };
    return { delivery: new HintDelivery({ log: bench.log, call, now: () => bench.nowMs }), offered, deadlines };
  }

  it("[RP-74] every frame of hints has a deadline in the target's own time", async () => {
    const bench = new Bench();
    bench.log.add("n1", row("a"), state(1));
    const { delivery, offered, deadlines } = deliver(bench, () => ({ kind: "done" }));
    await delivery.run();
    expect(offered).toEqual([["n1", "a"]]);
    expect(deadlines).toEqual([[0], [TARGET_MS + PEER_FRAME_LIFE_MS]]);
  });

  it("[RP-73] hints are told from later ones, over a restart too", () => {
    const bench = new Bench();
    expect(bench.log.span()).toEqual({ first: null, last: 0 });
    for (const key of ["a", "b"]) bench.log.add("n1", row(key), state(1));
    bench.restart();
    const { last } = bench.log.span();
    bench.log.add("n2", row("c"), state(1));
    bench.log.drop("n1", last);
    expect(bench.log.span().first).toBeGreaterThan(last);
  });

  it("[RP-21] what a target acknowledged, or of an erased tenant, is dropped", async () => {
    const bench = new Bench();
    for (const key of ["a", "gone", "b"]) bench.log.add("n1", row(key), state(1));
    const { delivery } = deliver(bench, (key) =>
      key === "gone"
        ? { kind: "refused", code: "tenantErased", clock: { vector: [], dots: [], time: 0 } }
        : { kind: "done" },
    );
    await delivery.run();
    expect(bench.log.targets()).toEqual([]);
    expect(delivery.deliveredCount).toBe(3);
    expect(delivery.nextAtMs()).toBeUndefined();
  });

  it.each(["away", "cut", { kind: "refused", code: "overloaded", clock: { vector: [], dots: [], time: 0 } }] as const)(
    "[RP-21] a target that answers %j keeps its hints",
    async (answer) => {
      const bench = new Bench();
      bench.log.add("n1", row("a"), state(1));
      const { delivery } = deliver(bench, () => answer);
      await delivery.run();
      expect(bench.keys("n1")).toEqual(["a"]);
      expect(delivery.deliveredCount).toBe(0);
    },
  );

  it("[RP-21] a target that does not take them is offered them ever more rarely, and others are not held up", async () => {
    const bench = new Bench();
    // It must not expire meanwhile.
    bench.nowMs = 1_000_000;
    bench.log.add("n1", row("a"), state(1));
    bench.nowMs = 1000;
    const { delivery, offered } = deliver(bench, (key) => (key === "a" ? "away" : { kind: "done" }));
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      await delivery.run();
      const next = delivery.nextAtMs()!;
      waits.push(next - bench.nowMs);
      bench.nowMs = next - 1;
      await delivery.run();
      bench.nowMs = next;
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    expect([HINT_RETRY_MIN_MS, HINT_RETRY_MAX_MS]).toEqual([500, 30_000]);
    expect(offered.length).toBe(9);
    bench.log.add("n2", row("b"), state(1));
    await delivery.run();
    expect(offered.filter(([target]) => target === "n2").length).toBe(1);
  });

  it("[RP-64] one that the target cannot take (its copy is unreadable) does not hold up those behind it, and is offered again", async () => {
    const bench = new Bench();
    let isHealed = false;
    const names = ["a", "b", "lost", "c", "lost too", "d"];
    for (const key of names) bench.log.add("n1", row(key), state(1, 400_000));
    const { delivery, offered } = deliver(bench, (key) =>
      key.startsWith("lost") && !isHealed
        ? { kind: "refused", code: "corrupt", clock: { vector: [], dots: [], time: 0 } }
        : { kind: "done" },
    );
    await delivery.run();
    expect(offered.flatMap(([, ...keys]) => keys)).toEqual(names);
    expect(offered.length).toBeGreaterThan(1);
    expect(bench.keys("n1")).toEqual(["lost", "lost too"]);
    expect(delivery.deliveredCount).toBe(4);
    expect(delivery.nextAtMs()).toBe(bench.nowMs + HINT_RETRY_MIN_MS);
    bench.nowMs += HINT_RETRY_MIN_MS;
    bench.log.add("n1", row("e"), state(1));
    await delivery.run();
    expect(bench.keys("n1")).toEqual(["lost", "lost too"]);
    expect(delivery.nextAtMs()).toBe(bench.nowMs + 2 * HINT_RETRY_MIN_MS);
    isHealed = true;
    bench.nowMs = delivery.nextAtMs()!;
    await delivery.run();
    expect(bench.log.targets()).toEqual([]);
    expect(delivery.deliveredCount).toBe(7);
    expect(delivery.nextAtMs()).toBeUndefined();
  });

  it("[RP-21] a success ends the waiting", async () => {
    const bench = new Bench();
    let isAway = true;
    bench.log.add("n1", row("a"), state(1));
    const { delivery } = deliver(bench, () => (isAway ? "away" : { kind: "done" }));
    await delivery.run();
    isAway = false;
    bench.nowMs = delivery.nextAtMs()!;
    await delivery.run();
    bench.log.add("n1", row("b"), state(1));
    expect(delivery.nextAtMs()! - bench.nowMs).toBe(HINT_RETRY_MIN_MS);
  });

  it("only one run at a time; a run delivers what came while it ran", async () => {
    const bench = new Bench();
    bench.log.add("n1", row("a"), state(1));
    const { delivery, offered } = deliver(bench, (key) => {
      if (key === "a") bench.log.add("n1", row("b"), state(2));
      return { kind: "done" };
    });
    await Promise.all([delivery.run(), delivery.run()]);
    expect(offered).toEqual([
      ["n1", "a"],
      ["n1", "b"],
    ]);
  });
});
