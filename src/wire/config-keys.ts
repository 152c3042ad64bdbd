// Keys of the configuration store as binary strings: one char a byte (wire/config.ts says why).
// Guarantees: every conversion round-trips; ranges are etcd's. Must not: know limits.
import type { BinaryKey, KeyRange } from "./config.ts";

const encoder = new TextEncoder();
const CHUNK = 4096;
/** As a range's end: no end. */
export const NO_END: BinaryKey = "\0";

export function keyOfBytes(bytes: Uint8Array): BinaryKey {
  if (bytes.length <= CHUNK) return String.fromCharCode.apply(null, bytes as unknown as number[]);
  let key = "";
  for (let at = 0; at < bytes.length; at += CHUNK) key += keyOfBytes(bytes.subarray(at, at + CHUNK));
  return key;
}

export function bytesOfKey(key: BinaryKey): Uint8Array {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
  return bytes;
}

/** From text, by its UTF-8 bytes. */
export function keyOfText(text: string): BinaryKey {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return keyOfBytes(encoder.encode(text));
  return text;
}

/** Bytes that are not UTF-8 come back as U+FFFD: for people only. */
export function textOfKey(key: BinaryKey): string {
  for (let i = 0; i < key.length; i++) if (key.charCodeAt(i) > 0x7f) return new TextDecoder().decode(bytesOfKey(key));
  return key;
}

/** The end of the range of all keys that begin with `prefix`. */
export function prefixEnd(prefix: BinaryKey): BinaryKey {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const code = prefix.charCodeAt(i);
    if (code < 0xff) return prefix.slice(0, i) + String.fromCharCode(code + 1);
  }
  return NO_END;
}

/** All keys with a prefix; "" = all keys. */
export function prefixRange(prefix: BinaryKey): KeyRange {
  return prefix === "" ? { key: "\0", rangeEnd: NO_END } : { key: prefix, rangeEnd: prefixEnd(prefix) };
}

export function isInRange(key: BinaryKey, range: KeyRange): boolean {
  if (range.rangeEnd === "") return key === range.key;
  return key >= range.key && (range.rangeEnd === NO_END || key < range.rangeEnd);
}

/** True when some key can lie in both. */
export function rangesOverlap(a: KeyRange, b: KeyRange): boolean {
  if (a.rangeEnd === "") return isInRange(a.key, b);
  if (b.rangeEnd === "") return isInRange(b.key, a);
  const aBeforeB = a.rangeEnd !== NO_END && a.rangeEnd <= b.key;
  const bBeforeA = b.rangeEnd !== NO_END && b.rangeEnd <= a.key;
  return !aBeforeB && !bBeforeA && !isEmptyRange(a) && !isEmptyRange(b);
}

export function isEmptyRange({ key, rangeEnd }: KeyRange): boolean {
  return rangeEnd !== "" && rangeEnd !== NO_END && rangeEnd <= key;
}
