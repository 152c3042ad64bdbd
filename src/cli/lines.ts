// Lines of a stream of UTF-8 bytes, and where each ends, so that reading can go on from there.
// Guarantees: bytes that are not UTF-8, and lines that are too long, are errors that name the line; memory is bounded by the longest line.
const NEWLINE = 10;

export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
  /** Offset in the stream behind the line's end. */
  readonly endOffset: number;
}

export interface LineOptions {
  /** Where an earlier reading stopped, and the bytes begin: a line's `endOffset` and `number`. */
  readonly from?: { readonly offset: number; readonly lineNumber: number } | undefined;
  /** Of a line. Bytes. */
  readonly maxBytes: number;
  readonly refuse: (lineNumber: number, what: string) => Error;
}

/** @throws what `refuse` makes */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  { from, maxBytes, refuse }: LineOptions,
): AsyncGenerator<Line, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let { offset, lineNumber: number } = from ?? { offset: 0, lineNumber: 0 };
  let rest = new Uint8Array(0);
  const lineOf = (bytes: Uint8Array): Line => {
    number++;
    try {
      return { text: decoder.decode(bytes), number, endOffset: offset };
    } catch {
      throw refuse(number, "not valid UTF-8");
    }
  };
  for await (const chunk of chunks) {
    const buffer = rest.length === 0 ? chunk : joined(rest, chunk);
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
      offset += end + 1 - start;
      yield lineOf(buffer.subarray(start, end));
      start = end + 1;
    }
    rest = Uint8Array.from(buffer.subarray(start));
    if (rest.length > maxBytes) throw refuse(number + 1, `longer than ${maxBytes} bytes`);
  }
  if (rest.length === 0) return;
  offset += rest.length;
  yield lineOf(rest);
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
