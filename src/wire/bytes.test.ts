// Writers and readers of bytes agree, and nothing is read past the end.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteReader, ByteWriter, MalformedBytes } from "./bytes.ts";

const field = fc.oneof(
  fc.record({ kind: fc.constant("u8" as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant("u32" as const), value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
  fc.record({ kind: fc.constant("f64" as const), value: fc.double({ noNaN: true }) }),
  fc.record({ kind: fc.constant("varint" as const), value: fc.oneof(fc.maxSafeNat(), fc.nat(300)) }),
  fc.record({ kind: fc.constant("bytes" as const), value: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({ kind: fc.constant("string" as const), value: fc.string({ unit: "grapheme", maxLength: 120 }) }),
);
type Field = typeof field extends fc.Arbitrary<infer T> ? T : never;

function write(fields: readonly Field[]): Uint8Array {
  const writer = new ByteWriter(1);
  for (const { kind, value } of fields) (writer[kind] as (value: unknown) => void)(value);
  return writer.take();
}

describe("bytes", () => {
  it("every field round-trips, in any order, from the smallest buffer", () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), (fields) => {
        const reader = new ByteReader(write(fields));
        for (const { kind, value } of fields) expect(reader[kind]()).toEqual(value);
        expect(reader.done).toBe(true);
      }),
    );
  });

  it("a read past the end throws MalformedBytes", () => {
    fc.assert(
      fc.property(field, (one) => {
        const bytes = write([one]);
        for (let length = 0; length < bytes.length; length++)
          expect(() => new ByteReader(bytes.subarray(0, length))[one.kind]()).toThrow(MalformedBytes);
      }),
    );
  });

  it("any bytes read as any field give a value or MalformedBytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 20 }),
        fc.array(fc.constantFrom("u8", "u32", "f64", "varint", "bytes", "string")),
        (bytes, kinds) => {
          const reader = new ByteReader(bytes);
          try {
            for (const kind of kinds) reader[kind as "u8"]();
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedBytes);
          }
          expect(reader.offset).toBeLessThanOrEqual(bytes.length);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("a varint is at most 2^53-1, whatever its length", () => {
    expect(new ByteReader(write([{ kind: "varint", value: Number.MAX_SAFE_INTEGER }])).varint()).toBe(
      Number.MAX_SAFE_INTEGER,
    );
    for (const last of [0x10, 0x7f]) {
      const bytes = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, last]);
      expect(() => new ByteReader(bytes).varint()).toThrow(/2\^53-1/);
    }
    expect(() => new ByteReader(new Uint8Array(20).fill(0x80)).varint()).toThrow(/2\^53-1/);
  });

  it("invalid UTF-8 is refused, a byte order mark is kept", () => {
    const writer = new ByteWriter();
    writer.bytes(Uint8Array.from([0x61, 0xff]));
    expect(() => new ByteReader(writer.take()).string()).toThrow(/UTF-8/);
    expect(new ByteReader(write([{ kind: "string", value: "\ufeffa" }])).string()).toBe("\ufeffa");
  });

  it("a writer that is reset starts again; a view sees what was written", () => {
    const writer = new ByteWriter(4);
    writer.string("first");
    writer.reset();
    writer.u32(1);
    writer.u32At(0, 7);
    expect([...writer.view()]).toEqual([7, 0, 0, 0]);
  });
});
