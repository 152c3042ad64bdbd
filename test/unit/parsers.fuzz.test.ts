// Every reader of a binary format over bytes that were spliced, inflated, cut and damaged: only its declared errors, at once, and
// without allocating what a length merely claims. The formats' own tests do small changes; these do the hostile ones.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeState, encodeState } from "../../src/kv/key-state.ts";
import { type ReplicaOp, readOps, readResult, writeOp, writeResult } from "../../src/replication/frames.ts";
import { decodeRecord, encodeAnswer, encodeHearsay, encodeVote } from "../../src/replication/records.ts";
import { readScanPage, writeScanPage } from "../../src/replication/scan-frames.ts";
import { readPage, readPageRequest, writePage, writePageRequest } from "../../src/replication/sync-frames.ts";
import { encodeTableMeta, TableMeta } from "../../src/storage/table-meta.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../../src/wire/bytes.ts";
import { MalformedClock, readClock, writeClock } from "../../src/wire/clock.ts";
import { readAnswers, readRequests, writeAnswer, writeRequest } from "../../src/wire/session.ts";
import { anyState, clock, key, row, value, writeId } from "./replication/arbitraries.ts";

const RUNS = 1500;
const AT_ONCE_MS = 2000;

function written<T>(arbitrary: fc.Arbitrary<T>, write: (writer: ByteWriter, one: T) => void): fc.Arbitrary<Uint8Array> {
  return fc.array(arbitrary, { minLength: 1, maxLength: 3 }).map((list) => {
    const writer = new ByteWriter(256);
    for (const one of list) write(writer, one);
    return writer.take();
  });
}

/** Varints of 2^53-1, 2^32 and over 2^53, the largest u32, zeros. */
const INFLATIONS = [
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0x80, 0x80, 0x80, 0x80, 0x10],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0xff, 0xff, 0xff, 0xff],
  [0, 0, 0, 0],
];

const hostile = (real: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc
    .record({
      first: real,
      second: real,
      at: fc.nat(),
      from: fc.nat(),
      inflation: fc.constantFrom(...INFLATIONS),
      how: fc.constantFrom("splice", "inflate", "replace", "repeat", "cut", "noise"),
      noise: fc.uint8Array({ maxLength: 40 }),
    })
    .map(({ first, second, at, from, inflation, how, noise }) => {
      const split = at % (first.length + 1);
      const [head, tail] = [first.subarray(0, split), first.subarray(split)];
      const join = (...parts: Iterable<number>[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
      if (how === "splice") return join(head, second.subarray(from % (second.length + 1)));
      if (how === "inflate") return join(head, inflation, tail);
      if (how === "replace") return join(head, inflation, tail.subarray(inflation.length));
      if (how === "repeat") return join(head, head, tail);
      return how === "cut" ? head : join(head, noise, tail);
    });

const level = fc.constantFrom(undefined, "one" as const, "quorum" as const, "all" as const);
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const request = fc
  .record({ id: u32, op: fc.constantFrom("put" as const, "get" as const, "delete" as const), key })
  .chain((base) =>
    fc
      .record({ writeId, value, clock: fc.option(clock, { nil: undefined }), consistency: level })
      .map((more) => ({ ...base, ...more })),
  );
const sibling = fc.record({ clock, value: fc.option(value, { nil: undefined }) });
const answer = fc.oneof(
  fc.record({
    id: u32,
    kind: fc.constant("value" as const),
    clock,
    value,
    siblings: fc.array(sibling, { maxLength: 3 }),
  }),
  fc.record({ id: u32, kind: fc.constant("error" as const), code: key, message: key, details: fc.constant({ a: 1 }) }),
  fc.record({ id: u32, kind: fc.constant("written" as const), clock }),
);
const state = anyState.map(encodeState);
const op: fc.Arbitrary<ReplicaOp> = fc.oneof(
  fc.record({
    kind: fc.constant("stamp" as const),
    row,
    writeId,
    value,
    clock,
    restamp: fc.boolean(),
    supersedeAll: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("hint" as const), row, target: key, state }),
  fc.record({ kind: fc.constant("settled" as const), actor: u32, counters: fc.array(u32, { maxLength: 5 }) }),
);
const result = fc.oneof(
  fc.record({ kind: fc.constant("state" as const), state }),
  fc.record({ kind: fc.constant("refused" as const), code: fc.constant("overloaded" as const), clock }),
);
const rowPage = fc
  .array(fc.record({ row, value: state }), { maxLength: 4 })
  .map((rows) => writeScanPage({ rows, done: false }));
const record = fc.oneof(
  fc.tuple(u32, clock).map(([place, one]) => encodeAnswer(place, one).slice()),
  fc.tuple(u32, clock).map(([place, one]) => encodeHearsay(place, 3, one).slice()),
  fc.tuple(u32, fc.uint8Array({ minLength: 8, maxLength: 8 })).map(([place, hash]) => encodeVote(place, hash).slice()),
);
const digests = fc.array(fc.record({ row, hi: u32, lo: u32 }), { maxLength: 4 });
const page = digests.map((rows) =>
  writePage({ actor: 4097, isRebuilding: false, horizon: 9, done: true, rows, records: [], routes: [] }),
);
const pageRequest = fc
  .record({
    kind: fc.constant("rows" as const),
    tenant: u32,
    routeRevision: u32,
    from: u32,
    to: u32,
    limit: u32,
    afterRow: row,
  })
  .map(writePageRequest);
const block = fc.record({ offset: u32, lengthBytes: u32, crc: u32, hi: u32, lo: u32, tenant: u32, key: value });
const meta = fc
  .tuple(fc.array(block, { maxLength: 4 }), fc.array(u32, { maxLength: 4 }))
  .map(([blocks, tenants]) => encodeTableMeta({ blocks, hashCount: 3, filter: new Uint8Array(16), tenants }));

function all(read: (reader: ByteReader) => unknown): (bytes: Uint8Array) => void {
  return (bytes) => {
    const reader = new ByteReader(bytes);
    while (!reader.done) read(reader);
  };
}

const FORMATS: readonly (readonly [string, fc.Arbitrary<Uint8Array>, (bytes: Uint8Array) => unknown])[] = [
  ["clocks", written(clock, writeClock), all(readClock)],
  ["session requests", written(request, writeRequest), readRequests],
  ["session answers", written(answer, writeAnswer), readAnswers],
  ["key states", state, decodeState],
  ["replica operations", written(op, writeOp), readOps],
  ["replica results", written(result, writeResult), all(readResult)],
  ["records", record, decodeRecord],
  ["scan pages", rowPage, readScanPage],
  ["comparison pages", page, readPage],
  ["comparison requests", pageRequest, readPageRequest],
  ["table indexes", meta, (bytes) => new TableMeta(bytes, () => undefined)],
];

describe("readers of binary formats", () => {
  it.each(FORMATS)("%s: hostile bytes give a value or a declared error, at once", (_name, real, read) => {
    let refused = 0;
    let readable = 0;
    fc.assert(
      fc.property(hostile(real), (bytes) => {
        const began = performance.now();
        try {
          read(bytes);
          readable++;
        } catch (error) {
          if (!(error instanceof MalformedBytes || error instanceof MalformedClock)) throw error;
          refused++;
        }
        expect(performance.now() - began).toBeLessThan(AT_ONCE_MS);
      }),
      { numRuns: RUNS },
    );
    expect(refused).toBeGreaterThan(RUNS / 20);
    expect(readable).toBeGreaterThan(0);
  });
});
