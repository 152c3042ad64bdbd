// Messages as JSON, the way etcd's gateway reads and writes them (grpc-gateway's JSONPb with the .proto's own names).
// Guarantees: int64 as strings, bytes as base64, zero values left out, fields in the .proto's order; both spellings of a name are read,
// unknown fields are passed over; what cannot be read is an EtcdError of code 3 with the text that etcd has, as far as it can be told.
import { bytesOfKey, keyOfBytes } from "../wire/config-keys.ts";
import { EtcdError, GRPC } from "./errors.ts";
import { type Fields, isZero, MAX_MESSAGE_DEPTH, type MessageType, type ResolvedField } from "./schema.ts";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;
const MAX_SHOWN_CHARACTERS = 60;

/** A number of the text lost digits: it must be read anew from its digits. */
class LostDigits extends Error {}

function malformed(text: string): EtcdError {
  return new EtcdError(GRPC.invalidArgument, text);
}

/** One message. An empty text is an empty message. */
export function messageOfJson<T>(type: MessageType<T>, text: string): T {
  if (text.trim() === "") return {} as T;
  const parsed = parse(text);
  try {
    return readMessage(type, parsed.json, 0) as T;
  } catch (error) {
    if (!(error instanceof LostDigits)) throw error;
    return readMessage(type, parseWithDigits(parsed.text), 0) as T;
  }
}

/** The messages of a stream's body, one behind the other; none = one empty message. */
export function messagesOfJson<T>(type: MessageType<T>, text: string, most: number): readonly T[] {
  const messages: T[] = [];
  let rest = text.trimStart();
  do {
    const end = endOfValue(rest);
    messages.push(messageOfJson(type, rest.slice(0, end)));
    rest = rest.slice(end).trimStart();
  } while (rest !== "" && messages.length < most);
  if (rest !== "") throw malformed(`jade: more than ${most} requests in one body`);
  return messages;
}

function isCut(text: string): boolean {
  return text.startsWith("{") && endOfObject(text) === undefined;
}

/** Where the first value ends, as far as it is an object; else all of the text. */
function endOfValue(text: string): number {
  return (text.startsWith("{") ? endOfObject(text) : undefined) ?? text.length;
}

function endOfObject(text: string): number | undefined {
  let depth = 0;
  let isString = false;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (isString) {
      if (letter === "\\") i++;
      else if (letter === '"') isString = false;
    } else if (letter === '"') isString = true;
    else if (letter === "{" || letter === "[") depth++;
    else if ((letter === "}" || letter === "]") && --depth === 0) return i + 1;
  }
  return undefined;
}

function keepDigits(_: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === "number" && !Number.isSafeInteger(value) ? (context?.source ?? value) : value;
}

/** The engine goes through what it parsed by recursion, here only. */
function parseWithDigits(text: string): unknown {
  try {
    return JSON.parse(text, keepDigits);
  } catch (error) {
    if (error instanceof RangeError) throw malformed("exceeded max depth");
    throw error;
  }
}

