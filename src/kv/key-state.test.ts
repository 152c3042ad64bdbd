// The bytes of a key's state.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyState, mutated } from "../../test/unit/replication/arbitraries.ts";
import { ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { MalformedClock } from "../wire/clock.ts";
import { compareBytes, decodeState, EMPTY_STATE, encodeState, sameBytes, writeState } from "./key-state.ts";

describe("key state bytes", () => {
  it("[KV-12] round-trip, and equal states have equal bytes", () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const bytes = encodeState(state);
        expect(decodeState(bytes)).toEqual(state);
        expect(encodeState(decodeState(bytes))).toEqual(bytes);
      }),
    );
  });

  it("[KV-12] changed bytes are refused or read as another state, never anything else", () => {
    fc.assert(
      fc.property(mutated(anyState.map(encodeState)), (bytes) => {
        try {
          decodeState(bytes);
        } catch (error) {
          expect(error instanceof MalformedBytes || error instanceof MalformedClock).toBe(true);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("[KV-12] every cut and every trailing byte is refused", () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const bytes = encodeState(state);
        for (let length = 0; length < bytes.length; length++)
          expect(() => decodeState(bytes.subarray(0, length))).toThrow(MalformedBytes);
        expect(() => decodeState(Uint8Array.from([...bytes, 0]))).toThrow(/after the end/);
      }),
      { numRuns: 50 },
    );
  });

  it("[KV-12] another format and a version without a dot are refused", () => {
    const bytes = encodeState(EMPTY_STATE);
    expect(() => decodeState(Uint8Array.from([2, ...bytes.subarray(1)]))).toThrow(/format 2/);
    const version = { writeId: new Uint8Array(16), dots: [], time: 0, restamped: false, value: undefined };
    expect(() => decodeState(encodeState({ ...EMPTY_STATE, versions: [version] }))).toThrow(/without a dot/);
  });

  it("the prefix and the last version's value together are the state", () => {
    fc.assert(
      fc.property(anyState, (state) => {
        const writer = new ByteWriter(16);
        const prefix = writeState(writer, state);
        const value = state.versions.at(-1)?.value ?? new Uint8Array(0);
        expect(Buffer.concat([writer.take().subarray(0, prefix), value]).equals(encodeState(state))).toBe(true);
      }),
    );
  });

  it("bytes compare as Buffers do", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 6 }), fc.uint8Array({ maxLength: 6 }), (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b));
        expect(sameBytes(a, b)).toBe(Buffer.compare(a, b) === 0);
      }),
    );
  });
});
