// Files of newline-delimited JSON of keys and values, line by line (../lines.ts).
import { createReadStream } from "node:fs";
import { memberText } from "../../client/raw-json.ts";
import { UsageError } from "../exit-codes.ts";
import { type Line, linesOf } from "../lines.ts";

/** A line may hold the largest key and value with room for escapes; more is no export of a JadeDB. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

export interface Entry {
  readonly key: string;
  /** The value's exact JSON text. */
  readonly json: string;
}

/** @param from where an earlier reading stopped. */
export function readLines(path: string, from = { offset: 0, lineNumber: 0 }): AsyncGenerator<Line, void, undefined> {
  const chunks = createReadStream(path, { start: from.offset, highWaterMark: 256 * 1024 });
  const refuse = (number: number, what: string): Error => new UsageError(`${path} line ${number}: ${what}`);
  return linesOf(chunks, { from, maxBytes: MAX_LINE_BYTES, refuse });
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
