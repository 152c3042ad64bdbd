// The sense test by a contextual model, in Node with the very runtime that the embedder has; by static word vectors: src/embedding/word-encoder.test.ts.
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { openGraph } from "../../../objects/onnx-runtime.ts";
import { openTokenizer } from "../../../objects/transformer-family.ts";
import type { OnnxSession, Tokenizer } from "../../../src/embedding/graph/session.ts";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";
import { Transformer } from "../../../src/embedding/transformer/transformer.ts";
import { WordEncoder } from "../../../src/embedding/word-encoder.ts";
import { readWordFile } from "../../../src/embedding/words/word-file.ts";
import { attendingWords } from "../../onnx/attending-words.ts";

interface Entry {
  readonly word: string;
  readonly senses: readonly { readonly about: string; readonly sentences: readonly string[] }[];
}
const ENTRIES = JSON.parse(readFileSync("test/fixtures/senses.json", "utf8")) as readonly Entry[];
const table = readWordFile(readFileSync("models/glove-twitter-25d.jwv"));
type Vector = ArrayLike<number>;
type VectorOf = (text: string, word: string) => Vector;

function cosine(a: Vector, b: Vector): number {
  const dot = (x: Vector, y: Vector) => Array.from(x).reduce((sum, value, at) => sum + value * y[at]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Sentences nearer to the description of their own sense, and those whose nearest among their word's other sentences has the same sense. */
function judged(vectorOf: VectorOf, aboutOf: VectorOf = vectorOf): { about: number; nearest: number } {
  let [about, nearest] = [0, 0];
  for (const { word, senses } of ENTRIES)
    for (const [at, own] of senses.entries()) {
      const other = senses[1 - at]!;
      for (const sentence of own.sentences) {
        const vector = vectorOf(sentence, word);
        if (cosine(vector, aboutOf(own.about, word)) > cosine(vector, aboutOf(other.about, word))) about++;
        const most = (texts: readonly string[]): number =>
          Math.max(...texts.filter((text) => text !== sentence).map((text) => cosine(vector, vectorOf(text, word))));
        if (most(own.sentences) > most(other.sentences) + 1e-9) nearest++;
      }
    }
  return { about, nearest };
}

describe("senses of words by a contextual model", () => {
  let session: OnnxSession;
  let tokenizer: Tokenizer;
  const texts = new Map<string, Vector>();
  const words = new Map<string, Vector>();

  beforeAll(async () => {
    const { onnx, tokenizer: file } = attendingWords(table);
    session = await openGraph({ graph: onnx, weights: new Map() });
    tokenizer = openTokenizer(new Map([["tokenizer.json", new TextEncoder().encode(file)]]));
    const transformer = await Transformer.open(session, tokenizer, {});
    for (const { word, senses } of ENTRIES)
      for (const { about, sentences } of senses) {
        for (const [n, outcome] of (await transformer.run([about, ...sentences])).entries()) {
          if (outcome instanceof EmbeddingRefusal) throw outcome;
          texts.set(n === 0 ? about : sentences[n - 1]!, outcome.values);
        }
        for (const sentence of sentences) words.set(sentence, await inContext(sentence, word));
      }
  }, 60_000);

  /** The vector that the graph gives the word in this sentence. */
  async function inContext(sentence: string, word: string): Promise<Vector> {
    const ids = tokenizer.encode(sentence, false);
    const place = ids.indexOf(tokenizer.encode(word, false)[0]!);
    expect(place, sentence).toBeGreaterThanOrEqual(0);
    const dims = [1, ids.length];
    const { last_hidden_state: hidden } = await session.run({
      input_ids: { data: BigInt64Array.from(ids, BigInt), dims },
      attention_mask: { data: new BigInt64Array(ids.length).fill(1n), dims },
    });
    return hidden!.data.subarray(place * table.dimension, (place + 1) * table.dimension);
  }

  it("[EM-58] over whole texts it tells senses as well as static vectors do", () => {
    const encoder = new WordEncoder(table);
    const still = judged((text) => encoder.embed(text).values);
    const contextual = judged((text) => texts.get(text)!);
    console.log(`static: ${JSON.stringify(still)}, contextual: ${JSON.stringify(contextual)} of 96`);
    expect(contextual.about).toBeGreaterThanOrEqual(80);
    expect(contextual.nearest).toBeGreaterThanOrEqual(80);
  });

  it("[EM-58] the ambiguous word has another vector in each sentence, near those of its sense; of a static model always one", () => {
    const encoder = new WordEncoder(table);
    const still = judged(
      (_, word) => encoder.embed(word).values,
      (text) => encoder.embed(text).values,
    );
    const contextual = judged(
      (text, _word) => words.get(text)!,
      (text) => texts.get(text)!,
    );
    console.log(`the word alone: static ${JSON.stringify(still)}, contextual ${JSON.stringify(contextual)} of 96`);
    // One vector for both senses: right for one of them, and no sentence nearer than another.
    expect(still).toEqual({ about: 48, nearest: 0 });
    // Against descriptions it is no better: the word itself outweighs what it took up.
    expect(contextual.nearest).toBeGreaterThanOrEqual(76);
  });
});
