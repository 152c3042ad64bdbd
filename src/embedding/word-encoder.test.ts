// Texts to vectors by words: the twin's numbers, refusals, scripts, and the shipped model.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { englishStems } from "./inflections.ts";
import { MAX_TEXT_BYTES } from "./limits.ts";
import { EmbeddingRefusal } from "./refusal.ts";
import { formsOf, tokensOf } from "./tokens.ts";
import { plainCosine, plainEmbedding, plainWords } from "./word-encoder.reference.ts";
import { idfOf, WordEncoder } from "./word-encoder.ts";
import { readWordFile } from "./words/word-file.ts";

const LINES = ["the 0.1 -6 0.3", "cat 1.5 -4 0.2", "dog 1.4 -4.1 0.5", "sat -0.3 -3 2", "mat 0.2 -1 -1.7"];
const table = readWordFile(new TextEncoder().encode(LINES.join("\n")));
const SENTENCES = ["The cat sat", "the dog, the cat & the mat!", "mat", "A CAT who Sat on unknown things"];

function refusal(text: string, encoder = new WordEncoder(table)): EmbeddingRefusal {
  try {
    encoder.embed(text, "input[3]");
  } catch (error) {
    if (error instanceof EmbeddingRefusal) return error;
    throw error;
  }
  throw new Error("was not refused");
}

describe("texts to vectors by words", () => {
  it("[EM-5] a text is the IDF-weighted mean of its words, of length 1, as the twin has it", () => {
    const words = plainWords(LINES);
    // Over so few words the sum of 1/rank is known within 1e-3 only; over a real file the twin agrees to 1e-5 (EM-9).
    for (const sentence of SENTENCES) {
      const { values } = new WordEncoder(table).embed(sentence);
      for (const [at, value] of plainEmbedding(words, sentence).entries()) expect(values[at]).toBeCloseTo(value, 2);
      expect(Math.hypot(...values)).toBeCloseTo(1, 6);
    }
    expect(idfOf(0.1)).toBeLessThan(0.1);
    expect(idfOf(1e-6)).toBeCloseTo(-Math.log(25e-6), 4);
  });

  it("[EM-6] a word alone has its own vector, and its own length where that is asked for", () => {
    const plain = new WordEncoder(table, { normalize: false });
    for (const [at, value] of [1.5, -4, 0.2].entries()) expect(plain.embed("Cat").values[at]).toBeCloseTo(value, 6);
    const mean = new WordEncoder(table, { normalize: false, pooling: "mean" }).embed("cat dog").values;
    for (const [at, value] of [1.45, -4.05, 0.35].entries()) expect(mean[at]).toBeCloseTo(value, 6);
  });

  it("[EM-7] empty, too long, not Unicode or without a known word: refused with field and limit", () => {
    expect(refusal("").message).toBe("input[3] is empty");
    expect(refusal(" \n\t").message).toBe("input[3] is empty");
    expect(refusal("?!").message).toBe("input[3] has no word");
    expect(refusal("Xyzzy plugh Xyzzy").message).toBe(
      'input[3] has no word that the model knows: "Xyzzy", "plugh", … (3 words); it has 5 words: use other words, or register a larger file of word vectors (jade-db model add)',
    );
    const [issue] = refusal("Xyzzy").details!["issues"] as readonly object[];
    expect(issue).toMatchObject({ path: "input[3]", unknownWords: ["Xyzzy"], knownWords: 5 });
    const many = refusal(Array.from({ length: 500 }, (_, at) => `w${"x".repeat(200)}${"y".repeat(at)}`).join(" "));
    expect(many.message.length).toBeLessThan(2000);
    expect(refusal("a\ud800").message).toContain("Unicode");
    expect(refusal("é".repeat(MAX_TEXT_BYTES / 2 + 1)).message).toBe("input[3] has 65538 bytes; the limit is 65536");
    const short = new WordEncoder(table, { maxTokens: 2 });
    expect(refusal("the cat sat", short).message).toBe("input[3] has more than 2 tokens");
    const { details } = refusal("the cat sat", short);
    expect(details).toEqual({ issues: [{ path: "input[3]", message: "has more than 2 tokens", limit: 2 }] });
    const opposed = readWordFile(new TextEncoder().encode("a 1 2\nb -1 -2\n"));
    expect(refusal("a b", new WordEncoder(opposed, { pooling: "mean" })).message).toContain("cancel each other out");
  });

  it("[EM-5] tokens are counted, unknown ones apart", () => {
    expect(new WordEncoder(table).embed("the cat, Xyzzy")).toMatchObject({ tokens: 3, unknownTokens: 1 });
  });

  it("[EM-8] words are found in every script, with apostrophes, numbers and combining marks", () => {
    const tokens = (text: string) => [...tokensOf(text)];
    expect(tokens("It’s Ada's 3.14-year-old café; naïve?")).toEqual([
      "It's",
      "Ada's",
      "3.14",
      "year",
      "old",
      "café",
      "naïve",
    ]);
    expect(tokens("cafe\u0301")).toEqual(["café"]);
    expect(tokens("Привет, мир! שלום नमस्ते")).toEqual(["Привет", "мир", "שלום", "नमस्ते"]);
    expect(tokens("iPhone猫が好き")).toEqual(["iPhone", "猫", "が", "好", "き"]);
    expect(tokens("🙂 — …")).toEqual([]);
    expect(formsOf("Ada's")).toEqual(["Ada's", "ada's", "adas", "ada"]);
    expect(formsOf("cat")).toEqual(["cat"]);
  });
});

