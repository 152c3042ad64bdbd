// The way to a replica that is late, or whose instance is agreed to have failed.
import { describe, expect, it } from "vitest";
import { Bench, GET, ROW, STAMP, TIMEOUT_MS } from "../../test/unit/replication/link-bench.ts";
import type { ReplicaOp, ReplicaResult } from "./frames.ts";
import { BREAKER_OPEN_MS } from "./limits.ts";

describe("a replica that is late", () => {
  /** Quick answers enough that patience is at its least. */
  async function quick(): Promise<Bench> {
    const bench = new Bench();
    bench.leastPatienceMs = 20;
    for (let i = 0; i < 20; i++) {
      bench.send(STAMP);
      await bench.turn();
      bench.sent.at(-1)!.answer();
      await bench.turn();
      // The first one asked for the replica's clock.
      if (i === 0) bench.sent.at(-1)!.answer();
      await bench.turn();
    }
    return bench;
  }

  it("[CL-97] is told of once, before its answer; a stamp is not applied any more from then on", async () => {
    const bench = await quick();
    const told: string[] = [];
    const sent = bench.sent.length;
    bench.link.send(
      STAMP,
      (result) => told.push(`stamp ${result?.kind}`),
      undefined,
      undefined,
      () => told.push("stamp is late"),
    );
    bench.link.send(
      GET,
      (result) => told.push(`get ${result?.kind}`),
      undefined,
      undefined,
      () => told.push("get is late"),
    );
    await bench.turn();
    expect(bench.sent[sent]!.ops.at(-1)).toEqual({ kind: "deadline", atMs: bench.replicaMs + 20 });
    await bench.pass(19);
    expect([told, bench.link.isStalled]).toEqual([[], false]);
    await bench.pass(1);
    expect([told, bench.link.isStalled]).toEqual([["stamp is late", "get is late"], true]);
    bench.sent[sent]!.answer();
    await bench.turn();
    expect(told.slice(2)).toEqual(["stamp done", "get state"]);
    expect([bench.link.isStalled, bench.link.counts.failures]).toEqual([false, 0]);
    await bench.pass(200);
    expect(told.length).toBe(4);
  });

  it("[CL-97] [RP-140] does not get a stamp again that it deferred after it was late: it would have a later deadline", async () => {
    const bench = await quick();
    const told: string[] = [];
    const done = (result: ReplicaResult | undefined): void =>
      void told.push(result?.kind === "refused" ? result.code : "?");
    bench.link.send(STAMP, done, undefined, bench.nowMs, () => told.push("late"));
    await bench.turn();
    await bench.pass(20);
    const count = bench.sent.length;
    bench.deferred = 2;
    bench.sent.at(-1)!.answer();
    await bench.turn();
    expect([told, bench.sent.length]).toEqual([["late", "expired"], count]);
  });

  it("[CL-97] [RP-140] has a first attempt's deadline no later than one and a half timeouts after its request came", async () => {
    const bench = await quick();
    bench.nowMs += 10_000;
    bench.replicaMs += 10_000;
    bench.send(GET);
    await bench.turn();
    bench.sent.at(-1)!.answer();
    await bench.turn();
    for (const [waitedMs, leftMs] of [
      [0, 20],
      [1.5 * TIMEOUT_MS - 5, 5],
    ] as const) {
      bench.link.send(
        STAMP,
        () => undefined,
        undefined,
        bench.nowMs - waitedMs,
        () => undefined,
      );
      await bench.turn();
      expect(bench.sent.at(-1)!.ops.at(-1)).toEqual({ kind: "deadline", atMs: bench.replicaMs + leftMs });
      bench.sent.at(-1)!.answer();
      await bench.turn();
    }
  });

  it("[CL-97] is late for reads alone without a stamp's deadline being touched, and never before it was quick", async () => {
    const bench = await quick();
    const sent = bench.sent.length;
    const merge: ReplicaOp = { kind: "merge", row: ROW, state: new Uint8Array(1) };
    bench.link.send(
      GET,
      () => undefined,
      undefined,
      undefined,
      () => undefined,
    );
    bench.send(merge);
    await bench.turn();
    expect(bench.sent[sent]!.ops.at(-1)).toEqual({ kind: "deadline", atMs: bench.replicaMs + TIMEOUT_MS });
    const cold = new Bench();
    cold.leastPatienceMs = 20;
    let lateCount = 0;
    cold.link.send(
      GET,
      () => undefined,
      undefined,
      undefined,
      () => lateCount++,
    );
    await cold.turn();
    await cold.pass(TIMEOUT_MS - 1);
    expect(lateCount).toBe(0);
  });

  it("[CL-97] is not late when we were paused ourselves and its answer waits behind our timer", async () => {
    const bench = await quick();
    let lateCount = 0;
    const got: unknown[] = [];
    bench.link.send(
      GET,
      (result) => got.push(result?.kind),
      undefined,
      undefined,
      () => lateCount++,
    );
    await bench.turn();
    bench.nowMs += 150;
    bench.sent.at(-1)!.answer();
    await bench.pass(0);
    expect([lateCount, got.length]).toEqual([0, 1]);
  });
});

describe("a replica whose instance is agreed to have failed", () => {
  it("[CL-96] is not waited for: what is sent fails at once, until it answers one of the questions it is asked each second", async () => {
    const bench = new Bench();
    bench.nowMs = 10_000;
    bench.awayFromMs = 9000;
    const refused = bench.send(GET);
    await bench.turn();
    expect(refused).toEqual([undefined]);
    expect(bench.sent.map(({ ops }) => ops.map(({ kind }) => kind))).toEqual([["deadline"]]);
    await bench.pass(BREAKER_OPEN_MS);
    expect(bench.link.isOpen).toBe(true);
    await bench.turn();
    expect(bench.sent.length).toBe(2);
    bench.sent[1]!.answer();
    await bench.turn();
    expect(bench.link.isOpen).toBe(false);
    const asked = bench.send(GET);
    await bench.turn();
    bench.sent[2]!.answer();
    await bench.turn();
    expect(asked).toEqual([{ kind: "state", state: undefined }]);
  });
});
