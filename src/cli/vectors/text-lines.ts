// Lines of a UTF-8 stream.
// Guarantees: bytes that are not UTF-8, and lines that are too long, are errors that name the line.
import { MAX_RECORD_CHARACTERS } from "./limits.ts";
import { malformed, type VectorFile } from "./rows.ts";

const NEWLINE = 10;

export interface TextLine {
  readonly text: string;
  /** From 1. */
  readonly lineNumber: number;
  /** Of the stream, read so far. */
  readonly doneBytes: number;
}

export async function* textLines(file: VectorFile): AsyncGenerator<TextLine, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let [lineNumber, doneBytes] = [0, 0];
  let rest = new Uint8Array(0);
  const lineOf = (bytes: Uint8Array): TextLine => {
    lineNumber++;
    try {
      return { text: decoder.decode(bytes), lineNumber, doneBytes };
    } catch {
      throw malformed(file, `line ${lineNumber}`, "not valid UTF-8");
    }
  };
  for await (const chunk of file.stream()) {
    const buffer = rest.length === 0 ? chunk : joined(rest, chunk);
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
      doneBytes += end + 1 - start;
      yield lineOf(buffer.subarray(start, end));
      start = end + 1;
    }
    rest = buffer.slice(start);
    if (rest.length > MAX_RECORD_CHARACTERS)
      throw malformed(file, `line ${lineNumber + 1}`, `longer than ${MAX_RECORD_CHARACTERS} bytes`);
  }
  doneBytes += rest.length;
  if (rest.length > 0) yield lineOf(rest);
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
