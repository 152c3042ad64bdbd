// The way to one replica, against a replica that answers, fails, stalls and babbles.
import { describe, expect, it } from "vitest";
import { Bench, GET, ROW, STAMP, TIMEOUT_MS } from "../../test/unit/replication/link-bench.ts";
import { EMPTY_CLOCK } from "../wire/clock.ts";
import type { ReplicaOp } from "./frames.ts";
import {
  BREAKER_OPEN_MS,
  MAX_DEADLINE_LEAD_MS,
  MAX_FRAME_BYTES,
  MAX_FRAMES_IN_FLIGHT,
  MAX_LINK_QUEUE_BYTES,
} from "./limits.ts";

describe("gathering", () => {
  it("[RP-17] the operations of a turn leave in one frame and are answered in order, once each", async () => {
    const bench = new Bench();
    const all = [bench.send(GET), bench.send(GET), bench.send(GET)];
    await bench.turn();
    expect(bench.sent.length).toBe(1);
    bench.sent[0]!.answer();
    await bench.turn();
    for (const got of all) expect(got).toEqual([{ kind: "state", state: undefined }]);
    expect(bench.link.counts).toEqual({ frames: 1, operations: 3, failures: 0, timeouts: 0 });
  });

  it("[RP-17] no more than the bound of frames are under way; the rest gathers meanwhile", async () => {
    const bench = new Bench();
    for (let i = 0; i < MAX_FRAMES_IN_FLIGHT + 3; i++) {
      bench.send(GET);
      await bench.turn();
    }
    expect(bench.sent.length).toBe(MAX_FRAMES_IN_FLIGHT);
    bench.sent[0]!.answer();
    await bench.turn();
    expect(bench.sent.length).toBe(MAX_FRAMES_IN_FLIGHT + 1);
    expect(bench.sent.at(-1)!.ops.length).toBe(3);
  });

  it("[RP-17] a frame is cut at its bound, and the queue says when it is full", async () => {
    const bench = new Bench();
    const big: ReplicaOp = { kind: "merge", row: ROW, state: new Uint8Array(1024 * 1024) };
    bench.send(GET);
    await bench.turn();
    bench.sent.shift()!.answer();
    await bench.turn();
    for (let i = 0; i < 64; i++) bench.send(big);
    expect(bench.link.isFull).toBe(true);
    await bench.turn();
    expect(bench.sent.length).toBe(MAX_FRAMES_IN_FLIGHT);
    for (const { frameBytes } of bench.sent)
      expect(frameBytes).toBeLessThanOrEqual(MAX_FRAME_BYTES + 1024 * 1024 + 100);
    expect(bench.link.isFull).toBe(false);
    expect(MAX_LINK_QUEUE_BYTES).toBe(64 * 1024 * 1024);
  });
});

describe("answers that grow too large", () => {
  it("[RP-17] what is deferred is sent again in frames of about the size that is answered, not all of it each time", async () => {
    const bench = new Bench();
    const count = 5000;
    const answered = 50;
    const all = Array.from({ length: count }, () => bench.send(GET));
    await bench.turn();
    for (let next = 0; next < bench.sent.length; next++) {
      expect(next).toBeLessThan(count);
      const frame = bench.sent[next]!;
      bench.deferred = Math.max(0, frame.ops.length - answered);
      frame.answer();
      await bench.turn();
    }
    for (const got of all) expect(got).toEqual([{ kind: "state", state: undefined }]);
    expect(bench.link.counts.operations).toBeLessThan(count * 3.5);
    bench.deferred = 0;
    // Once answers are small again, frames grow again.
    for (let wave = 0; wave < 8; wave++) {
      const before = bench.sent.length;
      for (let i = 0; i < count; i++) bench.send(GET);
      await bench.turn();
      for (let next = before; next < bench.sent.length; next++) {
        bench.sent[next]!.answer();
        await bench.turn();
      }
    }
    expect(bench.sent.at(-1)!.ops.length).toBeGreaterThan(answered * 20);
  });
});

describe("failures", () => {
  it("[RP-4] [RP-17] a late answer changes nothing", async () => {
    const bench = new Bench();
    const got = bench.send(GET);
    await bench.turn();
    await bench.pass(TIMEOUT_MS);
    expect(got).toEqual([undefined]);
    bench.sent[0]!.answer();
    await bench.turn();
    expect(got).toEqual([undefined]);
    expect(bench.link.counts.timeouts).toBe(1);
  });

  it("[RP-17] an answer and then the timer, a failure and then the timer: once each", async () => {
    for (const how of ["answer", "fail"] as const) {
      const bench = new Bench();
      const got = bench.send(GET);
      await bench.turn();
      bench.sent[0]![how]();
      await bench.turn();
      await bench.pass(TIMEOUT_MS * 2);
      expect(got.length).toBe(1);
    }
  });

  it("[RP-30] an answer that cannot be read, or is too short, is no answer", async () => {
    for (const change of [
      () => new Uint8Array(0),
      (frame: Uint8Array) => frame.subarray(0, -1),
      () => new Uint8Array([1, 1, 1, 99]),
    ]) {
      const bench = new Bench();
      const got = [bench.send(GET), bench.send(GET)];
      await bench.turn();
      bench.sent[0]!.answer(change);
      await bench.turn();
      expect(got).toEqual([[undefined], [undefined]]);
      expect(bench.link.counts.failures).toBe(1);
    }
  });

  it("[RP-18] [RP-30] after three failures nothing is sent for a second, and nothing is retried", async () => {
    const bench = new Bench();
    for (let i = 0; i < 3; i++) {
      bench.send(GET);
      await bench.turn();
      bench.sent.at(-1)!.fail();
      await bench.turn();
    }
    expect(bench.link.isOpen).toBe(true);
    const refused = bench.send(GET);
    await bench.turn();
    expect(refused).toEqual([undefined]);
    expect(bench.sent.length).toBe(3);
    await bench.pass(BREAKER_OPEN_MS);
    const tried = bench.send(GET);
    await bench.turn();
    bench.sent[3]!.answer();
    await bench.turn();
    expect(tried).toEqual([{ kind: "state", state: undefined }]);
  });
});

