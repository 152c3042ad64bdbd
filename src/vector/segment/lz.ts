// A small compressor for columns of text: the block format of LZ4 (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md), one block at
// a time. Guarantees: what was packed comes back; any other bytes throw MalformedBytes, and write nothing outside. Must not: keep state.
import { MalformedBytes } from "../../wire/bytes.ts";

const HASH_BITS = 12;
const MIN_MATCH = 4;
/** The format's own: the last match begins so far before the end, and the last bytes are literals. */
const MATCH_LIMIT_BYTES = 12;
const LAST_LITERALS = 5;
const MAX_DISTANCE = 65_535;
const NIBBLE = 15;

const heads = new Int32Array(1 << HASH_BITS);

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Undefined = it would not become smaller. */
export function pack(raw: Uint8Array): Uint8Array | undefined {
  const out = new Uint8Array(raw.length);
  const writer = new SequenceWriter(raw, out);
  heads.fill(-1);
  let anchor = 0;
  const lastMatch = raw.length - MATCH_LIMIT_BYTES;
  for (let at = 0; at < lastMatch; ) {
    const word = wordAt(raw, at);
    const slot = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
    const candidate = heads[slot]!;
    heads[slot] = at;
    if (candidate < 0 || at - candidate > MAX_DISTANCE || wordAt(raw, candidate) !== word) {
      // What does not repeat is passed over faster and faster.
      at += 1 + ((at - anchor) >> 6);
      continue;
    }
    let length = MIN_MATCH;
    const most = raw.length - LAST_LITERALS - at;
    while (length < most && raw[candidate + length] === raw[at + length]) length++;
    if (!writer.sequence(anchor, at, { distance: at - candidate, length })) return undefined;
    at += length;
    anchor = at;
  }
  return writer.sequence(anchor, raw.length, undefined) ? out.slice(0, writer.length) : undefined;
}

class SequenceWriter {
  readonly #raw: Uint8Array;
  readonly #out: Uint8Array;
  length = 0;

  constructor(raw: Uint8Array, out: Uint8Array) {
    this.#raw = raw;
    this.#out = out;
  }

  /** Literals, then a match; the last has none. False = it does not fit. */
  sequence(
    from: number,
    to: number,
    match: { readonly distance: number; readonly length: number } | undefined,
  ): boolean {
    const literals = to - from;
    const extra = match ? match.length - MIN_MATCH : 0;
    const needed = 1 + literals / 255 + 1 + literals + (match ? 2 + extra / 255 + 1 : 0);
    if (this.length + needed >= this.#out.length) return false;
    this.#out[this.length++] = (Math.min(NIBBLE, literals) << 4) | Math.min(NIBBLE, extra);
    if (literals >= NIBBLE) this.#rest(literals - NIBBLE);
    this.#out.set(this.#raw.subarray(from, to), this.length);
    this.length += literals;
    if (!match) return true;
    this.#out[this.length++] = match.distance & 255;
    this.#out[this.length++] = match.distance >> 8;
    if (extra >= NIBBLE) this.#rest(extra - NIBBLE);
    return true;
  }

  #rest(count: number): void {
    let left = count;
    for (; left >= 255; left -= 255) this.#out[this.length++] = 255;
    this.#out[this.length++] = left;
  }
}

/** @throws MalformedBytes */
export function unpack(packed: Uint8Array, rawBytes: number): Uint8Array {
  const out = new Uint8Array(rawBytes);
  let [at, end] = [0, 0];
  const lengthOf = (nibble: number): number => {
    let length = nibble;
    if (nibble !== NIBBLE) return length;
    for (let byte = 255; byte === 255; length += byte) {
      if (at >= packed.length) throw new MalformedBytes("packed bytes end in a length");
      byte = packed[at++]!;
    }
    return length;
  };
  for (;;) {
    const token = packed[at++];
    if (token === undefined) throw new MalformedBytes("packed bytes end without a last sequence");
    const literals = lengthOf(token >> 4);
    if (at + literals > packed.length || end + literals > rawBytes) throw new MalformedBytes("packed literals");
    out.set(packed.subarray(at, at + literals), end);
    at += literals;
    end += literals;
    if (at === packed.length) break;
    const distance = packed[at]! | ((packed[at + 1] ?? 0) << 8);
    at += 2;
    const length = lengthOf(token & NIBBLE) + MIN_MATCH;
    if (at > packed.length || distance === 0 || distance > end || end + length > rawBytes)
      throw new MalformedBytes("a packed match");
    // Byte by byte: a match may reach into itself.
    for (let left = length; left > 0; left--, end++) out[end] = out[end - distance]!;
  }
  if (end !== rawBytes) throw new MalformedBytes(`${end} bytes unpacked of ${rawBytes}`);
  return out;
}
