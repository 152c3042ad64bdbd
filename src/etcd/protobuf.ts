// Messages as protobuf bytes (proto3), by the tables of schema.ts.
// Guarantees: round trip of every field that a table names; unknown fields are passed over; anything else throws EtcdError.
// Values read are views into the input, not copies.
import { keyOfBytes } from "../wire/config-keys.ts";
import { EtcdError, GRPC } from "./errors.ts";
import { safeNumber } from "./json.ts";
import { type Fields, isZero, MAX_MESSAGE_DEPTH, type MessageType, type ResolvedField } from "./schema.ts";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TWO_32 = 2 ** 32;

function malformed(what: string): EtcdError {
  return new EtcdError(GRPC.internal, `grpc: failed to unmarshal the received message ${what}`);
}

export function messageOfBytes<T>(type: MessageType<T>, bytes: Uint8Array): T {
  return new Reader(bytes).message(type, bytes.length, 0) as T;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  /** The varint read last, as two halves. */
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  message(type: MessageType<unknown>, end: number, depth: number): Fields {
    if (depth > MAX_MESSAGE_DEPTH) throw malformed("nested too deeply");
    const fields: Fields = {};
    while (this.#at < end) {
      this.#varint(end);
      const tag = this.#low;
      const field = type.byNumber.get(tag >>> 3);
      const wire = tag & 7;
      if (!field || wire !== wireOf(field)) {
        if (field?.isRepeated && field.kind === "enum" && wire === LENGTH) this.#packed(fields, field, end);
        else this.#skip(wire, end);
        continue;
      }
      const value = this.#value(field, end, depth);
      if (!field.isRepeated) fields[field.property] = value;
      else {
        const list = fields[field.property] as unknown[] | undefined;
        if (list) list.push(value);
        else fields[field.property] = [value];
      }
    }
    return fields;
  }

  /** Numbers of a list in one field, as proto3 writes them. */
  #packed(fields: Fields, field: ResolvedField, end: number): void {
    const until = this.#until(end);
    const numbers = (fields[field.property] as unknown[] | undefined) ?? [];
    while (this.#at < until) numbers.push(this.#value(field, until, 0));
    fields[field.property] = numbers;
  }

  #value(field: ResolvedField, end: number, depth: number): unknown {
    switch (field.kind) {
      case "bool":
        this.#varint(end);
        return this.#low !== 0 || this.#high !== 0;
      case "uint32":
        this.#varint(end);
        return this.#low;
      case "enum":
        this.#varint(end);
        return this.#low | 0;
      case "int64":
        this.#varint(end);
        return this.#high < 0x200000 ? this.#high * TWO_32 + this.#low : safeNumber(this.#big(true));
      case "id":
      case "uid":
        this.#varint(end);
        if (this.#high === 0) return this.#low === 0 ? "" : String(this.#low);
        return String(this.#big(field.kind === "id"));
      case "key":
        return keyOfBytes(this.#bytesOf(end));
      case "bytes":
        return this.#bytesOf(end);
      case "string":
        return textOf(this.#bytesOf(end));
      case "message": {
        const until = this.#until(end);
        return this.message(field.type!(), until, depth + 1);
      }
      default:
        return field.kind satisfies never;
    }
  }

  #big(isSigned: boolean): bigint {
    const value = (BigInt(this.#high) << 32n) | BigInt(this.#low);
    return isSigned ? BigInt.asIntN(64, value) : value;
  }

  #varint(end: number): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#at >= end) throw malformed("unexpected EOF");
      const byte = this.#bytes[this.#at++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw malformed("integer overflow");
  }

  /** Where what follows ends. */
  #until(end: number): number {
    this.#varint(end);
    const until = this.#at + this.#low;
    if (this.#high !== 0 || until > end) throw malformed("unexpected EOF");
    return until;
  }

  #bytesOf(end: number): Uint8Array {
    const until = this.#until(end);
    const start = this.#at;
    this.#at = until;
    return this.#bytes.subarray(start, until);
  }

  #skip(wire: number, end: number): void {
    if (wire === VARINT) this.#varint(end);
    else if (wire === LENGTH) this.#at = this.#until(end);
    else if (wire === FIXED64) this.#at += 8;
    else if (wire === FIXED32) this.#at += 4;
    else throw malformed(`illegal wireType ${wire}`);
    if (this.#at > end) throw malformed("unexpected EOF");
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("string field contains invalid UTF-8");
  }
}

function wireOf({ kind }: ResolvedField): number {
  return kind === "key" || kind === "bytes" || kind === "string" || kind === "message" ? LENGTH : VARINT;
}

/** Appends a message's bytes; the room it has grows. */
export class ProtobufWriter {
  #bytes: Uint8Array;
  #at = 0;

  constructor(capacityBytes = 1024) {
    this.#bytes = new Uint8Array(capacityBytes);
  }

  reset(at = 0): void {
    this.#at = at;
  }

  get length(): number {
    return this.#at;
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  message<T>(type: MessageType<T>, message: T): void {
    for (const field of type.fields) {
      const value = (message as Fields)[field.property];
      if (value === undefined || (isZero(value) && field.isOneof !== true)) continue;
      if (!field.isRepeated) this.#field(field, value);
      else for (const item of value as readonly unknown[]) this.#field(field, item);
    }
  }

  #reserve(count: number): void {
    const needed = this.#at + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }

  #field(field: ResolvedField, value: unknown): void {
    this.#varint((field.number << 3) | wireOf(field));
    switch (field.kind) {
      case "bool":
        this.#varint(value ? 1 : 0);
        return;
      case "uint32":
      case "enum":
        this.#varint(value as number);
        return;
      case "int64":
        if ((value as number) < 0) this.#big(BigInt(value as number));
        else this.#varint(value as number);
        return;
      case "id":
      case "uid":
        this.#id(value as string);
        return;
      case "key":
        this.#binary(value as string);
        return;
      case "bytes":
        this.#raw(value as Uint8Array);
        return;
      case "string":
        this.#raw(encoder.encode(value as string));
        return;
      case "message":
        this.#nested(field.type!(), value);
        return;
      default:
        field.kind satisfies never;
    }
  }

  /** Its length stands before it: written with one byte for it, moved where it needs more. */
  #nested(type: MessageType<unknown>, value: unknown): void {
    this.#reserve(1);
    const start = ++this.#at;
    this.message(type, value);
    const length = this.#at - start;
    let extra = 0;
    for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 128)) extra++;
    if (extra > 0) {
      this.#reserve(extra);
      this.#bytes.copyWithin(start + extra, start, this.#at);
    }
    const end = this.#at + extra;
    this.#at = start - 1;
    this.#varint(length);
    this.#at = end;
  }

  #varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80000000) {
      this.#bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  #id(text: string): void {
    if (text.length < 16 && !text.startsWith("-")) this.#varint(Number(text));
    else this.#big(BigInt(text));
  }

  #big(value: bigint): void {
    this.#reserve(10);
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#at++] = Number(rest);
  }

  #binary(text: string): void {
    this.#varint(text.length);
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#at++] = text.charCodeAt(i);
  }

  #raw(bytes: Uint8Array): void {
    this.#varint(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}

export function bytesOfMessage<T>(type: MessageType<T>, message: T): Uint8Array {
  const writer = new ProtobufWriter();
  writer.message(type, message);
  return writer.take();
}
