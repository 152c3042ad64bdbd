// The two outer forms of a context.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clock, mutated } from "../../test/unit/replication/arbitraries.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "./bytes.ts";
import {
  actorName,
  type Clock,
  clockFromMap,
  clockToMap,
  MAX_CLOCK_ENTRIES,
  MalformedClock,
  readClock,
  writeClock,
} from "./clock.ts";

function bytesOf(context: Clock): Uint8Array {
  const writer = new ByteWriter(16);
  writeClock(writer, context);
  return writer.take();
}

describe("a clock as a map", () => {
  it("[KV-18] round-trips, through JSON too", () => {
    fc.assert(
      fc.property(
        clock,
        (context) => void expect(clockFromMap(JSON.parse(JSON.stringify(clockToMap(context))))).toEqual(context),
      ),
    );
  });

  it("[KV-18] is refused with a sentence that names what is wrong", () => {
    const cases: readonly (readonly [unknown, RegExp])[] = [
      [null, /must be an object/],
      [[], /must be an object/],
      ["n1.1", /must be an object/],
      [{ x: 1 }, /"x" is not a clock entry/],
      [{ "n0.1": 1 }, /"n0\.1"/],
      [{ "n1.4096": 1 }, /"n1\.4096"/],
      [{ "n1048577.1": 1 }, /"n1048577\.1"/],
      [{ "n1.1": 0 }, /"n1\.1" holds 0/],
      [{ "n1.1": 1.5 }, /1\.5/],
      [{ "n1.1": "1" }, /holds "1"/],
      [{ "n1.1": 2 ** 53 }, /holds 9007199254740992/],
      [{ "n1.1": [5, 5] }, /at least 6/],
      [{ "n1.1": [] }, /"n1\.1" holds undefined/],
      [{ "n1.1": [0, 3, 2] }, /at least 4/],
      [{ "@": -1 }, /"@"/],
      [
        Object.fromEntries(Array.from({ length: MAX_CLOCK_ENTRIES + 1 }, (_, i) => [`n${i + 1}.1`, 1])),
        /1025 entries, the limit is 1024/,
      ],
    ];
    for (const [input, message] of cases) {
      expect(() => clockFromMap(input), JSON.stringify(input)?.slice(0, 60)).toThrow(message);
      expect(() => clockFromMap(input)).toThrow(MalformedClock);
    }
  });

  it("[KV-18] anything at all is a clock or MalformedClock", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.anything(), fc.dictionary(fc.constantFrom("n1.1", "n2.1", "@", "x"), fc.anything())),
        (input) => {
          try {
            clockFromMap(input);
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedClock);
          }
        },
      ),
    );
  });

  it("names actors by node and incarnation", () => expect(actorName(3 * 4096 + 2)).toBe("n3.2"));
});

describe("a clock as bytes", () => {
  it("[KV-18] round-trips", () => {
    fc.assert(
      fc.property(clock, (context) => void expect(readClock(new ByteReader(bytesOf(context)))).toEqual(context)),
    );
  });

  it("[KV-18] out of order, twice, or zero is refused: joining relies on the order", () => {
    const a = { actor: 4097, counter: 3 };
    const b = { actor: 8193, counter: 2 };
    const wrong: readonly Clock[] = [
      { vector: [b, a], dots: [], time: 0 },
      { vector: [a, { ...a, counter: 4 }], dots: [], time: 0 },
      { vector: [{ ...a, counter: 0 }], dots: [], time: 0 },
      { vector: [], dots: [b, a], time: 0 },
      { vector: [], dots: [a, a], time: 0 },
    ];
    for (const context of wrong) expect(() => readClock(new ByteReader(bytesOf(context)))).toThrow(MalformedClock);
    expect(() =>
      readClock(new ByteReader(bytesOf({ vector: [], dots: [a, { ...a, counter: 9 }, b], time: 0 }))),
    ).not.toThrow();
  });

  it("[KV-18] changed bytes give a clock in order, or a named error", () => {
    fc.assert(
      fc.property(mutated(clock.map(bytesOf)), (bytes) => {
        try {
          const read = readClock(new ByteReader(bytes));
          for (let i = 1; i < read.vector.length; i++)
            expect(read.vector[i]!.actor).toBeGreaterThan(read.vector[i - 1]!.actor);
        } catch (error) {
          expect(error instanceof MalformedBytes || error instanceof MalformedClock, String(error)).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
