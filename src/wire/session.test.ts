// Frames between a caller and the Coordinator.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clock, key, mutated, value, writeId } from "../../test/unit/replication/arbitraries.ts";
import { ByteWriter, MalformedBytes } from "./bytes.ts";
import { MalformedClock } from "./clock.ts";
import {
  CONSISTENCIES,
  readAnswers,
  readRequests,
  type SessionAnswer,
  type SessionRequest,
  writeAnswer,
  writeRequest,
} from "./session.ts";

const id = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const common = {
  id,
  consistency: fc.option(fc.constantFrom(...CONSISTENCIES), { nil: undefined }),
  isRetry: fc.boolean(),
  key,
  clock: fc.option(clock, { nil: undefined }),
};
const bodyHash = fc.option(fc.uint8Array({ minLength: 8, maxLength: 8 }), { nil: undefined });
const absent = fc.constant(undefined);
const request: fc.Arbitrary<SessionRequest> = fc.oneof(
  fc.record({ ...common, op: fc.constant("put" as const), writeId, bodyHash, value }),
  fc.record({ ...common, op: fc.constant("delete" as const), writeId, bodyHash, value: absent }),
  fc.record({ ...common, op: fc.constant("get" as const), writeId: absent, bodyHash: absent, value: absent }),
  fc.record({ id, op: fc.constant("vector" as const), key, value: fc.uint8Array({ maxLength: 30 }) }),
);
const sibling = fc.record({ clock, value: fc.option(value, { nil: undefined }) });
const answer: fc.Arbitrary<SessionAnswer> = fc.oneof(
  fc.record({ id, kind: fc.constantFrom("written" as const, "notFound" as const), clock }),
  fc.record({
    id,
    kind: fc.constant("value" as const),
    clock,
    value,
    siblings: fc.option(fc.array(sibling, { maxLength: 4 }), { nil: undefined }),
  }),
  fc.record({ id, kind: fc.constant("pong" as const) }),
  fc.record({ id, kind: fc.constant("vector" as const), body: fc.uint8Array({ maxLength: 30 }) }),
  fc.record({
    id,
    kind: fc.constant("error" as const),
    code: fc.string(),
    message: fc.string({ unit: "grapheme" }),
    details: fc.option(
      fc
        .dictionary(fc.string({ minLength: 1 }), fc.oneof(fc.string(), fc.integer(), fc.boolean()))
        .map((all) => ({ ...all })),
      { nil: undefined },
    ),
  }),
);

function frameOf<T>(items: readonly T[], write: (writer: ByteWriter, item: T) => void): Uint8Array {
  const writer = new ByteWriter(16);
  for (const item of items) write(writer, item);
  return writer.take();
}
const requestFrame = fc.array(request, { maxLength: 5 }).map((items) => frameOf(items, writeRequest));
const answerFrame = fc.array(answer, { maxLength: 5 }).map((items) => frameOf(items, writeAnswer));

/** JSON keeps no undefined members and no prototypes. */
const plain = (items: unknown): unknown =>
  JSON.parse(JSON.stringify(items, (_, item) => (item instanceof Uint8Array ? [...item] : item)));

function readsOrRefuses(read: (frame: Uint8Array) => unknown, frame: Uint8Array): void {
  try {
    read(frame);
  } catch (error) {
    expect(error instanceof MalformedBytes || error instanceof MalformedClock, String(error)).toBe(true);
  }
}

describe("session frames", () => {
  it("requests round-trip, many in one frame", () => {
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 5 }),
        (items) => void expect(plain(readRequests(frameOf(items, writeRequest)))).toEqual(plain(items)),
      ),
    );
  });

  it("answers round-trip, many in one frame", () => {
    fc.assert(
      fc.property(
        fc.array(answer, { maxLength: 5 }),
        (items) => void expect(plain(readAnswers(frameOf(items, writeAnswer)))).toEqual(plain(items)),
      ),
    );
  });

  it("a ping is six bytes and its pong five", () => {
    const ping = frameOf([{ id: 7, op: "ping" as const, key: "" }], writeRequest);
    expect(ping.length).toBe(6);
    expect(readRequests(ping)).toEqual([{ id: 7, op: "ping", key: "" }]);
    expect(frameOf([{ id: 7, kind: "pong" as const }], writeAnswer).length).toBe(5);
  });

  it("changed request frames are read or refused by name", () => {
    fc.assert(
      fc.property(mutated(requestFrame), (frame) => readsOrRefuses(readRequests, frame)),
      { numRuns: 3000 },
    );
  });

  it("changed answer frames are read or refused by name", () => {
    fc.assert(
      fc.property(mutated(answerFrame), (frame) => readsOrRefuses(readAnswers, frame)),
      { numRuns: 3000 },
    );
  });

  it("unknown operations and kinds, and writes without an id or a value, are refused", () => {
    expect(() => readRequests(Uint8Array.from([0, 0, 0, 0, 9, 0]))).toThrow(/unknown operation 9/);
    expect(() => readAnswers(Uint8Array.from([0, 0, 0, 0, 99]))).toThrow(/unknown answer kind 99/);
    const writer = new ByteWriter();
    expect(() => writeRequest(writer, { id: 1, op: "delete", key: "k" })).toThrow(/write id of 16 bytes/);
    expect(() => writeRequest(writer, { id: 1, op: "put", key: "k", writeId: new Uint8Array(16) })).toThrow(
      /needs a value/,
    );
  });
});
