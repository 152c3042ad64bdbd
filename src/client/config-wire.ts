// Keys, values and answers of `client.config` as a session carries them: the binary requests of src/wire, and back.
// Guarantees: the shapes and errors that calls over HTTP have. Must not: send anything.
import type { BinaryKey, Compare, KeyRange, KeyValue, RangeAnswer, RangeRequest } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes, keyOfText, NO_END, prefixEnd, prefixRange } from "../wire/config-keys.ts";
import { base64Of, jsonText, keyOfBase64 } from "./config-codec.ts";
import type {
  ConfigConditions,
  ConfigEntry,
  ConfigKey,
  ConfigMeta,
  ConfigPage,
  ConfigRange,
  ConfigRangeFields,
  ValueForm,
} from "./config-types.ts";
import { JadeError } from "./errors.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** No key is before it; as a range's end it would mean that there is none. */
const EMPTY_RANGE: KeyRange = { key: "\x01", rangeEnd: "\x01" };
const SORTS = { key: "key", version: "version", createRevision: "create", modRevision: "mod", value: "value" } as const;

export function invalid(path: string, message: string): JadeError {
  return new JadeError("invalidRequest", `${path} ${message}`, { details: { issues: [{ path, message }] } });
}

/** Undefined or a whole number from 0 on, as requests can carry it. */
export function whole(path: string, value: number | undefined): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) return value;
  throw invalid(path, `must be a whole number from 0 on, got ${JSON.stringify(value)}`);
}

export function binaryOf(key: ConfigKey): BinaryKey {
  return typeof key === "string" ? keyOfText(key) : keyOfBytes(key);
}

export function valueBytes(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : encoder.encode(jsonText(value));
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined; // no UTF-8
  }
}

/** Text, or bytes where it is no UTF-8. */
export function shownKey(key: BinaryKey): ConfigKey {
  const bytes = bytesOfKey(key);
  return textOf(bytes) ?? bytes;
}

function shownValue(value: Uint8Array, form: ValueForm): unknown {
  const text = form === "bytes" ? undefined : textOf(value);
  if (text === undefined) return value.slice();
  if (form === "text") return text;
  try {
    return JSON.parse(text);
  } catch {
    return value.slice(); // no JSON: bytes it is
  }
}

export function metaOfKv({ key, createRevision, modRevision, version, lease }: Omit<KeyValue, "value">): ConfigMeta {
  const meta = { key: shownKey(key), createRevision, modRevision, version };
  return lease === "" ? meta : { ...meta, leaseId: lease };
}

export function entryOfKv(kv: KeyValue, form: ValueForm, isKeyOnly = false): ConfigEntry {
  return { ...metaOfKv(kv), value: isKeyOnly ? undefined : shownValue(kv.value, form) };
}

/** A key as an error's details show it: as the JSON of an answer over HTTP. */
export function rawEntry(kv: KeyValue): object {
  const { key, ...meta } = metaOfKv(kv);
  const shown = typeof key === "string" ? { key } : { key: base64Of(key), keyEncoding: "base64" };
  const value = shownValue(kv.value, "json");
  const encoded = value instanceof Uint8Array ? { value: base64Of(value), valueEncoding: "base64" } : { value };
  return { ...shown, ...meta, ...encoded };
}

/** Undefined = none was given. */
export function rangeOf({ prefix, start, end }: ConfigRange): KeyRange | undefined {
  if (prefix !== undefined) {
    if (start !== undefined || end !== undefined)
      throw invalid("prefix", "cannot be given together with start or end: give a prefix, or start and end");
    return prefixRange(binaryOf(prefix));
  }
  if (start === undefined && end === undefined) return undefined;
  const from = start === undefined ? "" : binaryOf(start);
  const to = end === undefined ? "" : binaryOf(end);
  if (to === NO_END) return EMPTY_RANGE;
  return { key: from === "" ? "\0" : from, rangeEnd: to === "" ? NO_END : to };
}

