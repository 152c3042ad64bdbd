// Where a key lives on the ring: the two high 32-bit words of murmur3 x86 128 over "<tenant>/<key>".
// Source: MurmurHash3 by Austin Appleby (public domain), variant x86_128, seed 0; test vectors in token.test.ts.
// Must not change: stored tables are sorted by it.
import type { Token } from "../storage/types.ts";

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;

const encoder = new TextEncoder();
let buffer = new Uint8Array(4096);

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

function finish(h: number): number {
  let x = h;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

const MULTIPLIERS = [C1, C2, C3, C4, C1] as const;
const ROTATIONS = [15, 16, 17, 18] as const;

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** The last 1-15 bytes: each lane's little-endian word, zero-padded, mixed as the reference does. */
function mixTail(h: Int32Array, bytes: Uint8Array, from: number, length: number): void {
  for (let lane = 3; lane >= 0; lane--) {
    const start = from + lane * 4;
    if (start >= length) continue;
    let k = 0;
    for (let i = Math.min(start + 4, length) - 1; i >= start; i--) k = (k << 8) | bytes[i]!;
    k = Math.imul(rotate(Math.imul(k, MULTIPLIERS[lane]!), ROTATIONS[lane]!), MULTIPLIERS[lane + 1]!);
    h[lane]! ^= k;
  }
}

const lanes = new Int32Array(4);

/** murmur3 x86 128 of the first `length` bytes; the four words in order. The array is reused by the next call. */
export function murmur128(bytes: Uint8Array, length: number): Int32Array {
  let h1 = 0;
  let h2 = 0;
  let h3 = 0;
  let h4 = 0;
  const blocks = length - (length % 16);
  for (let i = 0; i < blocks; i += 16) {
    h1 ^= Math.imul(rotate(Math.imul(word(bytes, i), C1), 15), C2);
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
    h2 ^= Math.imul(rotate(Math.imul(word(bytes, i + 4), C2), 16), C3);
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
    h3 ^= Math.imul(rotate(Math.imul(word(bytes, i + 8), C3), 17), C4);
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
    h4 ^= Math.imul(rotate(Math.imul(word(bytes, i + 12), C4), 18), C1);
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  }
  const h = lanes;
  h[0] = h1;
  h[1] = h2;
  h[2] = h3;
  h[3] = h4;
  mixTail(h, bytes, blocks, length);
  for (let i = 0; i < 4; i++) h[i]! ^= length;
  spread(h);
  for (let i = 0; i < 4; i++) h[i] = finish(h[i]!);
  spread(h);
  return h;
}

function spread(h: Int32Array): void {
  h[0] = h[0]! + h[1]! + h[2]! + h[3]!;
  h[1]! += h[0]!;
  h[2]! += h[0]!;
  h[3]! += h[0]!;
}

/** Both words are unsigned. */
export function tokenOf(tenant: number, key: string): Token {
  const text = `${tenant}/${key}`;
  if (text.length * 3 > buffer.length) buffer = new Uint8Array(text.length * 3);
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) {
      length = encoder.encodeInto(text, buffer).written;
      break;
    }
    buffer[i] = code;
  }
  const h = murmur128(buffer, length);
  return { hi: h[0]! >>> 0, lo: h[1]! >>> 0 };
}