describe("forms of words", () => {
  it("[EM-60] an unknown word takes the vector of the word that it is a form of, and still counts as unknown", () => {
    const english = new WordEncoder(table, { inflections: "english" });
    expect(english.embed("Cats")).toEqual({ ...english.embed("cat"), unknownTokens: 1 });
    expect(english.embed("matting").values).toEqual(english.embed("mat").values);
    expect(refusal("Cats").message).toContain('"Cats"');
    expect(refusal("as, sing", english).message).toContain('"as", "sing"');
    expect(englishStems("stories")).toEqual(["story", "storie", "stori"]);
    expect(englishStems("king")).toEqual([]);
  });

  it("[EM-60] by the vectors of the shipped model such forms are near, other words are not", () => {
    const shipped = readWordFile(readFileSync("models/glove-twitter-25d.jwv"));
    const encoder = new WordEncoder(shipped);
    const cosineOf = (a: string, b: string): number => plainCosine(encoder.embed(a).values, encoder.embed(b).values);
    const words = [...shipped.words()].filter((word) => /^[a-z]+$/.test(word));
    let [near, pairs, far] = [0, 0, 0];
    for (const [at, word] of words.entries()) {
      const stem = englishStems(word).find((one) => shipped.has(one));
      if (stem === undefined) continue;
      pairs++;
      near += cosineOf(word, stem);
      far += cosineOf(word, words[(at * 7919) % words.length]!);
    }
    expect(pairs).toBeGreaterThan(2500);
    expect(near / pairs).toBeGreaterThan(0.7);
    expect(far / pairs).toBeLessThan(0.45);
  });
});

describe("senses of words", () => {
  interface Entry {
    readonly word: string;
    readonly senses: readonly { readonly about: string; readonly sentences: readonly string[] }[];
  }
  const entries = JSON.parse(readFileSync("test/fixtures/senses.json", "utf8")) as readonly Entry[];
  const encoder = new WordEncoder(readWordFile(readFileSync("models/glove-twitter-25d.jwv")), {
    inflections: "english",
  });
  const near = (a: string, b: string): number => plainCosine(encoder.embed(a).values, encoder.embed(b).values);

  it("[EM-61] the words beside an ambiguous one tell its sense: 80 of 96 sentences are nearer to what they are about", () => {
    let [right, all] = [0, 0];
    for (const { word, senses } of entries)
      for (const [at, { about, sentences }] of senses.entries())
        for (const sentence of sentences) {
          expect(sentence.toLowerCase()).toContain(word);
          expect(about).not.toContain(` ${word} `);
          all++;
          if (near(sentence, about) > near(sentence, senses[1 - at]!.about)) right++;
        }
    expect(all).toBe(96);
    expect(right).toBeGreaterThanOrEqual(80);
  });

  it("[EM-61] of sentences with one word, the nearest has the same sense: 84 of 96", () => {
    let right = 0;
    for (const { senses } of entries)
      for (const [at, { sentences }] of senses.entries())
        for (const sentence of sentences) {
          const most = (texts: readonly string[]): number =>
            Math.max(...texts.filter((text) => text !== sentence).map((text) => near(sentence, text)));
          if (most(sentences) > most(senses[1 - at]!.sentences)) right++;
        }
    expect(right).toBeGreaterThanOrEqual(84);
  });
});

describe("the shipped model", () => {
  const bytes = readFileSync("models/glove-twitter-25d.jwv");
  const shipped = readWordFile(bytes);
  const encoder = new WordEncoder(shipped);
  const similarity = (a: string, b: string): number => plainCosine(encoder.embed(a).values, encoder.embed(b).values);

  it("[EM-9] is the file that its page names, of 11 925 words", () => {
    expect(readFileSync("models/README.md", "utf8")).toContain(createHash("sha256").update(bytes).digest("hex"));
    expect([shipped.dimension, shipped.wordCount]).toEqual([25, 11925]);
  });

  it("[EM-9] words are as similar as in GloVe's own numbers", () => {
    // glove.twitter.27B.25d as published: dimensions 0 to 4 of "the", and cosines computed from the original text file in float64.
    const the = new WordEncoder(shipped, { normalize: false }).embed("the").values;
    for (const [at, value] of [-0.010167, 0.020194, 0.21473, 0.17289, -0.43659].entries())
      expect(Math.abs(the[at]! - value)).toBeLessThan(2e-4);
    for (const [a, b, cosine] of COSINES) expect(Math.abs(similarity(a, b) - cosine), `${a} ${b}`).toBeLessThan(1e-4);
  });

  it("[EM-5] sentences agree with the twin to 1e-5, and find what is about the same", () => {
    const all = [...shipped.words()];
    const rows = all.map((word) => {
      const sum = new Float64Array(25);
      shipped.addTo(sum, word, 1);
      return `${word} ${[...sum].join(" ")}`;
    });
    const words = plainWords(rows);
    for (const sentence of ["the weather is cold today", "I love this song so much"]) {
      const { values } = encoder.embed(sentence);
      for (const [at, value] of plainEmbedding(words, sentence).entries())
        expect(Math.abs(values[at]! - value)).toBeLessThan(1e-5);
    }
    const food = similarity("dessert recipe", "She baked a chocolate cake with fresh strawberries");
    expect(food).toBeGreaterThan(similarity("dessert recipe", "The football team won the final match") + 0.1);
  });
});

const COSINES: readonly (readonly [string, string, number])[] = [
  ["king", "queen", 0.920242],
  ["monday", "tuesday", 0.97609],
  ["cat", "dog", 0.959082],
  ["cat", "economy", 0.368093],
  ["paris", "london", 0.786686],
  ["coffee", "tea", 0.917603],
  ["the", "of", 0.968219],
  ["computer", "banana", 0.457867],
];
