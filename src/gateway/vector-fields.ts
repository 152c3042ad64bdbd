// Fields of vectors: numbers to float32 and back, metadata as the very bytes that came, ids.
// Guarantees: a float32 is written with the fewest digits (of 7 to 9) that give it back; metadata is never parsed again.
// Must not: judge dimension or meaning; shards do.
import { hexOf } from "../access/api-key.ts";
import { MAX_DIMENSION } from "../vector/index/limits.ts";
import { rawMember } from "../wire/raw-json.ts";
import type { VectorFailure, VectorInput } from "../wire/vector.ts";
import type { RawObject } from "./config-fields.ts";
import { itemOfFields, type PlacedItem } from "./embed-items.ts";
import { echo, invalidRequest, parseWith } from "./issues.ts";
import { batchItem } from "./vector-schemas.ts";

const NO_BYTES = new Uint8Array(0);
export const VALUES_NEEDED = "is required, or text, image or tensor";

/** float32 bytes of JSON numbers. */
export function floatsOf(values: unknown, path: string): Uint8Array {
  if (!Array.isArray(values)) throw invalidRequest([{ path, message: "must be an array of numbers" }]);
  const { length } = values;
  if (length === 0 || length > MAX_DIMENSION)
    throw invalidRequest([{ path, message: `has ${length} numbers`, value: length, limit: MAX_DIMENSION }]);
  const floats = new Float32Array(length);
  for (let at = 0; at < length; at++) {
    const number: unknown = values[at];
    if (typeof number !== "number")
      throw invalidRequest([{ path: `${path}[${at}]`, message: "must be a number", value: echo(number) }]);
    floats[at] = number;
  }
  return new Uint8Array(floats.buffer);
}

/** `[…]`, each number as short as 7 to 9 digits allow. */
export function shownFloats(bytes: Uint8Array): string {
  const floats = new Float32Array(bytes.slice().buffer);
  const texts: string[] = [];
  for (const float of floats) texts.push(shortest(float));
  return `[${texts.join(",")}]`;
}

function shortest(float: number): string {
  if (Number.isInteger(float) && Math.abs(float) < 1e7) return Object.is(float, -0) ? "-0" : String(float);
  for (const digits of [7, 8]) {
    const short = Number(float.toPrecision(digits));
    if (Math.fround(short) === float) return String(short);
  }
  return String(Number(float.toPrecision(9)));
}

/** The member's text as it stands in the body. */
export function metadataOf(raw: RawObject): Uint8Array | undefined {
  const slice = rawMember(raw.bytes, "metadata", raw.start);
  return slice && raw.bytes.subarray(slice.start, slice.end);
}

/** Ids that are made follow from the write id: a repeated request makes the same ones. */
export function madeId(writeId: Uint8Array, index = 0): string {
  return `vec_${hexOf(writeId)}${index === 0 ? "" : `_${index}`}`;
}

export interface ReadItem {
  readonly input: VectorInput;
  /** In place of values. */
  readonly given?: PlacedItem | undefined;
}

/** One of many. @throws PublicError with paths relative to the item */
export function itemOf(json: unknown, raw: RawObject, ownId: string): ReadItem {
  const { id = ownId, values, metadata, ...fields } = parseWith(batchItem, json);
  const bytes = metadata === undefined ? NO_BYTES : (metadataOf(raw) ?? NO_BYTES);
  const given = itemOfFields(fields);
  if (!given && values === undefined) throw invalidRequest([{ path: "values", message: VALUES_NEEDED }]);
  if (!given) return { input: { id, values: floatsOf(values, "values"), metadata: bytes } };
  if (values !== undefined)
    throw invalidRequest([{ path: given.path, message: "is given beside values; give one of them" }]);
  return { input: { id, values: NO_BYTES, metadata: bytes }, given };
}

/** The failure of one item, told by its place in the request instead of `from`, its place in a part of it. */
export function placedFailure(failure: Omit<VectorFailure, "kind">, from: string, at: string): VectorFailure {
  const move = (text: string): string => {
    if (from !== "") return text.startsWith(from) ? at + text.slice(from.length) : text;
    return text === ""
      ? at
      : /^(id|values|metadata|text|image|tensor)\b/.test(text)
        ? `${at}.${text}`
        : `${at}: ${text}`;
  };
  const { code, message, details } = failure;
  const issues = details?.["issues"];
  if (!Array.isArray(issues)) return { kind: "error", code, message: move(message), ...(details && { details }) };
  const moved = (issues as { path: string }[]).map((issue) => ({
    ...issue,
    path:
      from === "" && !/^(id|values|metadata|text|image|tensor)\b/.test(issue.path)
        ? `${at}.${issue.path}`
        : move(issue.path),
  }));
  return { kind: "error", code, message: move(message), details: { ...details, issues: moved } };
}
