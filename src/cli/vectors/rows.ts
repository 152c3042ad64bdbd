// What vector files hold, whatever their format: rows with an id, float32 values and metadata; and how a wrong one is told.
// Guarantees: a row that leaves `checkedRow` is one that the server can store, but for its dimension and the database's schema.
import { UsageError } from "../exit-codes.ts";
import { MAX_DIMENSION, MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_TEXT_BYTES } from "./limits.ts";

export interface VectorRow {
  readonly id: string;
  /** None where `text` stands for them. */
  readonly values: Float32Array;
  readonly text?: string | undefined;
  /** The exact JSON text of an object; undefined = none. */
  readonly metadata: string | undefined;
}

/** A row and where it stands. */
export interface FileRow extends VectorRow {
  /** From 1, counted over rows: empty lines and headers have none. */
  readonly number: number;
  /** For messages: `line 7` of texts, `row 7` of others. */
  readonly place: string;
  /** Of the file, read so far: for progress only. */
  readonly doneBytes: number;
}

/** Where bytes come from; memory holds no more than what was asked for. */
export interface VectorFile {
  /** As messages name it. */
  readonly name: string;
  readonly byteCount: number;
  stream(): AsyncIterable<Uint8Array>;
  slice(start: number, end: number): Promise<ArrayBuffer>;
}

export interface ReadOptions {
  /** Default: `id`. */
  readonly idColumn?: string | undefined;
  /** Default: `values`; in CSV files that have none, the columns v0, v1, … */
  readonly valuesColumn?: string | undefined;
  /** A text in place of values: the database's model makes them. It stays among the other columns, too. */
  readonly textColumn?: string | undefined;
  /** Default: `metadata`, which holds an object; where there is none, all other columns. */
  readonly metadataColumns?: readonly string[] | undefined;
  /** Ids are this and the row's number from 0, whatever the file says. */
  readonly idPrefix?: string | undefined;
}

export type RowReader = (file: VectorFile, options: ReadOptions) => AsyncGenerator<FileRow, void, undefined>;

export function malformed(file: VectorFile, place: string, what: string): UsageError {
  return new UsageError(`${file.name}${place === "" ? "" : ` ${place}`}: ${what}`);
}

const encoder = new TextEncoder();
const byteCount = (text: string): number => (text.length * 3 <= 512 ? 0 : encoder.encode(text).length);
const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 60);

/** Numbers as float32. Calls `refuse` with what is wrong. */
export function floatsOf(values: unknown, refuse: (what: string) => Error): Float32Array {
  const isList = Array.isArray(values) || (ArrayBuffer.isView(values) && !(values instanceof DataView));
  if (!isList) throw refuse(`values must be a list of numbers, not ${shown(values)}`);
  const list = values as ArrayLike<unknown>;
  if (list.length === 0 || list.length > MAX_DIMENSION)
    throw refuse(`has ${list.length} values; a vector has 1 to ${MAX_DIMENSION}`);
  const floats = new Float32Array(list.length);
  for (let at = 0; at < list.length; at++) {
    const value = list[at];
    if (typeof value !== "number") throw refuse(`value ${at} must be a number, not ${shown(value)}`);
    floats[at] = value;
    if (!Number.isFinite(floats[at])) throw refuse(`value ${at} is ${value}: no finite float32`);
  }
  return floats;
}

const NO_VALUES = new Float32Array(0);

/** Of a row whose vector is made of a text. */
export function textInPlace(text: unknown, refuse: (what: string) => Error): Pick<VectorRow, "values" | "text"> {
  if (typeof text !== "string" || text.trim() === "") throw refuse(`has no text, but ${shown(text)}`);
  if (byteCount(text) > MAX_TEXT_BYTES)
    throw refuse(`has a text of ${encoder.encode(text).length} bytes; at most ${MAX_TEXT_BYTES} are allowed`);
  return { values: NO_VALUES, text };
}

/** The row, once its id and metadata are within bounds. */
export function checkedRow(file: VectorFile, row: FileRow): FileRow {
  const { id, metadata, place } = row;
  if (id === "" || byteCount(id) > MAX_ID_BYTES)
    throw malformed(file, place, `the id must have 1 to ${MAX_ID_BYTES} bytes, not ${encoder.encode(id).length}`);
  if (metadata !== undefined && byteCount(metadata) > MAX_METADATA_BYTES)
    throw malformed(
      file,
      place,
      `metadata has ${encoder.encode(metadata).length} bytes; at most ${MAX_METADATA_BYTES} are allowed`,
    );
  return row;
}

/** Metadata of named fields; undefined ones are left out. */
export function metadataText(fields: Readonly<Record<string, unknown>>): string | undefined {
  const text = JSON.stringify(fields);
  return text === "{}" ? undefined : text;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The number with the fewest digits (6 to 9) that is this float32. */
export function floatText(float: number): string {
  if (Object.is(float, -0)) return "-0";
  if (Number.isInteger(float) && Math.abs(float) < 1e7) return String(float);
  for (const digits of [6, 7, 8]) {
    const short = Number(float.toPrecision(digits));
    if (Math.fround(short) === float) return String(short);
  }
  return String(Number(float.toPrecision(9)));
}

export function valuesText(values: Float32Array): string {
  const texts = new Array<string>(values.length);
  for (let at = 0; at < values.length; at++) texts[at] = floatText(values[at]!);
  return `[${texts.join(",")}]`;
}
