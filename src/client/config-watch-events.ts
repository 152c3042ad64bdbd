// Ranges and events of watches between the bytes on the wire and what users see.
// Guarantees: bytes that are not UTF-8, or not JSON, come as bytes. Must not: hold state.
import type { ConfigEvent, KeyRange, KeyValue } from "../wire/config.ts";
import { bytesOfKey, keyOfBytes, keyOfText, NO_END, prefixRange } from "../wire/config-keys.ts";
import { requireKnown } from "./config-known.ts";
import type { ConfigEntry, ConfigKey, ConfigRange, ValueForm } from "./config-types.ts";

/** A key, or a range as in `range()`. */
export type ConfigWatchRange = ConfigKey | ConfigRange;

export type ConfigWatchEvent<T = unknown> =
  | {
      readonly type: "put";
      readonly key: ConfigKey;
      readonly entry: ConfigEntry<T>;
      readonly prevKv?: ConfigEntry<T> | undefined;
    }
  | { readonly type: "delete"; readonly key: ConfigKey; readonly prevKv?: ConfigEntry<T> | undefined };

/** What one revision changed. */
export interface ConfigChange<T = unknown> {
  readonly revision: number;
  readonly events: readonly ConfigWatchEvent<T>[];
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined; // no UTF-8: bytes it is
  }
}

function valueIn(bytes: Uint8Array, form: ValueForm): unknown {
  const text = form === "bytes" ? undefined : textOf(bytes);
  if (text === undefined) return bytes.slice();
  if (form === "text") return text;
  try {
    return JSON.parse(text);
  } catch {
    return bytes.slice(); // no JSON
  }
}

function keyOf(key: string): ConfigKey {
  const bytes = bytesOfKey(key);
  return textOf(bytes) ?? bytes;
}

function entryOf({ key, createRevision, modRevision, version, lease, value }: KeyValue, form: ValueForm): ConfigEntry {
  const meta = { key: keyOf(key), createRevision, modRevision, version, value: valueIn(value, form) };
  return lease === "" ? meta : { ...meta, leaseId: lease };
}

export function watchEventOf({ type, kv, prevKv }: ConfigEvent, form: ValueForm): ConfigWatchEvent {
  const previous = prevKv ? { prevKv: entryOf(prevKv, form) } : {};
  const key = keyOf(kv.key);
  return type === "put" ? { type, key, entry: entryOf(kv, form), ...previous } : { type, key, ...previous };
}

function binaryOf(key: ConfigKey): string {
  return typeof key === "string" ? keyOfText(key) : keyOfBytes(key);
}

/** Throws TypeError, and `invalidRequest` for a field that is none of a range. */
export function watchRangeOf(range: ConfigWatchRange): KeyRange {
  if (typeof range === "string" || range instanceof Uint8Array) {
    if (range.length === 0) throw new TypeError("a key must be text or bytes, at least one of them");
    return { key: binaryOf(range), rangeEnd: "" };
  }
  requireKnown(range, "place");
  const { prefix, start, end } = range;
  if (prefix !== undefined && (start !== undefined || end !== undefined))
    throw new TypeError("give one of prefix, and start with end");
  if (prefix !== undefined) return prefixRange(binaryOf(prefix));
  return {
    key: start === undefined ? "\0" : binaryOf(start) || "\0",
    rangeEnd: end === undefined ? NO_END : binaryOf(end) || NO_END,
  };
}
