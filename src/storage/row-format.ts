// The one binary layout of a row, shared by commit log, memtable, blocks and merge kernel, so that a row is encoded once
// and then only copied. Guarantees: order is (token.hi, token.lo, tenant, key bytes), all unsigned. Must not: allocate per row.
//
//   kind u8 | flags u8 | keyBytes u16 | hi u32 | lo u32 | tenant u32 | valueBytes u32 | key | value      (little endian)

import type { RowKey } from "./types.ts";

/** Bytes before the key. */
export const ROW_HEADER_BYTES = 20;

/** Kinds of log entries. Tables hold one kind each. */
export const KIND_ROW = 1;
export const KIND_RECORD = 2;

/** Flag bit: the merge asks `shouldDrop` about this row. */
export const FLAG_PURGEABLE = 1;

/** Bytes with a DataView over the same memory; made once per chunk or block, not per access. */
export interface Buffer {
  readonly u8: Uint8Array;
  readonly view: DataView;
}

/** Wraps bytes for row access. */
export function bufferOf(u8: Uint8Array): Buffer {
  return { u8, view: new DataView(u8.buffer, u8.byteOffset, u8.byteLength) };
}

/** What is looked for: a row key with its key bytes. Reused scratch; `keyBytes` bytes of `key` count. */
export interface Probe {
  hi: number;
  lo: number;
  tenant: number;
  key: Uint8Array;
  keyBytes: number;
}

/** Length of the row at `offset`. */
export function rowBytes(buffer: Buffer, offset: number): number {
  return ROW_HEADER_BYTES + buffer.view.getUint16(offset + 2, true) + buffer.view.getUint32(offset + 16, true);
}

/** The value of the row at `offset`, a view. */
export function rowValue(buffer: Buffer, offset: number): Uint8Array {
  const start = offset + ROW_HEADER_BYTES + buffer.view.getUint16(offset + 2, true);
  return buffer.u8.subarray(start, start + buffer.view.getUint32(offset + 16, true));
}

/** The key bytes of the row at `offset`, a view. */
export function rowKeyBytes(buffer: Buffer, offset: number): Uint8Array {
  const start = offset + ROW_HEADER_BYTES;
  return buffer.u8.subarray(start, start + buffer.view.getUint16(offset + 2, true));
}

export function rowHi(buffer: Buffer, offset: number): number {
  return buffer.view.getUint32(offset + 4, true);
}

export function rowLo(buffer: Buffer, offset: number): number {
  return buffer.view.getUint32(offset + 8, true);
}

export function rowTenant(buffer: Buffer, offset: number): number {
  return buffer.view.getUint32(offset + 12, true);
}

/** Header fields of a row to write. */
export interface RowHeader {
  readonly kind: number;
  readonly flags: number;
  readonly keyBytes: number;
  readonly hi: number;
  readonly lo: number;
  readonly tenant: number;
  readonly valueBytes: number;
}

/** < 0, 0, > 0 as the row at `offset` sorts before, at or after the probe. */
export function compareToProbe(buffer: Buffer, offset: number, probe: Probe): number {
  const { view } = buffer;
  const hi = view.getUint32(offset + 4, true);
  if (hi !== probe.hi) return hi < probe.hi ? -1 : 1;
  const lo = view.getUint32(offset + 8, true);
  if (lo !== probe.lo) return lo < probe.lo ? -1 : 1;
  const tenant = view.getUint32(offset + 12, true);
  if (tenant !== probe.tenant) return tenant < probe.tenant ? -1 : 1;
  const keyBytes = view.getUint16(offset + 2, true);
  return compareBytes(buffer.u8, offset + ROW_HEADER_BYTES, keyBytes, probe.key, 0, probe.keyBytes);
}

/** Order of two rows. */
export function compareRows(a: Buffer, aOffset: number, b: Buffer, bOffset: number): number {
  const aHi = a.view.getUint32(aOffset + 4, true);
  const bHi = b.view.getUint32(bOffset + 4, true);
  if (aHi !== bHi) return aHi < bHi ? -1 : 1;
  const aLo = a.view.getUint32(aOffset + 8, true);
  const bLo = b.view.getUint32(bOffset + 8, true);
  if (aLo !== bLo) return aLo < bLo ? -1 : 1;
  const aTenant = a.view.getUint32(aOffset + 12, true);
  const bTenant = b.view.getUint32(bOffset + 12, true);
  if (aTenant !== bTenant) return aTenant < bTenant ? -1 : 1;
  const aKeyBytes = a.view.getUint16(aOffset + 2, true);
  const bKeyBytes = b.view.getUint16(bOffset + 2, true);
  return compareBytes(a.u8, aOffset + ROW_HEADER_BYTES, aKeyBytes, b.u8, bOffset + ROW_HEADER_BYTES, bKeyBytes);
}

// Six positions, not an options object: this is the innermost loop of every search.
function compareBytes(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const shared = Math.min(aLength, bLength);
  for (let i = 0; i < shared; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Writes `key` as UTF-8 at `offset`; the caller has left 3 bytes per UTF-16 unit. Returns the bytes written. */
export function writeKey(target: Uint8Array, offset: number, key: string): number {
  const length = key.length;
  if (length <= 64) {
    let i = 0;
    for (; i < length; i++) {
      const code = key.charCodeAt(i);
      if (code > 127) break;
      target[offset + i] = code;
    }
    if (i === length) return length;
  }
  return encoder.encodeInto(key, target.subarray(offset)).written;
}

/** As {@link writeKey}, of a row that may carry its key as bytes. */
export function writeRowKey(target: Uint8Array, offset: number, row: RowKey): number {
  const { encoded } = row;
  if (encoded === undefined) return writeKey(target, offset, row.key);
  const { source, at, length } = encoded;
  for (let i = 0; i < length; i++) target[offset + i] = source[at + i]!;
  return length;
}

/** The key bytes as a string. */
export function decodeKey(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** A probe with room for the longest key; {@link aim} fills it. */
export function createProbe(keyCapacityBytes: number): Probe {
  return { hi: 0, lo: 0, tenant: 0, key: new Uint8Array(keyCapacityBytes), keyBytes: 0 };
}

/** Points a probe with room for its key at a row. */
export function aim(probe: Probe, row: RowKey): Probe {
  probe.hi = row.token.hi;
  probe.lo = row.token.lo;
  probe.tenant = row.tenant;
  probe.keyBytes = writeRowKey(probe.key, 0, row);
  return probe;
}
