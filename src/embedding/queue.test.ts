// The queue before a model: order, batches over requests, bounds, deadlines, the cache of recent texts.
import { describe, expect, it } from "vitest";
import { EmbedQueue, type Outcome, type QueueLimits, type Runnable } from "./queue.ts";
import { EmbeddingRefusal, invalid } from "./refusal.ts";
import { TextCache } from "./text-cache.ts";

const vector = (text: string): Outcome => ({ values: Float32Array.of(text.length), tokens: 1, unknownTokens: 0 });

class Model implements Runnable {
  readonly key: string;
  readonly batches: (readonly string[])[] = [];
  constructor(key: string) {
    this.key = key;
  }
  run(texts: readonly string[]): readonly Outcome[] {
    this.batches.push(texts);
    if (texts.includes("boom")) throw new Error("boom");
    return texts.map((text) => (text === "bad" ? invalid("input", "is bad") : vector(text)));
  }
}

function harness(limits: Partial<QueueLimits> = {}, cacheBytes = 10_000) {
  const turns: (() => void)[] = [];
  let nowMs = 0;
  const cache = new TextCache({ limitBytes: cacheBytes, maxCharacters: 100 });
  const queue = new EmbedQueue({
    limits: { maxTexts: 10, maxBytes: 1000, batchTexts: 4, ...limits },
    cache,
    now: () => nowMs,
    later: (work) => void turns.push(work),
  });
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  const drain = async (): Promise<void> => {
    while (turns.length > 0) {
      turns.shift()!();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { queue, cache, drain, pass };
}

const lengths = (outcomes: readonly Outcome[]) =>
  outcomes.map((one) => (one instanceof EmbeddingRefusal ? one.message : one.values[0]));

describe("the embedder's queue", () => {
  it("[EM-10] texts of several requests share a batch; each request gets its own in order; another model's wait their turn", async () => {
    const { queue, drain } = harness();
    const [a, b] = [new Model("a"), new Model("b")];
    const answers = Promise.all([
      queue.embed(a, ["1", "22"], 100),
      queue.embed(b, ["4444"], 100),
      queue.embed(a, ["333", "bad", "55555"], 100),
    ]);
    expect(queue.waiting).toBe(6);
    await drain();
    expect((await answers).map(lengths)).toEqual([[1, 2], [4], [3, "input is bad", 5]]);
    expect(a.batches).toEqual([["1", "22", "333", "bad"], ["55555"]]);
    expect(b.batches).toEqual([["4444"]]);
    expect(queue.waiting).toBe(0);
  });

  it("[EM-11] beyond its bound in texts or bytes it refuses, and takes again what fits afterwards", async () => {
    const { queue, drain } = harness({ maxTexts: 3, maxBytes: 40 });
    const model = new Model("a");
    const first = queue.embed(model, ["1", "2"], 100);
    await expect(queue.embed(model, ["3", "4"], 100)).rejects.toMatchObject({ code: "overloaded" });
    await expect(queue.embed(model, ["x".repeat(30)], 100)).rejects.toMatchObject({ code: "overloaded" });
    const third = queue.embed(model, ["3"], 100);
    await drain();
    expect([lengths(await first), lengths(await third)]).toEqual([[1, 1], [1]]);
    expect(queue.counts).toMatchObject({ full: 2, batches: 1 });
    const again = queue.embed(model, ["5", "6", "7"], 100);
    await drain();
    expect(lengths(await again)).toEqual([1, 1, 1]);
  });

  it("[EM-12] what waited past its deadline is refused and not run; a failing run ends its requests and no other", async () => {
    const { queue, drain, pass } = harness({ batchTexts: 2 });
    const [a, b] = [new Model("a"), new Model("b")];
    const late = queue.embed(a, ["1"], 50);
    late.catch(() => undefined);
    pass(60);
    const failing = queue.embed(a, ["boom", "2", "3"], 100);
    failing.catch(() => undefined);
    const fine = queue.embed(b, ["22"], 100);
    await drain();
    await expect(late).rejects.toMatchObject({ code: "overloaded" });
    await expect(failing).rejects.toThrow("boom");
    expect(lengths(await fine)).toEqual([2]);
    expect(a.batches).toEqual([["boom", "2"]]);
    expect([queue.waiting, queue.counts.late]).toEqual([0, 1]);
  });

  it("[EM-13] a recent text is not run again, by the same model only; refusals are not kept; the cache stays within its bytes", async () => {
    const { queue, cache, drain } = harness({}, 1000);
    const [a, b] = [new Model("a"), new Model("b")];
    const ask = async (model: Model, texts: readonly string[]) => {
      const answer = queue.embed(model, texts, 100);
      await drain();
      return lengths(await answer);
    };
    await ask(a, ["1", "bad"]);
    expect(await ask(a, ["1", "bad", "22"])).toEqual([1, "input is bad", 2]);
    expect(a.batches.at(-1)).toEqual(["bad", "22"]);
    expect(await ask(a, ["1"])).toEqual([1]);
    expect(a.batches).toHaveLength(2);
    await ask(b, ["1"]);
    expect(b.batches).toHaveLength(1);
    for (let n = 0; n < 50; n++)
      cache.set("a", `text ${n}`, { values: new Float32Array(4), tokens: 1, unknownTokens: 0 });
    expect(cache.bytes).toBeLessThanOrEqual(1000);
    expect(cache.get("a", "text 49")).toBeDefined();
    expect(cache.get("a", "text 0")).toBeUndefined();
    cache.set("a", "x".repeat(101), { values: new Float32Array(4), tokens: 1, unknownTokens: 0 });
    expect(cache.get("a", "x".repeat(101))).toBeUndefined();
  });
});
