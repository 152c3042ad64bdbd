// JWV1: word vectors as 16-bit codes with a scale a word; half the size of float32, and similarities within 1e-4.
// Little endian: "JWV1" · u32 dimension · u32 words · u32 bytes of the words · u32 CRC32C of all that follows · words (UTF-8, each ended by
// a newline), padded to 4 bytes · float32 scales, one a word · int16 codes, word after word. Words stand in the order of their frequency.
// Guarantees: a file that was cut or changed is refused. Must not: do I/O.
import { crc32c } from "../../wire/crc32c.ts";
import { MAX_OUTPUT_DIMENSION, MAX_WORDS } from "../limits.ts";
import { badFile } from "../refusal.ts";
import { CodedRows, PlainWordTable, type WordTable } from "./word-table.ts";

export const COMPACT_MAGIC = "JWV1";
const HEADER_BYTES = 20;
const MAX_CODE = 32767;

const padded = (length: number): number => (length + 3) & ~3;

/** @param rows each of one length; a row of zeros stays one */
export function writeCompactFile(words: readonly string[], rows: readonly Float32Array[]): Uint8Array {
  const dimension = rows[0]!.length;
  const text = new TextEncoder().encode(words.map((word) => `${word}\n`).join(""));
  const scalesAt = HEADER_BYTES + padded(text.length);
  const codesAt = scalesAt + words.length * 4;
  const bytes = new Uint8Array(codesAt + words.length * dimension * 2);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(COMPACT_MAGIC));
  bytes.set(text, HEADER_BYTES);
  for (const [row, values] of rows.entries()) {
    const scale = Math.fround(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / MAX_CODE);
    view.setFloat32(scalesAt + row * 4, scale, true);
    for (const [at, value] of values.entries()) {
      const code = scale === 0 ? 0 : Math.max(-MAX_CODE, Math.min(MAX_CODE, Math.round(value / scale)));
      view.setInt16(codesAt + (row * dimension + at) * 2, code, true);
    }
  }
  for (const [at, value] of [dimension, words.length, text.length].entries()) view.setUint32(4 + at * 4, value, true);
  view.setUint32(16, crc32c(bytes.subarray(HEADER_BYTES)), true);
  return bytes;
}

/** @throws EmbeddingRefusal */
export function readCompactFile(bytes: Uint8Array): WordTable {
  if (bytes.length < HEADER_BYTES) throw badFile(`ends after ${bytes.length} bytes, within its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [dimension, wordCount, textBytes] = [4, 8, 12].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
  ];
  if (dimension < 1 || dimension > MAX_OUTPUT_DIMENSION)
    throw badFile(`has ${dimension} numbers a word; 1 to ${MAX_OUTPUT_DIMENSION} are possible`);
  if (wordCount < 1 || wordCount > MAX_WORDS) throw badFile(`has ${wordCount} words; 1 to ${MAX_WORDS} are possible`);
  const scalesAt = HEADER_BYTES + padded(textBytes);
  const codesAt = scalesAt + wordCount * 4;
  const length = codesAt + wordCount * dimension * 2;
  if (bytes.length !== length) throw badFile(`has ${bytes.length} bytes; its header says ${length}`);
  if (crc32c(bytes.subarray(HEADER_BYTES)) !== view.getUint32(16, true)) throw badFile("fails its CRC32C");
  const places = placesOf(bytes.subarray(HEADER_BYTES, HEADER_BYTES + textBytes), wordCount);
  const scales = new Float32Array(copyOf(bytes.subarray(scalesAt, codesAt)));
  const codes = new Int16Array(copyOf(bytes.subarray(codesAt)));
  return new PlainWordTable(dimension, places, new CodedRows(codes, scales, dimension));
}

/** Typed arrays of numbers must begin at a multiple of their size. (Node's Buffer has another `slice`.) */
export function copyOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function placesOf(text: Uint8Array, wordCount: number): ReadonlyMap<string, number> {
  const words = new TextDecoder().decode(text).split("\n");
  // Behind the last newline there is nothing.
  if (words.length !== wordCount + 1 || words.at(-1) !== "")
    throw badFile(`names ${words.length - 1} words; its header says ${wordCount}`);
  words.pop();
  const places = new Map<string, number>();
  for (const [row, word] of words.entries()) if (!places.has(word)) places.set(word, row);
  return places;
}
