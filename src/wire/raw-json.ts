// Finds where a member's or an item's JSON text lies inside a larger JSON text, as byte offsets, so that values are stored
// and returned byte-identical (2^53+1, 1.0, key order). Guarantees: agrees with JSON.parse on which duplicate member counts
// (the last), on escaped names and on white space; never recurses. Must not: be used on bytes JSON.parse did not accept.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** `bytes.subarray(start, end)` is the JSON text of one value, without white space around it. */
export interface ByteSlice {
  readonly start: number;
  readonly end: number;
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  // Valid JSON has no other byte at or below 0x20 outside of strings.
  while (at < bytes.length && bytes[at]! <= 0x20) at++;
  return at;
}

/** `start` is at the opening quote; gives the offset behind the closing one. */
function skipString(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  for (;;) {
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0) return bytes.length;
    let backslashes = 0;
    while (bytes[quote - 1 - backslashes] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** `start` is at `{` or `[`; gives the offset behind its partner. */
function skipNested(bytes: Uint8Array, start: number): number {
  let depth = 0;
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      continue;
    }
    at++;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--;
      if (depth === 0) return at;
    }
  }
  return at;
}

function skipValue(bytes: Uint8Array, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return skipString(bytes, start);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipNested(bytes, start);
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (byte <= 0x20 || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) break;
    at++;
  }
  return at;
}

function sameName(bytes: Uint8Array, start: number, end: number, name: Uint8Array, text: string): boolean {
  const isEscaped = bytes.subarray(start, end).includes(BACKSLASH);
  if (isEscaped) return JSON.parse(decoder.decode(bytes.subarray(start - 1, end + 1))) === text;
  if (end - start !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) return false;
  return true;
}

/** The last member `name` of the object that begins at or after `from`; undefined = no such member, or not an object. */
export function rawMember(bytes: Uint8Array, name: string, from = 0): ByteSlice | undefined {
  const wanted = encoder.encode(name);
  let at = skipSpace(bytes, from);
  if (bytes[at] !== OPEN_BRACE) return undefined;
  let found: ByteSlice | undefined;
  at = skipSpace(bytes, at + 1);
  while (at < bytes.length && bytes[at] !== CLOSE_BRACE) {
    const nameEnd = skipString(bytes, at);
    const isWanted = sameName(bytes, at + 1, nameEnd - 1, wanted, name);
    const start = skipSpace(bytes, skipSpace(bytes, nameEnd) + 1);
    const end = skipValue(bytes, start);
    if (isWanted) found = { start, end };
    at = skipSpace(bytes, end);
    if (bytes[at] === COMMA) at = skipSpace(bytes, at + 1);
  }
  return found;
}

/** The items of the array that begins at or after `from`; empty if it is no array. */
export function rawItems(bytes: Uint8Array, from = 0): ByteSlice[] {
  const items: ByteSlice[] = [];
  let at = skipSpace(bytes, from);
  if (bytes[at] !== OPEN_BRACKET) return items;
  at = skipSpace(bytes, at + 1);
  while (at < bytes.length && bytes[at] !== CLOSE_BRACKET) {
    const end = skipValue(bytes, at);
    items.push({ start: at, end });
    at = skipSpace(bytes, end);
    if (bytes[at] === COMMA) at = skipSpace(bytes, at + 1);
  }
  return items;
}
