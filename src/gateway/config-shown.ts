// Keys and values of a keyspace as JSON: pieces of text and raw bytes.
// Guarantees: what is spliced in as JSON is JSON; what is not of the asked kind is base64 and says so. Must not: re-encode a value.
import type { BinaryKey, KeyValue } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes } from "../wire/config-keys.ts";
import type { KeyEncoding, ValueEncoding } from "./config-schemas.ts";

export type Pieces = (string | Uint8Array)[];

export interface Encodings {
  readonly keyEncoding: KeyEncoding;
  readonly valueEncoding: ValueEncoding;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Undefined = no UTF-8. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function keyText(key: BinaryKey): string | undefined {
  for (let i = 0; i < key.length; i++) if (key.charCodeAt(i) > 0x7f) return textOf(bytesOfKey(key));
  return key;
}

/** For lists of bare keys; one that is no UTF-8 stands as base64 there only when asked for. */
export function shownKey(key: BinaryKey, encoding: KeyEncoding): string {
  return (encoding === "base64" ? undefined : keyText(key)) ?? btoa(key);
}

/** `"key":…` */
export function keyPiece(key: BinaryKey, encoding: KeyEncoding): string {
  const text = encoding === "base64" ? undefined : keyText(key);
  return text === undefined ? `"key":"${btoa(key)}","keyEncoding":"base64"` : `"key":${JSON.stringify(text)}`;
}

/** `"value":…`, with its encoding where it is not JSON. */
export function valuePieces(value: Uint8Array, encoding: ValueEncoding): Pieces {
  const text = encoding === "base64" ? undefined : textOf(value);
  if (text !== undefined && encoding === "text") return [`"value":${JSON.stringify(text)},"valueEncoding":"text"`];
  if (text !== undefined && isJson(text)) return ['"value":', value];
  return [`"value":"${btoa(keyOfBytes(value))}","valueEncoding":"base64"`];
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** `"key":…,"createRevision":…` */
export function metaPiece(kv: Omit<KeyValue, "value">, encoding: KeyEncoding): string {
  const { createRevision, modRevision, version, lease } = kv;
  const numbers = `"createRevision":${createRevision},"modRevision":${modRevision},"version":${version}`;
  return `${keyPiece(kv.key, encoding)},${numbers}${lease === "" ? "" : `,"leaseId":"${lease}"`}`;
}

/** The object. `isKeyOnly`: without its value. */
export function keyValuePieces(kv: KeyValue, { keyEncoding, valueEncoding }: Encodings, isKeyOnly = false): Pieces {
  if (isKeyOnly) return [`{${metaPiece(kv, keyEncoding)}}`];
  return [`{${metaPiece(kv, keyEncoding)},`, ...valuePieces(kv.value, valueEncoding), "}"];
}

/** `[…]` */
export function listPieces<T>(items: readonly T[], shown: (item: T) => Pieces): Pieces {
  const pieces: Pieces = ["["];
  for (const [index, item] of items.entries()) {
    if (index > 0) pieces.push(",");
    pieces.push(...shown(item));
  }
  pieces.push("]");
  return pieces;
}
