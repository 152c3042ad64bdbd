// Growable byte writer and bounds-checked reader for every binary format of the house (state, log, frames).
// Guarantees: little endian; varints are LEB128 up to 2^53-1; a read past the end throws MalformedBytes, never returns garbage.
// Must not: know any format. No I/O.

/** Thrown by {@link ByteReader} when the input is shorter than its own lengths say, or a varint is over 2^53-1. */
export class MalformedBytes extends Error {
  override readonly name = "MalformedBytes";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Below this many bytes a hand-written ASCII loop beats TextDecoder (measured in workerd). */
const SHORT_STRING_BYTES = 48;

/** `length` ASCII bytes as a string. */
export function asciiText(bytes: Uint8Array, from: number, length: number): string {
  let text = "";
  for (let at = from; at < from + length; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}

/** Where a float's bytes are made: a view of its own is dear for a writer that lives for one frame. */
const floatBytes = new Uint8Array(8);
const float = new DataView(floatBytes.buffer);

/** Appends to a buffer that doubles when full. `reset()` reuses it; `take()` copies out what was written. */
export class ByteWriter {
  #bytes: Uint8Array;
  length = 0;

  constructor(capacityBytes = 1024) {
    this.#bytes = new Uint8Array(capacityBytes);
  }

  #reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }

  reset(): void {
    this.length = 0;
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  /** A view of what was written, valid until the next write or reset. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.length += 4;
    this.u32At(this.length - 4, value);
  }

  /** Overwrites four bytes written before. */
  u32At(offset: number, value: number): void {
    const bytes = this.#bytes;
    bytes[offset] = value;
    bytes[offset + 1] = value >>> 8;
    bytes[offset + 2] = value >>> 16;
    bytes[offset + 3] = value >>> 24;
  }

  f64(value: number): void {
    float.setFloat64(0, value, true);
    this.raw(floatBytes);
  }

  /** Unsigned LEB128; `value` is a safe integer ≥ 0. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80000000) {
      this.#bytes[this.length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 0x80) {
      this.#bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.length++] = rest;
  }

  /** Raw bytes, no length. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Length-prefixed bytes. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** A binary string (one char a byte), length-prefixed. */
  binary(text: string): void {
    this.varint(text.length);
    this.#reserve(text.length);
    let at = this.length;
    for (let i = 0; i < text.length; i++) this.#bytes[at++] = text.charCodeAt(i);
    this.length = at;
  }

  /** Length-prefixed UTF-8. */
  string(text: string): void {
    if (text.length < SHORT_STRING_BYTES) {
      this.#reserve(text.length + 1);
      const start = this.length;
      this.#bytes[start] = text.length;
      let at = start + 1;
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        if (code > 127) {
          this.bytes(encoder.encode(text));
          return;
        }
        this.#bytes[at++] = code;
      }
      this.length = at;
      return;
    }
    this.bytes(encoder.encode(text));
  }
}

/** A buffer beyond this is not kept for what is written next. */
const MAX_KEPT_BYTES = 1024 * 1024;
let kept: ByteWriter | undefined;

/** The bytes of something that is written in one go. (A buffer of its own for each is dear, and growing it, too.) */
export function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = kept ?? new ByteWriter(4096);
  // What is written within this has one of its own.
  kept = undefined;
  writer.reset();
  write(writer);
  const bytes = writer.take();
  if (bytes.length <= MAX_KEPT_BYTES) kept = writer;
  return bytes;
}

/** Reads what {@link ByteWriter} wrote; `bytes()` returns views, not copies. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  /** Made when asked for: most readers meet no number of a fixed width. */
  #view: DataView | undefined;
  offset: number;
  readonly end: number;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get done(): boolean {
    return this.offset >= this.end;
  }

  #need(count: number): void {
    if (this.offset + count > this.end) {
      throw new MalformedBytes(`needs ${count} bytes at ${this.offset}, has ${this.end - this.offset}`);
    }
  }

  #numbers(): DataView {
    this.#view ??= new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    return this.#view;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.offset++]!;
  }

  u32(): number {
    this.#need(4);
    const bytes = this.#bytes;
    const at = this.offset;
    this.offset += 4;
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
  }

  f64(): number {
    this.#need(8);
    const value = this.#numbers().getFloat64(this.offset, true);
    this.offset += 8;
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      if (this.offset >= this.end) throw new MalformedBytes(`a varint runs past the end at ${this.offset}`);
      const byte = this.#bytes[this.offset++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 128;
      if (scale > 2 ** 49) throw new MalformedBytes(`a varint over 2^53-1 at ${this.offset}`);
    }
    if (value > Number.MAX_SAFE_INTEGER) throw new MalformedBytes(`a varint over 2^53-1 at ${this.offset}`);
    return value;
  }

  raw(length: number): Uint8Array {
    this.#need(length);
    const start = this.offset;
    this.offset += length;
    return this.#bytes.subarray(start, this.offset);
  }

  bytes(): Uint8Array {
    return this.raw(this.varint());
  }

  /** What is being read. */
  get source(): Uint8Array {
    return this.#bytes;
  }

  /** Passes over `count` bytes; returns where they began. */
  skip(count: number): number {
    this.#need(count);
    this.offset += count;
    return this.offset - count;
  }

  /** Where a length-prefixed string of ASCII follows, passes over the length and returns it; otherwise stays and returns -1. */
  asciiAhead(): number {
    const start = this.offset;
    const length = this.varint();
    this.#need(length);
    for (let at = this.offset; at < this.offset + length; at++) {
      if (this.#bytes[at]! < 128) continue;
      this.offset = start;
      return -1;
    }
    return length;
  }

  /** What {@link ByteWriter.binary} wrote. */
  binary(): string {
    const length = this.varint();
    this.#need(length);
    let text = "";
    const end = this.offset + length;
    for (let at = this.offset; at < end; at++) text += String.fromCharCode(this.#bytes[at]!);
    this.offset = end;
    return text;
  }

  string(): string {
    const length = this.varint();
    this.#need(length);
    if (length < SHORT_STRING_BYTES) {
      let text = "";
      const end = this.offset + length;
      let at = this.offset;
      for (; at < end; at++) {
        const code = this.#bytes[at]!;
        if (code > 127) break;
        text += String.fromCharCode(code);
      }
      if (at === end) {
        this.offset = end;
        return text;
      }
    }
    const bytes = this.raw(length);
    try {
      return decoder.decode(bytes);
    } catch {
      throw new MalformedBytes(`invalid UTF-8 at ${this.offset - length}`);
    }
  }
}
