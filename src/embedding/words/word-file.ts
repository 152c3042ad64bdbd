// Any file of word vectors, told apart by how it begins.
// Guarantees: what is none of the known forms is refused. Must not: do I/O.
import { badFile } from "../refusal.ts";
import { readWord2vecBinary } from "./binary-file.ts";
import { COMPACT_MAGIC, readCompactFile } from "./compact-file.ts";
import { FASTTEXT_MAGIC, readFastTextFile } from "./fasttext-file.ts";
import { headerOf, readTextFile } from "./text-file.ts";
import type { WordTable } from "./word-table.ts";

export type WordFileFormat = "compact" | "fasttext" | "word2vec-binary" | "text";

const MAX_HEADER_BYTES = 40;
/** So much of the first word is looked at. */
const PROBE_BYTES = 4096;

/** @throws EmbeddingRefusal where there is nothing to look at */
export function formatOf(bytes: Uint8Array): WordFileFormat {
  if (bytes.length < 4) throw badFile(`has ${bytes.length} bytes`);
  if (new TextDecoder().decode(bytes.subarray(0, 4)) === COMPACT_MAGIC) return "compact";
  if (new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true) === FASTTEXT_MAGIC) return "fasttext";
  const newline = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a);
  const header = newline < 0 ? undefined : headerOf(new TextDecoder().decode(bytes.subarray(0, newline)));
  return header && !isTextLine(bytes.subarray(newline + 1), header.dimension) ? "word2vec-binary" : "text";
}

/** The numbers behind the first word are digits, or float32. */
function isTextLine(bytes: Uint8Array, dimension: number): boolean {
  const newline = bytes.indexOf(0x0a);
  const end = newline < 0 ? bytes.length : newline;
  const fields = new TextDecoder().decode(bytes.subarray(0, Math.min(end, PROBE_BYTES))).split(/[ \t\r]+/);
  const numbers = fields.slice(1, Math.min(fields.length - 1, dimension + 1));
  if (numbers.length === 0) return fields.length === 2 && /^-?[\d.]+(e[-+]?\d+)?$/i.test(fields[1]!);
  return numbers.every((field) => /^[-+]?[\d.]+(e[-+]?\d+)?$/i.test(field));
}

/** @throws EmbeddingRefusal */
export function readWordFile(bytes: Uint8Array): WordTable {
  const format = formatOf(bytes);
  switch (format) {
    case "compact":
      return readCompactFile(bytes);
    case "fasttext":
      return readFastTextFile(bytes);
    case "word2vec-binary":
      return readWord2vecBinary(bytes);
    case "text":
      return readTextFile(bytes);
    default:
      return format satisfies never;
  }
}
