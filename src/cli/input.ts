// What commands read: values from arguments, files, standard input; and how JSON is shown without changing it.
import { readFileSync } from "node:fs";
import type { Tensors } from "../client/index.ts";
import { UsageError } from "./exit-codes.ts";

export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path === "-" ? 0 : path);
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export function readInput(path: string): string {
  return new TextDecoder().decode(readBytes(path));
}

export interface ValueFlags {
  readonly string?: boolean;
  readonly file?: string;
}

/** The value's JSON text from the argument, `--file`, or stdin. */
export function valueText(value: string | undefined, flags: ValueFlags): string {
  if (value !== undefined && flags.file !== undefined)
    throw new UsageError("give the value either as an argument or by --file");
  const text = value ?? readInput(flags.file ?? "-");
  if (flags.string) return JSON.stringify(text);
  const json = text.trim();
  try {
    JSON.parse(json);
  } catch {
    throw new UsageError("the value is not JSON; quote it, or say --string for plain text");
  }
  return json;
}

/** The parsed value where printing it gives the stored text again (but for spaces), else the text itself. */
export function exactValue(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  const value: unknown = JSON.parse(text);
  const isExact = JSON.stringify(value) === text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
  return isExact ? value : text;
}

/** The value of a flag that takes JSON. */
export function jsonOf(text: string, flag: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${flag} is not JSON`);
  }
}

/** Of `--tensor`; names, types and shapes are the server's to judge. */
export function tensorsOf(text: string): Tensors {
  const value = jsonOf(text, "--tensor");
  const isTensors =
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((tensor) => Array.isArray((tensor as { data?: unknown } | null)?.data));
  if (isTensors) return value as Tensors;
  throw new UsageError('--tensor must be a JSON object such as {"x": {"data": [1, 0, 2]}}');
}
