// The lines of a page of an import, and the transactions that they are written in.
// Guarantees: a page is judged whole before anything of it is written, and what is wrong names its line; the same page is always
// split in the same way. Pure.
import { MAX_TXN_OPERATIONS, MAX_VALUE_BYTES } from "../config/limits.ts";
import type { BinaryKey, LeaseId } from "../wire/config.ts";
import { PublicError } from "../wire/error-codes.ts";
import { camelNames, keyFrom, valueFrom } from "./config-fields.ts";
import * as schemas from "./config-schemas.ts";
import { type Issue, invalidRequest, parseWith } from "./issues.ts";
import { IMPORT_TXN_BYTES, IMPORT_TXN_KEY_BYTES, MAX_CONFIG_IMPORT_LINES } from "./limits.ts";

export interface ImportLine {
  /** In the page, from 1. */
  readonly number: number;
  readonly key: BinaryKey;
  readonly value: Uint8Array;
  /** "" = none. */
  readonly lease: LeaseId;
}

const NEWLINE = 0x0a;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function lineIssue(number: number, message: string, more: Partial<Issue> = {}): PublicError {
  return invalidRequest([{ path: `line ${number}`, message, ...more }]);
}

/** Issues of a line's fields, with the line's number. */
function atLine(number: number, error: unknown): unknown {
  if (!(error instanceof PublicError) || error.code !== "invalidRequest") return error;
  const issues = (error.details?.["issues"] ?? []) as readonly Issue[];
  return invalidRequest(issues.map((issue) => ({ ...issue, path: `line ${number}: ${issue.path}` })));
}

function objectOf(bytes: Uint8Array, number: number): Record<string, unknown> {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw lineIssue(number, "is not valid UTF-8");
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The engine's message quotes the text: it may hold a value.
    throw lineIssue(number, "is not complete, valid JSON");
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw lineIssue(number, "must be a JSON object");
}

/** Undefined = the last line of an export's page. */
function lineOf(bytes: Uint8Array, number: number): ImportLine | undefined {
  const json = objectOf(bytes, number);
  if (Object.hasOwn(json, "cursor") && !Object.hasOwn(json, "key")) return undefined;
  camelNames(json);
  try {
    const { key, keyEncoding = "utf8", valueEncoding = "json", value, leaseId } = parseWith(schemas.importLine, json);
    const member = { parsed: value, names: ["value"], path: "value" };
    const stored = valueFrom(member, { bytes, start: 0 }, valueEncoding);
    if (stored.length > MAX_VALUE_BYTES) {
      const message = `has ${stored.length} bytes, the limit is ${MAX_VALUE_BYTES}`;
      throw invalidRequest([{ path: "value", message, value: stored.length, limit: MAX_VALUE_BYTES }]);
    }
    return { number, key: keyFrom(key, keyEncoding), value: stored, lease: leaseId ?? "" };
  } catch (error) {
    throw atLine(number, error);
  }
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

/** Throws `invalidRequest` for the first line that is wrong. */
export function readImportPage(bytes: Uint8Array): readonly ImportLine[] {
  const lines: ImportLine[] = [];
  const numbers = new Map<BinaryKey, number>();
  let number = 0;
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(NEWLINE, start);
    const end = found < 0 ? bytes.length : found;
    const text = bytes.subarray(start, end);
    start = end + 1;
    number++;
    const line = isBlank(text) ? undefined : lineOf(text, number);
    if (!line) continue;
    const first = numbers.get(line.key);
    if (first !== undefined) throw lineIssue(number, `has the key of line ${first}; a page may hold each key once`);
    if (lines.length >= MAX_CONFIG_IMPORT_LINES) {
      const message = `is over the limit of ${MAX_CONFIG_IMPORT_LINES} keys a page; send the file in pages`;
      throw lineIssue(number, message, { limit: MAX_CONFIG_IMPORT_LINES });
    }
    numbers.set(line.key, number);
    lines.push(line);
  }
  return lines;
}

/** Lines in transactions. Depends on keys and values only, so that a repetition has the same parts. */
export function transactionsOf(lines: readonly ImportLine[]): readonly (readonly ImportLine[])[] {
  const transactions: ImportLine[][] = [];
  let current: ImportLine[] = [];
  let bytes = 0;
  let keyBytes = 0;
  for (const line of lines) {
    const isFull =
      current.length >= MAX_TXN_OPERATIONS ||
      bytes > IMPORT_TXN_BYTES ||
      keyBytes + line.key.length > IMPORT_TXN_KEY_BYTES;
    if (isFull || current.length === 0) {
      current = [];
      transactions.push(current);
      bytes = 0;
      keyBytes = 0;
    }
    current.push(line);
    bytes += line.key.length + line.value.length;
    keyBytes += line.key.length;
  }
  return transactions;
}