describe("deferred operations", () => {
  it("[RP-17] what the replica had no room to answer is sent again, and answered once", async () => {
    const bench = new Bench();
    const got = [bench.send(GET), bench.send(GET), bench.send(GET)];
    bench.deferred = 2;
    await bench.turn();
    bench.sent[0]!.answer();
    await bench.turn();
    expect(got.map((results) => results.length)).toEqual([1, 0, 0]);
    expect(bench.sent[1]!.ops.map(({ kind }) => kind)).toEqual(["get", "get"]);
    bench.deferred = 0;
    bench.sent[1]!.answer();
    await bench.turn();
    for (const results of got) expect(results).toEqual([{ kind: "state", state: undefined }]);
  });
});

describe("a replica that gives deadlines in another time than before", () => {
  it("[RP-36] gets what it refused as passed once more, with a deadline of that time; what it refuses then is refused", async () => {
    const bench = new Bench();
    const got = bench.send(STAMP);
    await bench.turn();
    bench.sent[0]!.answer();
    await bench.turn();
    Object.assign(bench, { deferred: 2, refusal: "expired", replicaMs: 9_000_000 });
    bench.sent[1]!.answer();
    await bench.turn();
    expect([got, bench.sent.length]).toEqual([[], 3]);
    expect(bench.sent[2]!.ops).toEqual([
      expect.objectContaining({ kind: "stamp" }),
      { kind: "deadline", atMs: 9_000_000 + TIMEOUT_MS },
    ]);
    bench.sent[2]!.answer();
    await bench.turn();
    expect([got, bench.sent.length]).toEqual([[{ kind: "refused", code: "expired", clock: EMPTY_CLOCK }], 3]);
  });

  it("[RP-36] is not asked again where only its answer came late", async () => {
    const bench = new Bench();
    const got = bench.send(STAMP);
    await bench.turn();
    bench.sent[0]!.answer();
    await bench.turn();
    Object.assign(bench, {
      deferred: 2,
      refusal: "expired",
      nowMs: 50,
      replicaMs: bench.replicaMs + 50 + MAX_DEADLINE_LEAD_MS,
    });
    bench.sent[1]!.answer();
    await bench.turn();
    expect([got.length, bench.sent.length]).toEqual([1, 2]);
  });
});

describe("riders", () => {
  it("[RP-26] settled stamps ride with the next frame, and a callback still gets its own result", async () => {
    const bench = new Bench();
    bench.link.noteSettled(4097, 3);
    bench.link.noteSettled(4097, 4);
    await bench.turn();
    expect(bench.sent.length).toBe(0);
    const got = bench.send(GET);
    await bench.turn();
    expect(bench.sent[0]!.ops[1]).toEqual({ kind: "settled", actor: 4097, counters: [3, 4] });
    bench.sent[0]!.answer();
    await bench.turn();
    expect(got).toEqual([{ kind: "state", state: undefined }]);
    expect([bench.link.actor, bench.link.counter]).toEqual([4097, 10]);
  });

  it("[RP-36] the first stamp waits for the replica's clock; its deadline is the timeout in that clock", async () => {
    const bench = new Bench();
    const got = bench.send(STAMP);
    await bench.turn();
    expect(bench.sent.map(({ ops }) => ops.map(({ kind }) => kind))).toEqual([["deadline"]]);
    bench.nowMs = 30;
    bench.sent[0]!.answer();
    await bench.turn();
    bench.nowMs = 40;
    bench.sent[1]!.answer();
    await bench.turn();
    expect(bench.sent[1]!.ops.map(({ kind }) => kind)).toEqual(["stamp", "deadline"]);
    expect(bench.sent[1]!.ops[1]).toEqual({ kind: "deadline", atMs: 5000 + TIMEOUT_MS });
    expect(got).toEqual([{ kind: "done" }]);
    bench.nowMs = 1040;
    bench.send(STAMP);
    await bench.turn();
    expect(bench.sent[2]!.ops[1]).toEqual({ kind: "deadline", atMs: 5000 + 1000 + TIMEOUT_MS });
  });

  it("[RP-36] a replica that does not tell its clock is not asked to stamp", async () => {
    const bench = new Bench();
    const got = [bench.send(STAMP), bench.send(STAMP)];
    await bench.turn();
    await bench.pass(TIMEOUT_MS);
    expect(got).toEqual([[undefined], [undefined]]);
    expect(bench.sent.length).toBe(1);
    const later = bench.send(STAMP);
    await bench.turn();
    bench.sent[1]!.answer();
    await bench.turn();
    bench.sent[2]!.answer();
    await bench.turn();
    expect(later).toEqual([{ kind: "done" }]);
  });
});
