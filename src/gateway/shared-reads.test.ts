// Reads that share RPCs, against a shard whose answers come when the test says so; and what a shard leaves out of an RPC.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sharedAnswers } from "../../objects/shared-answers.ts";
import { writeVectorCall } from "../wire/vector-requests.ts";
import { SharedReads } from "./shared-reads.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const DEADLINE_MS = 1000;
const bytesOf = (n: number): Uint8Array => Uint8Array.of(n);

interface Rpc {
  readonly asked: readonly number[];
  /** Answers are what was asked, + 100; what `without` names is left out. */
  readonly answer: (without?: readonly number[]) => Promise<void>;
  readonly fail: (error: Error) => Promise<void>;
}

/** All RPCs to the shard, in order. */
class Shard {
  readonly rpcs: Rpc[] = [];

  #rpc<T>(asked: readonly number[], answerOf: (without: readonly number[]) => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settled = async (settle: () => void): Promise<void> => {
      settle();
      await vi.advanceTimersByTimeAsync(0);
    };
    this.rpcs.push({
      asked,
      answer: (without = []) => settled(() => resolve(answerOf(without))),
      fail: (error) => settled(() => reject(error)),
    });
    return promise;
  }

  readonly stub = {
    call: ([n]: Uint8Array) => this.#rpc([n!], () => bytesOf(n! + 100)),
    callMany: (calls: readonly Uint8Array[]) => {
      const asked = calls.map(([n]) => n!);
      return this.#rpc(asked, (without) => asked.map((n) => (without.includes(n) ? null : bytesOf(n + 100))));
    },
  };

  get asked(): readonly (readonly number[])[] {
    return this.rpcs.map(({ asked }) => asked);
  }
}

function setUp() {
  const shard = new Shard();
  const reads = new SharedReads();
  const read = async (n: number, { deadlineMs = DEADLINE_MS, name = "s" } = {}): Promise<number | string> => {
    const options = { stub: () => shard.stub, waitUntil: () => undefined, deadlineMs };
    try {
      return (await reads.read(name, bytesOf(n), options))[0]!;
    } catch (error) {
      return (error as Error).message;
    }
  };
  return { shard, read };
}

describe("reads of one shard", () => {
  it("[VE-330] that come while an RPC is under way go together in the next, and each gets its own answer", async () => {
    const { shard, read } = setUp();
    const all = [1, 2, 3].map((n) => read(n));
    expect(shard.asked).toEqual([[1]]);
    await shard.rpcs[0]!.answer();
    expect(shard.asked).toEqual([[1], [2, 3]]);
    all.push(read(4), read(5, { name: "other" }));
    expect(shard.asked).toEqual([[1], [2, 3], [5]]);
    await shard.rpcs[1]!.answer();
    for (const rpc of shard.rpcs) await rpc.answer();
    await shard.rpcs.at(-1)!.answer();
    expect(shard.asked).toEqual([[1], [2, 3], [5], [4]]);
    expect(await Promise.all(all)).toEqual([101, 102, 103, 104, 105]);
  });

  it("[VE-330] wait for no RPC that takes long, nor for one that is lost with its request", async () => {
    const { shard, read } = setUp();
    const all = [read(1), read(2), read(3)];
    await vi.advanceTimersByTimeAsync(30);
    expect(shard.asked).toEqual([[1], [2, 3]]);
    // The first one never ends: who comes next is held up by the second at most.
    await shard.rpcs[1]!.answer();
    all.push(read(4));
    expect(shard.asked).toEqual([[1], [2, 3], [4]]);
    await shard.rpcs[2]!.answer();
    expect(await Promise.all(all.slice(1))).toEqual([102, 103, 104]);
    await vi.advanceTimersByTimeAsync(DEADLINE_MS);
    expect(await all[0]).toBe(`VectorShard did not answer within ${DEADLINE_MS} ms`);
  });

  it("[VE-330] end at their own deadlines", async () => {
    const { shard, read } = setUp();
    const all = [read(1), read(2, { deadlineMs: 50 }), read(3)];
    await shard.rpcs[0]!.answer();
    await vi.advanceTimersByTimeAsync(100);
    await shard.rpcs[1]!.answer();
    expect(await Promise.all(all)).toEqual([101, "VectorShard did not answer within 50 ms", 103]);
  });

  it("[VE-331] fail with the RPC that carried them; what was left out is asked alone", async () => {
    const { shard, read } = setUp();
    const all = [read(1), read(2), read(3)];
    await shard.rpcs[0]!.answer();
    await shard.rpcs[1]!.answer([2, 3]);
    expect(shard.asked).toEqual([[1], [2, 3], [3], [2]]);
    await shard.rpcs[2]!.answer();
    await shard.rpcs[3]!.fail(new Error("gone"));
    expect(await Promise.all(all)).toEqual([101, "gone", 103]);
    const others = [read(4), read(5), read(6)];
    await shard.rpcs[4]!.answer();
    await shard.rpcs[5]!.fail(new Error("reset"));
    expect(await Promise.all(others)).toEqual([104, "reset", "reset"]);
  });

  it("[VE-330] are 64 of an RPC at most", async () => {
    const { shard, read } = setUp();
    const all = Array.from({ length: 101 }, (_, n) => read(n));
    for (let at = 0; at < 3; at++) await shard.rpcs[at]!.answer();
    expect(shard.asked.map(({ length }) => length)).toEqual([1, 64, 36]);
    expect(await Promise.all(all)).toEqual(all.map((_, n) => n + 100));
  });
});

describe("[VE-331] of the calls of one RPC", () => {
  const get = (id: string) => writeVectorCall({ request: { kind: "get", ids: [id], shown: {} } });
  const write = (id: string) => writeVectorCall({ request: { kind: "delete", ids: [id] } });
  const answerAfter = (ms: number, bytes = 1) =>
    new Promise<Uint8Array>((resolve) => setTimeout(() => resolve(new Uint8Array(bytes)), ms));

  it("reads that take long or fail are left out, and none waits for them; writes are always answered", async () => {
    const calls = [get("quick"), get("slow"), write("slow"), get("broken")];
    const run = (bytes: Uint8Array): Promise<Uint8Array> =>
      bytes === calls[0] ? answerAfter(0) : bytes === calls[3] ? Promise.reject(new Error("no")) : answerAfter(500);
    const began = Date.now();
    const reads = sharedAnswers([calls[0]!, calls[1]!, calls[3]!], run, true);
    await vi.advanceTimersByTimeAsync(50);
    expect((await reads).map((answer) => answer?.length)).toEqual([1, undefined, undefined]);
    expect(Date.now() - began).toBe(50);
    const all = sharedAnswers(calls.slice(0, 3), run, true);
    await vi.advanceTimersByTimeAsync(1000);
    expect((await all).map((answer) => answer?.length)).toEqual([1, undefined, 1]);
    // A caller that knows nothing of it gets all.
    const whole = sharedAnswers(calls.slice(0, 3), run, false);
    await vi.advanceTimersByTimeAsync(1000);
    expect((await whole).map((answer) => answer?.length)).toEqual([1, 1, 1]);
  });

  it("answers are left out that do not fit one message with the others", async () => {
    const mib = 1024 * 1024;
    const sizes = [5 * mib, 5 * mib, 2 * mib];
    const calls = sizes.map((_, at) => get(String(at)));
    const run = async (bytes: Uint8Array) => new Uint8Array(sizes[calls.indexOf(bytes)]!);
    const answers = await sharedAnswers(calls, run, true);
    expect(answers.map((answer) => answer?.length)).toEqual([5 * mib, undefined, 2 * mib]);
  });
});