export function rangeRequestOf(fields: ConfigRangeFields): RangeRequest {
  const { keysOnly, countOnly, withCount, sort = "key", order, delimiter, prefix } = fields;
  if (!Object.hasOwn(SORTS, sort)) throw invalid("sort", `must be one of ${Object.keys(SORTS).join(", ")}`);
  if (order !== undefined && order !== "asc" && order !== "desc") throw invalid("order", "must be one of asc, desc");
  const { limit, revision, minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = fields;
  const numbers = { limit, revision, minModRevision, maxModRevision, minCreateRevision, maxCreateRevision };
  for (const [name, value] of Object.entries(numbers)) whole(name, value);
  const level = delimiter === undefined ? undefined : binaryOf(delimiter);
  const delimiterFrom = prefix === undefined ? undefined : binaryOf(prefix).length;
  return {
    ...{ kind: "range", ...(rangeOf(fields) ?? prefixRange("")), ...numbers, keysOnly, countOnly, withCount },
    ...{ sortTarget: SORTS[sort], descending: order === "desc", delimiter: level, delimiterFrom },
  };
}

export function comparesOf(
  key: BinaryKey,
  { ifAbsent, ifModRevision, ifVersion, ifValue }: ConfigConditions & { readonly ifAbsent?: boolean | undefined },
): Compare[] {
  const one = { key, rangeEnd: "", result: "equal" } as const;
  const compares: Compare[] = [];
  if (ifAbsent !== undefined)
    compares.push({ ...one, result: ifAbsent ? "equal" : "notEqual", target: "create", operand: 0 });
  const mod = whole("ifModRevision", ifModRevision);
  if (mod !== undefined) compares.push({ ...one, target: "mod", operand: mod });
  const version = whole("ifVersion", ifVersion);
  if (version !== undefined) compares.push({ ...one, target: "version", operand: version });
  if (ifValue !== undefined) compares.push({ ...one, target: "value", operand: valueBytes(ifValue) });
  return compares;
}

/** `1.<revision>.<k|p>.<last key>`, as the server makes them. */
const CURSOR = /^1\.([1-9][0-9]{0,15})\.([kp])\.([A-Za-z0-9_-]+)$/;

/** The request for what earlier pages have not shown. */
export function paged(request: RangeRequest, cursor: string | undefined): RangeRequest {
  if (cursor === undefined) return request;
  if (request.sortTarget !== "key")
    throw invalid("cursor", "goes with the order of keys only; other sorts have no pages");
  const [, revision = "", kind, encoded = ""] = CURSOR.exec(cursor) ?? [];
  if (revision === "") throw invalid("cursor", "is not one that an earlier page returned");
  if (request.revision !== undefined && request.revision !== Number(revision))
    throw invalid("revision", "is not the one that the cursor's pages show");
  const last = binaryOf(keyOfBase64(encoded.replaceAll("-", "+").replaceAll("_", "/")));
  const rest = { ...request, revision: Number(revision) };
  if (request.descending) return { ...rest, rangeEnd: last };
  const next = kind === "p" ? prefixEnd(last) : `${last}\0`;
  if (next === NO_END || (request.rangeEnd !== NO_END && next >= request.rangeEnd)) return { ...rest, ...EMPTY_RANGE };
  return next > request.key ? { ...rest, key: next } : rest;
}

export function pageOf(
  answer: RangeAnswer,
  request: RangeRequest,
  { revision, form }: { readonly revision: number; readonly form: ValueForm },
): ConfigPage {
  const { kvs, more, count, commonPrefixes } = answer;
  const items = kvs.map((kv) => entryOfKv(kv, form, request.keysOnly));
  const hasCount = request.countOnly || request.withCount || !more;
  const cursor = more && request.sortTarget === "key" ? cursorAfter(answer, revision) : null;
  return {
    ...{ revision, items, more, cursor },
    ...(hasCount ? { count } : {}),
    ...(commonPrefixes ? { commonPrefixes: commonPrefixes.map(shownKey) } : {}),
  };
}

function cursorAfter({ kvs, commonPrefixes = [] }: RangeAnswer, revision: number): string | null {
  const key = kvs.at(-1)?.key;
  const prefix = commonPrefixes.at(-1);
  const isPrefix = prefix !== undefined && (key === undefined || prefix > key);
  const last = isPrefix ? prefix : key;
  if (last === undefined) return null;
  const text = base64Of(bytesOfKey(last)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return `1.${revision}.${isPrefix ? "p" : "k"}.${text}`;
}
