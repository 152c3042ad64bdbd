// The slow, obvious twin of word-encoder.ts over lines of a text file: everything in plain numbers, word by word.

export type PlainWords = ReadonlyMap<string, { readonly rank: number; readonly values: readonly number[] }>;

export function plainWords(lines: readonly string[]): PlainWords {
  const words = new Map<string, { rank: number; values: readonly number[] }>();
  for (const line of lines) {
    const [word = "", ...numbers] = line.trim().split(" ");
    if (!words.has(word)) words.set(word, { rank: words.size + 1, values: numbers.map(Number) });
  }
  return words;
}

/** Words in lower case that the table holds; IDF of documents of 25 words, frequencies by Zipf's law. */
export function plainEmbedding(words: PlainWords, text: string): readonly number[] {
  let harmonic = 0;
  for (let rank = 1; rank <= words.size; rank++) harmonic += 1 / rank;
  const sum: number[] = [];
  for (const token of text.toLowerCase().split(/[^a-z]+/)) {
    const held = words.get(token);
    if (!held) continue;
    const frequency = 1 / (held.rank * harmonic);
    const idf = Math.log(1 / (1 - (1 - frequency) ** 25));
    for (const [at, value] of held.values.entries()) sum[at] = (sum[at] ?? 0) + idf * value;
  }
  const length = Math.sqrt(sum.reduce((all, value) => all + value * value, 0));
  return sum.map((value) => value / length);
}

export function plainCosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let at = 0; at < a.length; at++) {
    dot += a[at]! * b[at]!;
    aa += a[at]! ** 2;
    bb += b[at]! ** 2;
  }
  return dot / Math.sqrt(aa * bb);
}