/** The text's first value: what follows it is not looked at, as in etcd. */
function parse(text: string): { readonly json: unknown; readonly text: string } {
  try {
    return { json: JSON.parse(text), text };
  } catch {
    // The engine's message quotes the text: it may hold a value.
    const trimmed = text.trimStart();
    const end = endOfValue(trimmed);
    if (end < trimmed.length) return parse(trimmed.slice(0, end));
    const at = /^\s*([^{\s])/.exec(text)?.[1];
    if (at !== undefined && !/["[\d\-tfn]/.test(at))
      throw malformed(`invalid character '${at}' looking for beginning of value`);
    throw malformed(isCut(trimmed) ? "unexpected EOF" : "jade: the body is not valid JSON");
  }
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function wrongType(value: unknown, wanted: string): EtcdError {
  return malformed(`json: cannot unmarshal ${kindOf(value)} into Go value of type ${wanted}`);
}

function readMessage(type: MessageType<unknown>, json: unknown, depth: number): Fields {
  if (depth > MAX_MESSAGE_DEPTH) throw malformed(`jade: messages are nested deeper than ${MAX_MESSAGE_DEPTH}`);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw wrongType(json, "map[string]json.RawMessage");
  const fields: Fields = {};
  for (const name in json) {
    const field = type.byName.get(name);
    const value = (json as Fields)[name];
    if (!field || value === null) continue;
    if (field.isRepeated) {
      if (!Array.isArray(value)) throw wrongType(value, "[]json.RawMessage");
      fields[field.property] = value.map((item) => readValue(field, item, depth));
    } else fields[field.property] = readValue(field, value, depth);
  }
  return fields;
}

function readValue(field: ResolvedField, value: unknown, depth: number): unknown {
  switch (field.kind) {
    case "bool":
      if (typeof value !== "boolean") throw wrongType(value, "bool");
      return value;
    case "string":
      if (typeof value !== "string") throw wrongType(value, "string");
      return value;
    case "key":
      return binaryOf(value);
    case "bytes":
      return bytesOfKey(binaryOf(value));
    case "enum":
      return enumOf(field, value);
    case "message":
      return readMessage(field.type!(), value, depth + 1);
    case "int64":
    case "id":
    case "uid":
    case "uint32":
      return integerOf(field, value);
    default:
      return field.kind satisfies never;
  }
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Base64 to a binary string. */
function binaryOf(value: unknown): string {
  if (typeof value !== "string") throw wrongType(value, "[]uint8");
  const text = value.includes("\n") || value.includes("\r") ? value.replace(/[\r\n]/g, "") : value;
  if (text.length % 4 === 0 && BASE64.test(text)) return atob(text);
  const at = text.search(/[^A-Za-z0-9+/]/);
  throw malformed(`illegal base64 data at input byte ${at < 0 ? text.length - (text.length % 4) : at}`);
}

function enumOf({ values = [], enumName }: ResolvedField, value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value)) return value;
  if (typeof value !== "string") throw wrongType(value, "int32");
  const index = values.indexOf(value);
  if (index >= 0) return index;
  throw malformed(`unknown value ${JSON.stringify(value.slice(0, MAX_SHOWN_CHARACTERS))} for enum ${enumName}`);
}

const GO_TYPE = { int64: "int64", id: "int64", uid: "uint64", uint32: "uint32" } as const;

function integerOf({ kind }: ResolvedField, value: unknown): number | string {
  const wanted = GO_TYPE[kind as keyof typeof GO_TYPE];
  if (typeof value === "number" && !Number.isSafeInteger(value) && Number.isInteger(value)) throw new LostDigits();
  if (typeof value !== "number" && typeof value !== "string") throw wrongType(value, wanted);
  const text = String(value);
  if (!/^-?[0-9]+$/.test(text)) {
    if (/^-?[0-9.]/.test(text)) throw wrongNumber(text, wanted);
    const first = text === "" ? "unexpected end of JSON input" : undefined;
    throw malformed(
      first ?? `invalid character ${JSON.stringify(text[0]).replaceAll('"', "'")} looking for beginning of value`,
    );
  }
  if (text.length < 16)
    return kind === "id" || kind === "uid" ? canonical(text) : inRange(kind, Number(text), text, wanted);
  const big = BigInt(text);
  const [least, most] = kind === "uid" ? [0n, UINT64_MAX] : [INT64_MIN, INT64_MAX];
  if (big < least || big > most || kind === "uint32") throw wrongNumber(text, wanted);
  return kind === "int64" ? safeNumber(big) : canonical(String(big));
}

function inRange(kind: string, value: number, text: string, wanted: string): number {
  if (kind === "uint32" && (value < 0 || value > 0xffffffff)) throw wrongNumber(text, wanted);
  return value;
}

function wrongNumber(text: string, wanted: string): EtcdError {
  return malformed(
    `json: cannot unmarshal number ${text.slice(0, MAX_SHOWN_CHARACTERS)} into Go value of type ${wanted}`,
  );
}

/** Beyond the safe integers revisions and limits compare alike: none gets there. */
export function safeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}

/** "" for zero, no leading zeros. */
function canonical(text: string): string {
  const number = text.length < 16 ? String(Number(text)) : text;
  return number === "0" || number === "-0" ? "" : number;
}

export function jsonOf<T>(type: MessageType<T>, message: T): string {
  let text = "{";
  for (const field of type.fields) {
    const value = (message as Fields)[field.property];
    if (value === undefined || (isZero(value) && field.isOneof !== true)) continue;
    if (text.length > 1) text += ",";
    text += `"${field.name}":`;
    if (field.isRepeated) text += `[${(value as readonly unknown[]).map((item) => textOf(field, item)).join(",")}]`;
    else text += textOf(field, value);
  }
  return `${text}}`;
}

function textOf(field: ResolvedField, value: unknown): string {
  switch (field.kind) {
    case "bool":
    case "uint32":
      return String(value);
    case "int64":
      return `"${value}"`;
    case "id":
    case "uid":
      return value === "" ? '"0"' : `"${value}"`;
    case "string":
      return JSON.stringify(value);
    case "key":
      return `"${btoa(value as string)}"`;
    case "bytes":
      return `"${base64Of(value as Uint8Array)}"`;
    case "enum":
      return field.values?.[value as number] === undefined ? String(value) : `"${field.values[value as number]}"`;
    case "message":
      return jsonOf(field.type!(), value);
    default:
      return field.kind satisfies never;
  }
}

function base64Of(bytes: Uint8Array): string {
  const native = bytes as Uint8Array & { toBase64?: () => string };
  return native.toBase64 ? native.toBase64() : btoa(keyOfBytes(bytes));
}
