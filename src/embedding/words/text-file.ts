// Word vectors as text: GloVe's (a line a word) and word2vec's (the same after a line with the number of words and of dimensions).
// Guarantees: a line that does not fit is told by its number; the first of two equal words counts. Must not: do I/O.
import { MAX_OUTPUT_DIMENSION, MAX_WORDS } from "../limits.ts";
import { badFile } from "../refusal.ts";
import { FloatRows, PlainWordTable, type WordTable } from "./word-table.ts";

const NEWLINE = 0x0a;
const HEADER = /^(\d{1,10}) (\d{1,6})\s*$/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Line {
  readonly number: number;
  readonly text: string;
}

function* linesOf(bytes: Uint8Array): Generator<Line> {
  let number = 0;
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(NEWLINE, start);
    const end = found < 0 ? bytes.length : found;
    number++;
    let text: string;
    try {
      text = decoder.decode(bytes.subarray(start, end));
    } catch {
      throw badFile(`is not UTF-8 in line ${number}`);
    }
    // Not every white space: words of these files hold no-break spaces.
    text = text.replace(/[ \t\r]+$/, "");
    if (text !== "") yield { number, text };
    start = end + 1;
  }
}

/** Words that hold spaces are known of GloVe: the numbers are the last fields of a line. */
function split(
  { number, text }: Line,
  dimension: number,
): { readonly word: string; readonly fields: readonly string[] } {
  const fields = text.split(/[ \t]+/);
  if (fields.length < dimension + 1)
    throw badFile(`has ${fields.length - 1} numbers in line ${number}; there are ${dimension} in the first`);
  const numbers = fields.slice(fields.length - dimension);
  const word = fields.slice(0, fields.length - dimension).join(" ");
  return { word, fields: numbers };
}

/** Values of all words; grows, for GloVe's files do not say how many words there are. */
class Rows {
  #values: Float32Array;
  #length = 0;

  constructor(capacity: number) {
    this.#values = new Float32Array(capacity);
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = new Float32Array(Math.max(1024, this.#length * 2));
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length++] = value;
  }

  take(): Float32Array {
    return this.#length === this.#values.length ? this.#values : this.#values.slice(0, this.#length);
  }
}

/** How many words and numbers a first line says; undefined = it is no such line. */
export function headerOf(text: string): { readonly wordCount: number; readonly dimension: number } | undefined {
  const match = HEADER.exec(text);
  return match ? { wordCount: Number(match[1]), dimension: Number(match[2]) } : undefined;
}

/** @throws EmbeddingRefusal */
export function readTextFile(bytes: Uint8Array): WordTable {
  const places = new Map<string, number>();
  let header: ReturnType<typeof headerOf>;
  let dimension = 0;
  let rows = new Rows(0);
  let lineCount = 0;
  for (const line of linesOf(bytes)) {
    if (line.number === 1) {
      header = headerOf(line.text);
      dimension = header?.dimension ?? line.text.split(/[ \t]+/).length - 1;
      requireShape(dimension, header?.wordCount ?? 1);
      rows = new Rows(
        (header?.wordCount ?? 0) <= bytes.length ? (header?.wordCount ?? 0) * Math.min(dimension, 64) : 0,
      );
      if (header) continue;
    }
    const { word, fields } = split(line, dimension);
    lineCount++;
    if (places.has(word)) continue;
    if (places.size >= MAX_WORDS) throw badFile(`has more than ${MAX_WORDS} words`);
    places.set(word, places.size);
    for (const field of fields) {
      const value = Math.fround(Number(field));
      if (!Number.isFinite(value) || field === "")
        throw badFile(`has ${JSON.stringify(field.slice(0, 40))} in line ${line.number}, which is no number`);
      rows.push(value);
    }
  }
  if (header && header.wordCount !== lineCount)
    throw badFile(`has ${lineCount} words; its first line says ${header.wordCount}`);
  if (places.size === 0) throw badFile("holds no word");
  return new PlainWordTable(dimension, places, new FloatRows(rows.take(), dimension));
}

/** @throws EmbeddingRefusal */
export function requireShape(dimension: number, wordCount: number): void {
  if (dimension < 1 || dimension > MAX_OUTPUT_DIMENSION)
    throw badFile(`has ${dimension} numbers a word; 1 to ${MAX_OUTPUT_DIMENSION} are possible`);
  if (wordCount < 1 || wordCount > MAX_WORDS) throw badFile(`has ${wordCount} words; 1 to ${MAX_WORDS} are possible`);
}
