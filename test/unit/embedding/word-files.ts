// Writers of the forms of word vectors, from their descriptions; each byte by hand, so that no reader is tested against itself.

export interface Words {
  readonly words: readonly string[];
  readonly rows: readonly (readonly number[])[];
}

const encoder = new TextEncoder();

export function textFile({ words, rows }: Words, withHeader: boolean): Uint8Array {
  const lines = words.map((word, at) => `${word} ${rows[at]!.join(" ")}`);
  if (withHeader) lines.unshift(`${words.length} ${rows[0]!.length}`);
  return encoder.encode(`${lines.join("\n")}\n`);
}

export class Bytes {
  readonly #parts: Uint8Array[] = [];

  #number(size: number, set: (view: DataView) => void): this {
    const view = new DataView(new ArrayBuffer(size));
    set(view);
    this.#parts.push(new Uint8Array(view.buffer));
    return this;
  }

  i32(...values: readonly number[]): this {
    for (const value of values) this.#number(4, (view) => view.setInt32(0, value, true));
    return this;
  }

  i64(...values: readonly number[]): this {
    for (const value of values) this.#number(8, (view) => view.setBigInt64(0, BigInt(value), true));
    return this;
  }

  f32(...values: readonly number[]): this {
    for (const value of values) this.#number(4, (view) => view.setFloat32(0, value, true));
    return this;
  }

  u8(...values: readonly number[]): this {
    this.#parts.push(Uint8Array.from(values));
    return this;
  }

  text(text: string): this {
    this.#parts.push(encoder.encode(text));
    return this;
  }

  take(): Uint8Array {
    return new Uint8Array(this.#parts.flatMap((part) => [...part]));
  }
}

export function word2vecBinary({ words, rows }: Words, newlines: boolean): Uint8Array {
  const bytes = new Bytes().text(`${words.length} ${rows[0]!.length}\n`);
  for (const [at, word] of words.entries()) {
    bytes.text(`${word} `).f32(...rows[at]!);
    if (newlines) bytes.text("\n");
  }
  return bytes.take();
}

export interface FastText extends Words {
  readonly counts: readonly number[];
  readonly buckets: readonly (readonly number[])[];
  readonly minSubword: number;
  readonly maxSubword: number;
  readonly labels?: readonly string[];
}

/** fastText's saveModel, as far as vectors go; the output matrix behind is nothing to readers of vectors. */
export function fastTextFile({
  words,
  rows,
  counts,
  buckets,
  minSubword,
  maxSubword,
  labels = [],
}: FastText): Uint8Array {
  const dimension = rows[0]!.length;
  const bytes = new Bytes().i32(793712314, 12);
  // dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate; t
  bytes.i32(dimension, 5, 5, 1, 5, 1, 2, 2, buckets.length, minSubword, maxSubword, 100).i64(0);
  bytes.i32(words.length + labels.length, words.length, labels.length);
  bytes.i64(
    counts.reduce((sum, count) => sum + count, 0),
    -1,
  );
  for (const [at, word] of words.entries()) bytes.text(word).u8(0).i64(counts[at]!).u8(0);
  for (const label of labels) bytes.text(label).u8(0).i64(1).u8(1);
  bytes.u8(0).i64(words.length + buckets.length, dimension);
  for (const row of [...rows, ...buckets]) bytes.f32(...row);
  return bytes.u8(0).i64(0, 0).take();
}
