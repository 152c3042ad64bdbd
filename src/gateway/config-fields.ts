// Fields of /v1/config: where they come from, and the bytes that keys and values stand for.
// Guarantees: each field is given once, in the query or in the body; JSON values are exact slices of the body. Must not: judge
// what the schemas judge.
import type { z } from "@hono/zod-openapi";
import { MAX_KEY_BYTES } from "../config/limits.ts";
import type { BinaryKey, KeyRange } from "../wire/config.ts";
import { keyOfBytes, keyOfText, NO_END, prefixRange } from "../wire/config-keys.ts";
import { rawMember } from "../wire/raw-json.ts";
import type { KeyEncoding, ValueEncoding } from "./config-schemas.ts";
import { invalidRequest, parseWith } from "./issues.ts";
import { parseQuery } from "./query.ts";

const BOOLEANS: ReadonlySet<string> = new Set([
  ...["ifAbsent", "sequential", "prevKv", "ignoreValue", "ignoreLease"],
  ...["keysOnly", "countOnly", "withCount", "keys"],
  ...["includeMetadata", "includeValues", "atomic"],
]);
const NUMBERS: ReadonlySet<string> = new Set([
  ...["ifModRevision", "ifVersion", "limit", "aboveRevision", "revision", "maxStalenessMs", "fencingToken"],
  ...["minModRevision", "maxModRevision", "minCreateRevision", "maxCreateRevision", "part"],
]);
const encoder = new TextEncoder();
const EMPTY_RANGE: KeyRange = { key: "\x01", rangeEnd: "\x01" };
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** `mod_revision` is `modRevision`; where both are given the strict schema refuses the second. */
export function camelNames(json: Record<string, unknown>): void {
  for (const name of Object.keys(json)) {
    if (!/^[a-z]+(_[a-z]+)+$/.test(name)) continue;
    const camel = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (Object.hasOwn(json, camel)) continue;
    json[camel] = json[name];
    delete json[name];
  }
}

export function queryFields(search: string): Record<string, unknown> {
  const fields: Record<string, unknown> = parseQuery(search);
  camelNames(fields);
  for (const [name, text] of Object.entries(fields)) {
    if (BOOLEANS.has(name) && (text === "true" || text === "false")) fields[name] = text === "true";
    // Digits only, so that `1e2` and `0x10` are no numbers.
    else if (NUMBERS.has(name) && /^(?:-(?=[1-9]))?[0-9]{1,16}$/.test(text as string)) fields[name] = Number(text);
  }
  return fields;
}

export function parsedQuery<Q extends z.ZodType>(schema: Q, search: string): z.output<Q> {
  return parseWith(schema, queryFields(search));
}

export function requireOnce(query: Readonly<Record<string, unknown>>, body: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(body)) {
    if (query[name] === undefined || body[name] === undefined) continue;
    throw invalidRequest([{ path: name, message: "is given in the query and in the body" }]);
  }
}

export function bytesOfBase64(text: string, path: string): Uint8Array {
  const refuse = () => invalidRequest([{ path, message: "is not base64" }]);
  if (!BASE64.test(text)) throw refuse();
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  } catch {
    throw refuse();
  }
}

/** 1 to `limit` bytes. */
export function keyFrom(text: string, encoding: KeyEncoding, path = "key", limit = MAX_KEY_BYTES): BinaryKey {
  const key = boundFrom(text, encoding, path, limit);
  if (key === "")
    throw invalidRequest([{ path, message: `must not be empty: it has 1 to ${limit} bytes`, value: text, limit }]);
  return key;
}

/** An end of a range may be empty, and one byte longer than a key. */
function boundFrom(text: string, encoding: KeyEncoding, path: string, limit: number): BinaryKey {
  if (!text.isWellFormed()) throw invalidRequest([{ path, message: "holds half of a surrogate pair" }]);
  const key = encoding === "base64" ? keyOfBytes(bytesOfBase64(text, path)) : keyOfText(text);
  if (key.length <= limit) return key;
  throw invalidRequest([{ path, message: `has ${key.length} bytes, the limit is ${limit}`, value: key.length, limit }]);
}

export interface RangeFields {
  readonly key?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
}

export interface GivenRange extends KeyRange {
  /** Where the range was given as one. */
  readonly prefix?: BinaryKey | undefined;
}

/** `at`: where the fields stand, for the issues. Undefined = none is given. */
export function rangeFrom(fields: RangeFields, encoding: KeyEncoding, at = ""): GivenRange | undefined {
  const { key, prefix, start, end } = fields;
  const path = (name: string): string => (at === "" ? name : `${at}.${name}`);
  const isRange = start !== undefined || end !== undefined;
  if ([key !== undefined, prefix !== undefined, isRange].filter(Boolean).length > 1) {
    const [first = "", ...others] = ["prefix", "key", "start", "end"].filter(
      (name) => fields[name as keyof RangeFields] !== undefined,
    );
    const message = `cannot be given together with ${others.join(" and ")}: give a key, or a prefix, or start and end`;
    throw invalidRequest([{ path: path(first), message }]);
  }
  if (key !== undefined) return { key: keyFrom(key, encoding, path("key")), rangeEnd: "" };
  if (prefix !== undefined) {
    const bytes = boundFrom(prefix, encoding, path("prefix"), MAX_KEY_BYTES);
    return { ...prefixRange(bytes), prefix: bytes };
  }
  if (!isRange) return undefined;
  const from = start === undefined ? "" : boundFrom(start, encoding, path("start"), MAX_KEY_BYTES);
  const to = end === undefined ? "" : boundFrom(end, encoding, path("end"), MAX_KEY_BYTES + 1);
  // No key is before this one; in a request it would mean that there is no end.
  if (to === NO_END) return EMPTY_RANGE;
  return { key: from === "" ? "\0" : from, rangeEnd: to === "" ? NO_END : to };
}

/** The bytes that a text stands for. */
export function bytesOfText(text: string, encoding: ValueEncoding, path: string): Uint8Array {
  if (encoding === "base64") return bytesOfBase64(text, path);
  if (!text.isWellFormed()) throw invalidRequest([{ path, message: "holds half of a surrogate pair" }]);
  if (encoding === "json") {
    try {
      JSON.parse(text);
    } catch {
      throw invalidRequest([{ path, message: "is not JSON" }]);
    }
  }
  return encoder.encode(text);
}

export interface RawObject {
  readonly bytes: Uint8Array;
  /** Where the object begins. */
  readonly start: number;
}

/** A value that stands in a body: as json its exact text, else what its string stands for. */
export function valueFrom(
  member: { readonly parsed: unknown; readonly names: readonly string[]; readonly path: string },
  raw: RawObject,
  encoding: ValueEncoding,
): Uint8Array {
  const { parsed, names, path } = member;
  if (encoding !== "json") {
    if (typeof parsed !== "string") throw invalidRequest([{ path, message: `must be a string of ${encoding}` }]);
    return bytesOfText(parsed, encoding, path);
  }
  for (const name of names) {
    const slice = rawMember(raw.bytes, name, raw.start);
    if (slice) return raw.bytes.subarray(slice.start, slice.end);
  }
  throw invalidRequest([{ path, message: "is required" }]);
}
