// The hash that places keys: stored tables are sorted by it, so it must never change.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { murmur128, tokenOf } from "./token.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** As SMHasher prints it: the four words, each big-endian. */
function digest(bytes: Uint8Array): string {
  return [...murmur128(bytes, bytes.length)].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

const MASK = 0xffffffffn;
const C = [0x239b961bn, 0xab0e9789n, 0x38b34ae5n, 0xa1e38b93n] as const;
const rotate = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (32n - bits))) & MASK;

/** The slow twin: the reference in big integers, byte by byte. */
function reference(bytes: Uint8Array): string {
  const h = [0n, 0n, 0n, 0n];
  const add = [0x561ccd1bn, 0x0bcaa747n, 0x96cd1c35n, 0x32ac3b17n];
  const mix = (lane: number, word: bigint): bigint =>
    (rotate((word * C[lane]!) & MASK, BigInt(15 + lane)) * C[(lane + 1) % 4]!) & MASK;
  const turn = [19n, 17n, 15n, 13n];
  const whole = bytes.length - (bytes.length % 16);
  const wordAt = (at: number): bigint => {
    let word = 0n;
    for (let i = 3; i >= 0; i--) word = (word << 8n) | BigInt(bytes[at + i] ?? 0);
    return word;
  };
  for (let at = 0; at < whole; at += 16) {
    for (let lane = 0; lane < 4; lane++) {
      h[lane]! ^= mix(lane, wordAt(at + lane * 4));
      h[lane] = ((rotate(h[lane]!, turn[lane]!) + h[(lane + 1) % 4]!) * 5n + add[lane]!) & MASK;
    }
  }
  for (let lane = 0; lane < 4; lane++)
    if (whole + lane * 4 < bytes.length) h[lane]! ^= mix(lane, wordAt(whole + lane * 4));
  const spread = (): void => {
    h[0] = (h[0]! + h[1]! + h[2]! + h[3]!) & MASK;
    for (let lane = 1; lane < 4; lane++) h[lane] = (h[lane]! + h[0]!) & MASK;
  };
  for (let lane = 0; lane < 4; lane++) h[lane]! ^= BigInt(bytes.length);
  spread();
  for (let lane = 0; lane < 4; lane++) {
    let x = h[lane]!;
    x = ((x ^ (x >> 16n)) * 0x85ebca6bn) & MASK;
    x = ((x ^ (x >> 13n)) * 0xc2b2ae35n) & MASK;
    h[lane] = x ^ (x >> 16n);
  }
  spread();
  return h.map((word) => word.toString(16).padStart(8, "0")).join("");
}

describe("murmur3 x86 128", () => {
  it("gives the published digests", () => {
    expect(digest(encode(""))).toBe("0".repeat(32));
    expect(digest(encode("The quick brown fox jumps over the lazy dog"))).toBe("2f1583c3ecee2c675d7bf66ce5e91d2c");
  });

  it("agrees with the reference on every length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => void expect(digest(bytes)).toBe(reference(bytes))),
    );
  });
});

describe("tokens", () => {
  it("[RP-25] hash tenant and key as UTF-8, and are unsigned", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.string({ unit: "grapheme", maxLength: 3000 }),
        (tenant, key) => {
          const words = digest(encode(`${tenant}/${key}`));
          expect(tokenOf(tenant, key)).toEqual({
            hi: Number.parseInt(words.slice(0, 8), 16),
            lo: Number.parseInt(words.slice(8, 16), 16),
          });
        },
      ),
    );
  });

  it("a long key after a short one is hashed whole", () => {
    tokenOf(1, "short");
    const long = "é".repeat(5000);
    expect(tokenOf(1, long).hi).toBe(Number.parseInt(digest(encode(`1/${long}`)).slice(0, 8), 16));
  });
});
