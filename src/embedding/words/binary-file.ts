// word2vec's binary form: a line with the number of words and of dimensions, then each word, a space, its float32 numbers.
// Guarantees: a file that was cut is refused, with the word at which it ends. Must not: do I/O.
import { MAX_WORD_BYTES } from "../limits.ts";
import { badFile } from "../refusal.ts";
import { headerOf, requireShape } from "./text-file.ts";
import { FloatRows, PlainWordTable, type WordTable } from "./word-table.ts";

const NEWLINE = 0x0a;
const SPACE = 0x20;
const MAX_HEADER_BYTES = 40;

/** @throws EmbeddingRefusal */
export function readWord2vecBinary(bytes: Uint8Array): WordTable {
  const newline = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(NEWLINE);
  const header = newline < 0 ? undefined : headerOf(new TextDecoder().decode(bytes.subarray(0, newline)));
  if (!header) throw badFile("does not begin with the number of its words and dimensions");
  const { wordCount, dimension } = header;
  requireShape(dimension, wordCount);
  const rowBytes = dimension * 4;
  // Before memory is asked for by a number that a file says.
  if (bytes.length < newline + 1 + wordCount * (rowBytes + 2))
    throw badFile(`has ${bytes.length} bytes, too few for ${wordCount} words of ${dimension} numbers`);
  const values = new Float32Array(wordCount * dimension);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Words of some files were cut in the middle of a character.
  const decoder = new TextDecoder();
  const places = new Map<string, number>();
  let at = newline + 1;
  for (let row = 0; row < wordCount; row++) {
    // The original writes a newline behind each vector, others do not.
    while (bytes[at] === NEWLINE) at++;
    const end = bytes.subarray(at, at + MAX_WORD_BYTES + 1).indexOf(SPACE);
    if (end < 0 || at + end + 1 + rowBytes > bytes.length) throw badFile(`ends within word ${row + 1} of ${wordCount}`);
    const word = decoder.decode(bytes.subarray(at, at + end));
    at += end + 1;
    for (let n = 0; n < dimension; n++, at += 4) {
      const value = view.getFloat32(at, true);
      if (!Number.isFinite(value)) throw badFile(`has a number that is not finite at word ${row + 1}`);
      values[row * dimension + n] = value;
    }
    if (!places.has(word)) places.set(word, row);
  }
  return new PlainWordTable(dimension, places, new FloatRows(values, dimension));
}
