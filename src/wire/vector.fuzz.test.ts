import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MalformedBytes } from "./bytes.ts";
import { DURABILITIES, type VectorAnswer, type VectorCall, type VectorRequest } from "./vector.ts";
import { readVectorAnswer, writeVectorAnswer } from "./vector-answers.ts";
import { readVectorCall, writeVectorCall } from "./vector-requests.ts";
import {
  readVectorSessionAnswer,
  readVectorSessionCall,
  type VectorSessionCall,
  writeVectorSessionAnswer,
  writeVectorSessionCall,
} from "./vector-session.ts";

const RUNS = 1500;
const bytes = fc.uint8Array({ maxLength: 40 });
const text = fc.string({ unit: "grapheme", maxLength: 12 });
const whole = fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER));
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });
const shown = fc.record({ values: fc.boolean(), metadata: fc.boolean() });
const durability = optional(fc.constantFrom(...DURABILITIES));
const kindOf = <K extends string>(kind: K): fc.Arbitrary<K> => fc.constant(kind);
const row = fc.record({ id: text, values: bytes, metadata: bytes });
const effort = optional(fc.nat());

const request: fc.Arbitrary<VectorRequest> = fc.oneof(
  fc.record({ kind: kindOf("upsert"), rows: fc.array(row, { maxLength: 4 }), atomic: fc.boolean(), durability }),
  fc.record({ kind: kindOf("update"), id: text, values: optional(bytes), metadata: optional(bytes), durability }),
  fc.record({ kind: kindOf("delete"), ids: fc.array(text, { maxLength: 4 }), durability }),
  fc.record({ kind: kindOf("deleteWhere"), filter: text, limit: whole }),
  fc.record({ kind: kindOf("get"), ids: fc.array(text, { maxLength: 4 }), shown }),
  fc.record({ kind: kindOf("list"), cursor: bytes, limit: whole, filter: optional(text), shown }),
  fc.record({ kind: kindOf("count"), filter: optional(text) }),
  fc.record({
    kind: kindOf("search"),
    queries: fc.array(bytes, { maxLength: 3 }),
    k: whole,
    threshold: optional(fc.double({ noNaN: true })),
    filter: optional(text),
    index: text,
    ef: effort,
    probes: effort,
    rerank: effort,
    shown,
    explain: fc.boolean(),
  }),
  fc.record({
    kind: kindOf("within"),
    query: bytes,
    threshold: fc.double({ noNaN: true }),
    filter: optional(text),
    after: optional(fc.record({ score: fc.double({ noNaN: true }), id: text })),
    limit: whole,
    without: optional(text),
    shown,
  }),
  fc.record({
    kind: kindOf("importStage"),
    job: text,
    bodyHash: text,
    part: whole,
    rows: fc.array(fc.record({ index: whole, row }), { maxLength: 4 }),
    refused: fc.array(fc.record({ index: whole, id: text, code: text, message: text }), { maxLength: 2 }),
  }),
  fc.record({ kind: kindOf("importStart"), job: text, parts: whole }),
  fc.record({ kind: kindOf("importCancel"), staged: fc.boolean(), job: text }),
  fc.record({ kind: kindOf("imports"), job: optional(text) }),
  fc.record({ kind: kindOf("status") }),
);
const identity = fc.option(
  fc.record({
    writeId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    bodyHash: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  }),
  { nil: undefined },
);
const call: fc.Arbitrary<VectorCall> = fc.tuple(identity, request).map(([more, one]) => ({ ...more, request: one }));

