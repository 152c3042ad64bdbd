// Files of word vectors: every form gives the numbers it was written with, and what is broken is refused as such.
import { describe, expect, it } from "vitest";
import { EmbeddingRefusal } from "../../../src/embedding/refusal.ts";
import { writeCompactFile } from "../../../src/embedding/words/compact-file.ts";
import { formatOf, readWordFile } from "../../../src/embedding/words/word-file.ts";
import type { WordTable } from "../../../src/embedding/words/word-table.ts";
import { type FastText, fastTextFile, textFile, type Words, word2vecBinary } from "./word-files.ts";

let seed = 7;
const random = (): number => {
  seed = (seed * 1103515245 + 12345) % 2 ** 31;
  return seed / 2 ** 31;
};
const number = (): number => Math.fround(Number((random() * 4 - 2).toFixed(4)));
const rowOf = (dimension: number): number[] => Array.from({ length: dimension }, number);

const WORDS = ["the", "cat", "straße", "猫", "don't", "New York", "1984", "x"];
const made = (dimension: number, words: readonly string[] = WORDS): Words => ({
  words,
  rows: words.map(() => rowOf(dimension)),
});

function vectorOf(table: WordTable, word: string): readonly number[] | undefined {
  const sum = new Float64Array(table.dimension);
  return table.addTo(sum, word, 1) ? [...sum] : undefined;
}

function refusalOf(bytes: Uint8Array): string {
  try {
    readWordFile(bytes);
  } catch (error) {
    if (error instanceof EmbeddingRefusal) return error.message;
    throw error;
  }
  return "";
}

const floats = ({ rows }: Words) => rows.map((row) => Float32Array.from(row));

describe("files of word vectors", () => {
  it("[EM-1] every form is told by its beginning and gives the numbers that were written", () => {
    for (const dimension of [1, 3, 25]) {
      const words = made(dimension);
      const unspaced = made(
        dimension,
        WORDS.filter((word) => !word.includes(" ")),
      );
      const files = [
        ["text", words, textFile(words, false)],
        ["text", words, textFile(words, true)],
        ["word2vec-binary", unspaced, word2vecBinary(unspaced, true)],
        ["word2vec-binary", unspaced, word2vecBinary(unspaced, false)],
      ] as const;
      for (const [format, { words: all, rows }, bytes] of files) {
        expect(formatOf(bytes)).toBe(format);
        const table = readWordFile(bytes);
        expect([table.dimension, [...table.words()]]).toEqual([dimension, all]);
        for (const [at, word] of all.entries()) expect(vectorOf(table, word)).toEqual(rows[at]);
        expect(vectorOf(table, "absent")).toBeUndefined();
      }
      const table = readWordFile(writeCompactFile(words.words, floats(words)));
      for (const [at, word] of WORDS.entries())
        for (const [n, value] of vectorOf(table, word)!.entries()) expect(value).toBeCloseTo(words.rows[at]![n]!, 3);
    }
  });

  it("[EM-1] of two equal words the first counts; frequent words come first", () => {
    const table = readWordFile(new TextEncoder().encode("a 1 2\nb 3 4\na 5 6\n"));
    expect(vectorOf(table, "a")).toEqual([1, 2]);
    expect(table.wordCount).toBe(2);
    expect(table.frequencyOf("a")).toBeGreaterThan(table.frequencyOf("b"));
    expect(table.frequencyOf("b")).toBeGreaterThan(table.frequencyOf("absent"));
  });

  it("[EM-3] the compact form keeps similarities within 1e-4, and is the same for the same input", () => {
    const words = made(
      50,
      Array.from({ length: 60 }, (_, n) => `w${n}`),
    );
    // One number far above the others, as in real files.
    for (const row of words.rows) (row as number[])[7] = -6 - random();
    const bytes = writeCompactFile(words.words, floats(words));
    expect(bytes).toEqual(writeCompactFile(words.words, floats(words)));
    const table = readWordFile(bytes);
    const cosine = (a: readonly number[], b: readonly number[]): number =>
      a.reduce((sum, value, at) => sum + value * b[at]!, 0) / Math.hypot(...a) / Math.hypot(...b);
    for (let at = 1; at < 60; at++) {
      const kept = cosine(vectorOf(table, "w0")!, vectorOf(table, `w${at}`)!);
      expect(Math.abs(kept - cosine(words.rows[0]!, words.rows[at]!))).toBeLessThan(1e-4);
    }
  });

  it("[EM-4] what is cut, changed or contradicts itself is refused with what is wrong", () => {
    const words = made(3, ["a", "b", "c"]);
    const encode = (text: string) => new TextEncoder().encode(text);
    expect(refusalOf(encode("a 1 2\nb 3\n"))).toBe("file has 1 numbers in line 2; there are 2 in the first");
    expect(refusalOf(encode("a 1 2\nb 3 x\n"))).toBe('file has "x" in line 2, which is no number');
    expect(refusalOf(encode("a 1 2\nb 3 1e99\n"))).toContain("line 2, which is no number");
    expect(refusalOf(encode("3 2\na 1 2\nb 3 4\n"))).toBe("file has 2 words; its first line says 3");
    expect(refusalOf(encode("hello"))).toContain("0 numbers a word");
    expect(refusalOf(new Uint8Array(2))).toBe("file has 2 bytes");
    expect(refusalOf(Uint8Array.of(0x61, 0x20, 0xff, 0x0a))).toBe("file is not UTF-8 in line 1");
    const binary = word2vecBinary(made(3, ["aaaa", "bbbb", "cccc"]), true);
    expect(refusalOf(binary.slice(0, -5))).toContain("ends within word 3 of 3");
    expect(refusalOf(binary.slice(0, 20))).toContain("too few for 3 words of 3 numbers");
    const compact = writeCompactFile(words.words, floats(words));
    expect(refusalOf(compact.slice(0, -1))).toContain("its header says");
    for (let at = 4; at < compact.length; at++) {
      const changed = compact.slice();
      changed[at]! ^= 1 << (at % 8);
      expect(refusalOf(changed), `byte ${at}`).not.toBe("");
    }
    const fastText = fastTextFile(FASTTEXT);
    for (const length of [4, 40, 90, 120, fastText.length - 40])
      expect(refusalOf(fastText.slice(0, length))).toContain("ends");
  });

  it("[EM-4] random changes of any form are refused or read, and never anything else", () => {
    const words = made(3, ["a", "bb", "ccc"]);
    const files = [
      textFile(words, true),
      word2vecBinary(words, true),
      fastTextFile(FASTTEXT),
      writeCompactFile(words.words, floats(words)),
    ];
    for (const bytes of files) {
      for (let run = 0; run < 300; run++) {
        const changed = bytes.slice(0, 1 + Math.floor(random() * bytes.length));
        for (let n = 0; n < 3; n++) changed[Math.floor(random() * changed.length)] = Math.floor(random() * 256);
        refusalOf(changed);
      }
    }
  });
});

