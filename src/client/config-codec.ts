// Keys and values of `client.config` as they travel over HTTP, and back.
// Guarantees: bytes come back as bytes; JSON is never confused with them. Must not: know routes.
import type { ConfigEntry, ConfigKey, ConfigMeta, ConfigRange, ValueForm } from "./config-types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const CHUNK = 8192;

export type Encoding = "utf8" | "base64";

export function base64Of(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK)
    binary += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK) as unknown as number[]);
  return btoa(binary);
}

export function bytesOf(base64: string): Uint8Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** `base64` as soon as one of the keys is bytes. */
export function encodingOf(keys: readonly (ConfigKey | undefined)[]): Encoding {
  return keys.some((key) => key instanceof Uint8Array) ? "base64" : "utf8";
}

export function checkedKey(key: ConfigKey): ConfigKey {
  if ((typeof key !== "string" && !(key instanceof Uint8Array)) || key.length === 0)
    throw new TypeError("a key must be text or bytes, at least one of them");
  return key;
}

export function keyText(key: ConfigKey, encoding: Encoding): string {
  if (encoding === "base64") return base64Of(typeof key === "string" ? encoder.encode(key) : key);
  return key as string;
}

export function rangeKeys({ prefix, start, end }: ConfigRange): readonly (ConfigKey | undefined)[] {
  return [prefix, start, end];
}

export function rangeText({ prefix, start, end }: ConfigRange, encoding: Encoding): Record<string, string | undefined> {
  const text = (key: ConfigKey | undefined) => (key === undefined ? undefined : keyText(key, encoding));
  return { prefix: text(prefix), start: text(start), end: text(end) };
}

export function jsonText(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new TypeError(`a value must be JSON or bytes, got ${typeof value}`);
  return json;
}

/** As base64, whatever it is: where one value of a request is bytes all of them travel so. */
export function valueBase64(value: unknown): string {
  return base64Of(value instanceof Uint8Array ? value : encoder.encode(jsonText(value)));
}

/** The `valueEncoding` to ask for. */
export const ASKED: Readonly<Record<ValueForm, "json" | "base64" | "text">> = {
  json: "json",
  bytes: "base64",
  text: "text",
};

interface RawEntry {
  readonly key: string;
  readonly keyEncoding?: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly leaseId?: string;
  readonly value?: unknown;
  readonly valueEncoding?: string;
}

export function keyOf({ key, keyEncoding }: { readonly key: string; readonly keyEncoding?: string }): ConfigKey {
  return keyEncoding === "base64" ? keyOfBase64(key) : key;
}

export function keyOfBase64(base64: string): ConfigKey {
  const bytes = bytesOf(base64);
  try {
    return decoder.decode(bytes);
  } catch {
    return bytes; // no UTF-8: bytes it is
  }
}

function shownValue({ value, valueEncoding }: RawEntry, form: ValueForm): unknown {
  if (valueEncoding !== "base64") return value;
  const bytes = bytesOf(value as string);
  if (form === "bytes") return bytes;
  try {
    const text = decoder.decode(bytes);
    return form === "text" ? text : JSON.parse(text);
  } catch {
    return bytes; // no UTF-8, or no JSON: bytes it is
  }
}

export function metaOf(data: unknown): ConfigMeta {
  const raw = data as RawEntry;
  const { createRevision, modRevision, version, leaseId } = raw;
  const meta = { key: keyOf(raw), createRevision, modRevision, version };
  return leaseId === undefined ? meta : { ...meta, leaseId };
}

export function entryOf(data: unknown, form: ValueForm): ConfigEntry {
  return { ...metaOf(data), value: shownValue(data as RawEntry, form) };
}
