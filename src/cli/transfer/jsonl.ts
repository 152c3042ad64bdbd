// Reads a file of newline-delimited JSON line by line, knowing where each line ends, so that reading can go on from there.
// Guarantees: lines are valid UTF-8 or an error that names the line; memory is bounded by the longest line.
import { createReadStream } from "node:fs";
import { memberText } from "../../client/raw-json.ts";
import { UsageError } from "../exit-codes.ts";

/** A line may hold the largest key and value with room for escapes; more is no export of a JadeDB. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const NEWLINE = 10;

export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
  /** Offset in the file behind the line's end. */
  readonly endOffset: number;
}

export interface Entry {
  readonly key: string;
  /** The value's exact JSON text. */
  readonly json: string;
}

/** @param from where an earlier reading stopped: a line's `endOffset` and `number`. */
export async function* readLines(
  path: string,
  from = { offset: 0, lineNumber: 0 },
): AsyncGenerator<Line, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let number = from.lineNumber;
  let offset = from.offset;
  let rest: Buffer = Buffer.alloc(0);
  const lineOf = (bytes: Buffer): Line => {
    number++;
    try {
      return { text: decoder.decode(bytes), number, endOffset: offset };
    } catch {
      throw new UsageError(`${path} line ${number}: not valid UTF-8`);
    }
  };
  for await (const chunk of createReadStream(path, { start: from.offset, highWaterMark: 256 * 1024 })) {
    const buffer = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
      offset += end + 1 - start;
      yield lineOf(buffer.subarray(start, end));
      start = end + 1;
    }
    rest = buffer.subarray(start);
    if (rest.length > MAX_LINE_BYTES)
      throw new UsageError(`${path} line ${number + 1}: longer than ${MAX_LINE_BYTES} bytes`);
  }
  if (rest.length === 0) return;
  offset += rest.length;
  yield lineOf(rest);
}

/** `{"key": …, "value": …}`; undefined for an empty line. Other members are ignored. */
export function parseEntry(path: string, line: Line): Entry | undefined {
  if (line.text.trim() === "") return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(line.text);
  } catch (error) {
    throw new UsageError(
      `${path} line ${line.number}: not JSON (${error instanceof Error ? error.message : String(error)})`,
    );
  }
  const key = (parsed as { key?: unknown } | null)?.key;
  if (typeof key !== "string" || key === "")
    throw new UsageError(`${path} line ${line.number}: has no "key" that is a string`);
  const json = memberText(line.text, "value");
  if (json === undefined) throw new UsageError(`${path} line ${line.number}: has no "value"`);
  return { key, json };
}

export function entryLine({ key, json }: Entry): string {
  return `{"key":${JSON.stringify(key)},"value":${json}}\n`;
}