const FASTTEXT: FastText = {
  words: ["</s>", "where", "straße", "猫"],
  rows: Array.from({ length: 4 }, () => rowOf(4)),
  counts: [10, 6, 3, 1],
  buckets: Array.from({ length: 11 }, () => rowOf(4)),
  minSubword: 3,
  maxSubword: 5,
  labels: ["__label__x"],
};

/** The plain twin, over characters of a text instead of bytes. */
function plainSubwords(word: string, min: number, max: number): readonly string[] {
  const characters = [...`<${word}>`];
  const found: string[] = [];
  for (let length = min; length <= max; length++)
    for (let from = 0; from + length <= characters.length; from++) {
      const part = characters.slice(from, from + length).join("");
      if (part !== "<" && part !== ">") found.push(part);
    }
  return found;
}

function plainHash(text: string): number {
  let hash = 2166136261n;
  for (const byte of new TextEncoder().encode(text)) {
    const signed = byte > 127 ? BigInt(byte) | 0xffffff00n : BigInt(byte);
    hash = ((hash ^ signed) * 16777619n) & 0xffffffffn;
  }
  return Number(hash);
}

describe("fastText", () => {
  const table = readWordFile(fastTextFile(FASTTEXT));

  it("[EM-2] a word is the mean of its row and its hashed subwords; words never seen and other scripts too", () => {
    for (const word of ["where", "straße", "猫", "wherever", "Straßen", "日本語", "ab"]) {
      const at = FASTTEXT.words.indexOf(word);
      const rows = plainSubwords(word, 3, 5).map((part) => FASTTEXT.buckets[plainHash(part) % 11]!);
      if (at >= 0) rows.push(FASTTEXT.rows[at]!);
      const mean = [0, 1, 2, 3].map((n) => rows.reduce((sum, row) => sum + row[n]!, 0) / rows.length);
      const read = vectorOf(table, word)!;
      for (const [n, value] of mean.entries()) expect(read[n], word).toBeCloseTo(value, 6);
    }
    expect(vectorOf(table, "</s>")).toEqual(FASTTEXT.rows[0]);
    // As the inventors of FNV-1a publish it.
    expect(plainHash("a")).toBe(0xe40c292c);
  });

  it("[EM-2] frequencies are the file's counts; labels are no words; quantized files are refused", () => {
    expect(table.frequencyOf("where")).toBeCloseTo(0.3);
    expect(table.frequencyOf("unseen")).toBeCloseTo(0.05);
    expect(table.has("__label__x")).toBe(false);
    const quantized = fastTextFile({ ...FASTTEXT, labels: [] });
    const flagAt = quantized.length - 17 - 4 * 4 * 15 - 16 - 1;
    expect(quantized[flagAt]).toBe(0);
    quantized[flagAt] = 1;
    expect(refusalOf(quantized)).toContain("quantized");
  });
});
