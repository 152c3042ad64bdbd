// Texts to vectors by the vectors of their words: the mean, in which a word weighs by its inverse document frequency (IDF).
// Guarantees: a text's vector does not depend on the texts beside it; what has no word that the model knows is refused, for a zero vector is
// near nothing. Must not: tell senses of a word apart: "bank" has one vector (docs/embeddings.md).
import { englishStems } from "./inflections.ts";
import { DEFAULT_MAX_TOKENS, IDF_DOCUMENT_WORDS, MAX_NAMED_WORDS, MAX_TEXT_BYTES } from "./limits.ts";
import { EmbeddingRefusal, invalid } from "./refusal.ts";
import { formsOf, tokensOf } from "./tokens.ts";
import type { WordTable } from "./words/word-table.ts";

export interface WordEncoderOptions {
  /** To length 1. Default: true. */
  readonly normalize?: boolean | undefined;
  /** What a word weighs. Default: idf. */
  readonly pooling?: "idf" | "mean" | undefined;
  /** A word that is not held takes the vector of the word that it is a form of: "kittens" that of "kitten". Default: none. */
  readonly inflections?: "english" | undefined;
  /** A text of more is refused. */
  readonly maxTokens?: number | undefined;
}

export interface Embedding {
  readonly values: Float32Array;
  /** Words of the text. */
  readonly tokens: number;
  /** Of them, those without a vector of their own. */
  readonly unknownTokens: number;
}

/**
 * log(1 / share of documents that hold the word), of documents of so many words as IDF_DOCUMENT_WORDS says, drawn word by word.
 * Spärck Jones 1972; files of word vectors count words, not documents.
 */
export function idfOf(frequency: number): number {
  const inDocument = -Math.expm1(IDF_DOCUMENT_WORDS * Math.log1p(-Math.min(frequency, 0.5)));
  return -Math.log(inDocument);
}

export class WordEncoder {
  readonly dimension: number;
  readonly #table: WordTable;
  readonly #normalize: boolean;
  readonly #weightOf: (word: string) => number;
  readonly #maxTokens: number;
  readonly #stemsOf: (word: string) => readonly string[];

  constructor(
    table: WordTable,
    { normalize = true, pooling = "idf", maxTokens, inflections }: WordEncoderOptions = {},
  ) {
    this.dimension = table.dimension;
    this.#table = table;
    this.#normalize = normalize;
    this.#weightOf = pooling === "idf" ? (word) => idfOf(table.frequencyOf(word)) : () => 1;
    this.#maxTokens = maxTokens ?? DEFAULT_MAX_TOKENS;
    this.#stemsOf = inflections === "english" ? englishStems : () => [];
  }

  get memoryBytes(): number {
    return this.#table.memoryBytes;
  }

  /** @throws EmbeddingRefusal: empty, too long, or without a word that is known */
  embed(text: string, path = "input"): Embedding {
    requireText(text, path);
    const sum = new Float64Array(this.dimension);
    let weights = 0;
    let tokens = 0;
    const unknown: string[] = [];
    for (const token of tokensOf(text)) {
      if (++tokens > this.#maxTokens)
        throw invalid(path, `has more than ${this.#maxTokens} tokens`, { limit: this.#maxTokens });
      let word = this.#heldForm(token);
      if (word === undefined) {
        unknown.push(token);
        word = this.#stemsOf(token.toLowerCase()).find((stem) => this.#table.has(stem));
      }
      const weight = this.#weightOf(word ?? token);
      // With subwords a word that is not held has a vector too.
      if (this.#table.addTo(sum, word ?? token, weight)) weights += weight;
    }
    if (weights === 0) throw noKnownWord(path, unknown, this.#table.wordCount);
    return { values: this.#finished(sum, weights, path), tokens, unknownTokens: unknown.length };
  }

  #heldForm(token: string): string | undefined {
    return formsOf(token).find((form) => this.#table.has(form));
  }

  #finished(sum: Float64Array, weights: number, path: string): Float32Array {
    const length = this.#normalize ? Math.hypot(...sum) : weights;
    if (length === 0)
      throw new EmbeddingRefusal("invalidRequest", `${path} has words whose vectors cancel each other out`);
    return Float32Array.from(sum, (value) => value / length);
  }
}

/** Which words, how many the model has, and what to do. */
function noKnownWord(path: string, unknown: readonly string[], knownWords: number): EmbeddingRefusal {
  if (unknown.length === 0) return invalid(path, "has no word");
  const unknownWords = [...new Set(unknown)].slice(0, MAX_NAMED_WORDS).map((word) => word.slice(0, 100));
  const named = unknownWords.map((word) => JSON.stringify(word)).join(", ");
  const more = unknown.length > unknownWords.length ? `, … (${unknown.length} words)` : "";
  const advice = "use other words, or register a larger file of word vectors (jade-db model add)";
  const message = `has no word that the model knows: ${named}${more}; it has ${knownWords} words: ${advice}`;
  return invalid(path, message, { unknownWords, knownWords });
}

/** @throws EmbeddingRefusal */
export function requireText(text: string, path: string): void {
  if (text.trim() === "") throw invalid(path, "is empty");
  if (!text.isWellFormed()) throw invalid(path, "is not valid Unicode: it has half a surrogate pair");
  // At least a byte a character: most texts need not be encoded to be measured.
  const size = text.length * 3 <= MAX_TEXT_BYTES ? 0 : new TextEncoder().encode(text).length;
  if (size > MAX_TEXT_BYTES)
    throw invalid(path, `has ${size} bytes; the limit is ${MAX_TEXT_BYTES}`, { value: size, limit: MAX_TEXT_BYTES });
}
