// Transformers in Node with the very runtime that the embedder has: against the plain twin, alone and in batches, short and long.
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { beforeAll, describe, expect, it } from "vitest";
import { openGraph } from "../../../objects/onnx-runtime.ts";
import { openTokenizer } from "../../../objects/transformer-family.ts";
import type { Outcome } from "../../../src/embedding/queue.ts";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";
import { Transformer, type TransformerOptions } from "../../../src/embedding/transformer/transformer.ts";
import { frameOf, windowsOf } from "../../../src/embedding/transformer/windows.ts";
import { plainTokens, tinyBert } from "../../onnx/tiny-bert.ts";

const bert = tinyBert();
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const FILES = new Map([["tokenizer.json", encode(bert.tokenizer)]]);
const TEXTS = [
  "The cat sat on the mat.",
  "money",
  "A river bank, a loan; unrunnable CATS?",
  "Tea",
  "the red dog runs and walks and sat on a green mat of tea and water".repeat(3),
];

const open = async (options: TransformerOptions): Promise<Transformer> =>
  Transformer.open(await openGraph({ graph: bert.onnx, weights: new Map() }), openTokenizer(FILES), options);

function expectNear(outcome: Outcome | undefined, expected: readonly number[]): void {
  if (!outcome || outcome instanceof EmbeddingRefusal) throw new Error(String(outcome?.message));
  expect(outcome.values).toHaveLength(expected.length);
  for (const [at, value] of expected.entries()) expect(Math.abs(outcome.values[at]! - value)).toBeLessThan(1e-5);
}

let transformer: Transformer;

beforeAll(async () => {
  transformer = await open({ windowTokens: 24 });
});

describe("transformers", () => {
  it("[EM-40] tokens are those of the plain twin", () => {
    const hub = new HubTokenizer(JSON.parse(bert.tokenizer), {});
    for (const text of TEXTS) expect(hub.encode(text, { add_special_tokens: false }).ids).toEqual(plainTokens(text));
  });

  it("[EM-41] vectors are those of the plain twin to 1e-5: alone, in a batch of many lengths, in windows", async () => {
    expect(transformer.dimension).toBe(bert.dimension);
    const together = await transformer.run(TEXTS);
    for (const [at, text] of TEXTS.entries()) {
      expectNear(together[at], bert.embed(text));
      expectNear((await transformer.run([text]))[0], bert.embed(text));
    }
    const [first] = together;
    expect(first).toMatchObject({ tokens: 7, unknownTokens: 0 });
    expect(together[2]).toMatchObject({ unknownTokens: 3 });
  });

  it("[EM-41] the first token's vector, and smaller windows, where they are asked for", async () => {
    const other = await open({ pooling: "cls", windowTokens: 9 });
    const outcomes = await other.run(TEXTS);
    for (const [at, text] of TEXTS.entries())
      expectNear(outcomes[at], bert.embed(text, { pooling: "cls", windowTokens: 9 }));
    await other.release();
  });

  it("[EM-42] every token is in one window; windows differ by one token at most; frames are found", () => {
    const frame = { before: [101], behind: [102] };
    for (const [count, most] of [
      [1, 24],
      [22, 24],
      [23, 24],
      [100, 10],
    ] as const) {
      const ids = Array.from({ length: count }, (_, n) => n);
      const windows = windowsOf(ids, frame, most);
      expect(windows.flatMap((window) => window.ids.slice(1, -1))).toEqual(ids);
      expect(Math.max(...windows.map(({ ids: all }) => all.length))).toBeLessThanOrEqual(most);
      const tokens = windows.map((window) => window.tokens);
      expect(Math.max(...tokens) - Math.min(...tokens)).toBeLessThanOrEqual(1);
    }
    expect(frameOf([7], [101, 7, 102])).toEqual(frame);
    expect(frameOf([7], [7, 1])).toEqual({ before: [], behind: [1] });
  });

  it("[EM-43] texts that cannot be embedded are refused one by one; others of the batch are not", async () => {
    const strict = await open({ windowTokens: 24, maxTokens: 3 });
    const outcomes = await strict.run(["cat", "", "the cat sat on", "dog"]);
    expect(outcomes.map((one) => (one instanceof EmbeddingRefusal ? one.message : one.tokens))).toEqual([
      1,
      " is empty",
      " has 4 tokens; the limit is 3",
      1,
    ]);
    await strict.release();
  });

  it("[EM-44] files that are none are refused with what is wrong", async () => {
    await expect(openGraph({ graph: encode("no graph at all"), weights: new Map() })).rejects.toMatchObject({
      code: "invalidRequest",
    });
    await expect(openGraph({ graph: bert.onnx.slice(0, 900), weights: new Map() })).rejects.toThrow(
      "cannot be read as an ONNX graph",
    );
    expect(() => openTokenizer(new Map([["tokenizer.json", encode("{")]]))).toThrow("tokenizer.json is no JSON");
    expect(() => openTokenizer(new Map([["tokenizer.json", encode('{"model":{}}')]]))).toThrow(
      "cannot be read as a tokenizer",
    );
    // What a graph gives is looked at: one that ignores how many texts there are.
    const session = await openGraph({ graph: bert.onnx, weights: new Map() });
    const strange = { ...session, run: async () => ({ last_hidden_state: { data: new Float32Array(4), dims: [4] } }) };
    await expect(Transformer.open(strange, openTokenizer(FILES), {})).rejects.toThrow("gives an output of [4]");
    const images = { ...session, inputNames: ["pixel_values"] };
    await expect(Transformer.open(images, openTokenizer(FILES), {})).rejects.toThrow("pixel_values");
  });
});