const failure = fc.record(
  { kind: kindOf("error"), code: text, message: text },
  { requiredKeys: ["kind", "code", "message"] },
);
const stamp = fc.record({ revision: whole, version: whole, createdMs: whole, updatedMs: whole });
const shownRow = fc.record({ id: text, stamp, values: bytes, metadata: bytes }, { requiredKeys: ["id", "stamp"] });
const place = { term: whole, revision: whole };
const hits = fc.array(
  fc.tuple(shownRow, fc.double({ noNaN: true })).map(([one, score]) => ({ ...one, score })),
  { maxLength: 3 },
);
const answer: fc.Arbitrary<VectorAnswer> = fc.oneof(
  failure,
  failure.map((one) => ({ ...one, details: { issues: [{ path: "id", message: "x" }] } })),
  fc.record({
    kind: kindOf("written"),
    ...place,
    results: fc.array(fc.oneof(stamp, failure, fc.constant(null)), { maxLength: 4 }),
    more: fc.boolean(),
  }),
  fc.record({
    kind: kindOf("rows"),
    ...place,
    rows: fc.array(fc.oneof(shownRow, fc.constant(null)), { maxLength: 4 }),
    cursor: bytes,
  }),
  fc.record({ kind: kindOf("count"), ...place, count: whole }),
  fc.record({
    kind: kindOf("found"),
    ...place,
    results: fc.array(hits, { maxLength: 3 }),
    scanned: whole,
    cached: whole,
    explain: text,
  }),
  fc.record({ kind: kindOf("within"), ...place, rows: hits, more: fc.boolean(), total: whole, scanned: whole }),
  fc.record({ kind: kindOf("status"), ...place, status: text }),
);

/** Cut, spliced, or with a stretch of noise. */
function damaged(real: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  return fc.tuple(real, real, fc.nat(), fc.nat(), bytes).map(([first, second, at, from, noise]) => {
    const head = first.subarray(0, at % (first.length + 1));
    return Uint8Array.from([...head, ...noise, ...second.subarray(from % (second.length + 1))]);
  });
}

/** Only the declared error; what is read without one is what its bytes say. */
function survives<T>(read: (from: Uint8Array) => T, input: Uint8Array): void {
  try {
    read(input);
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
  }
}

describe("bytes of vector calls", () => {
  it("requests come back as they were", () => {
    fc.assert(
      fc.property(call, (one) => void expect(readVectorCall(writeVectorCall(one))).toEqual(one)),
      { numRuns: RUNS },
    );
  });

  it("answers come back as they were", () => {
    fc.assert(
      fc.property(answer, (one) => void expect(readVectorAnswer(writeVectorAnswer(one))).toEqual(one)),
      { numRuns: RUNS },
    );
  });

  it("[VE-270] calls and answers of sessions come back as they were; damaged ones throw MalformedBytes and nothing else", () => {
    const item = fc.record({ id: text, values: optional(bytes), metadata: optional(bytes) });
    const of = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const asked: fc.Arbitrary<VectorSessionCall> = fc.record(
      {
        operation: fc.constantFrom("upsert", "batch", "get", "deleteWhere", "count", "searchMany"),
        databaseId: text,
        options: text,
        items: fc.array(item, { maxLength: 4 }),
      },
      { requiredKeys: ["operation", "databaseId", "options", "items"] },
    );
    const identified = fc
      .tuple(asked, fc.option(fc.record({ writeId: of(16), bodyHash: of(8) })))
      .map(([one, identity]): VectorSessionCall => ({ ...one, ...identity }));
    const head = fc.record({ shards: fc.array(fc.nat()), cursor: fc.option(text) });
    const answered = fc.tuple(head, answer);
    fc.assert(
      fc.property(identified, answered, (one, [of, body]) => {
        expect(readVectorSessionCall(writeVectorSessionCall(one))).toEqual(one);
        expect(readVectorSessionAnswer(writeVectorSessionAnswer(of, body))).toEqual({ head: of, answer: body });
      }),
      { numRuns: RUNS },
    );
    const writtenAnswer = answered.map(([of, body]) => writeVectorSessionAnswer(of, body));
    fc.assert(
      fc.property(damaged(identified.map(writeVectorSessionCall)), damaged(writtenAnswer), (input, output) => {
        survives(readVectorSessionCall, input);
        survives(readVectorSessionAnswer, output);
      }),
      { numRuns: RUNS },
    );
  });

  it("damaged bytes throw MalformedBytes and nothing else", () => {
    fc.assert(
      fc.property(damaged(call.map(writeVectorCall)), (input) => survives(readVectorCall, input)),
      { numRuns: RUNS },
    );
    fc.assert(
      fc.property(damaged(answer.map(writeVectorAnswer)), (input) => survives(readVectorAnswer, input)),
      { numRuns: RUNS },
    );
  });
});
