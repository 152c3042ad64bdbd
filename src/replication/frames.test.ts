// Frames between coordinators and replicas, and the records that replicas keep.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  actor,
  anyState,
  clock,
  counter,
  dot,
  key,
  mutated,
  row,
  uniqueDots,
  value,
  writeId,
} from "../../test/unit/replication/arbitraries.ts";
import { encodeState } from "../kv/key-state.ts";
import { aim, createProbe } from "../storage/row-format.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import { byActorThenCounter, MalformedClock } from "../wire/clock.ts";
import { isOfFrame, type ReplicaOp, type ReplicaResult, readOps, readResult, writeOp, writeResult } from "./frames.ts";
import { decodeRecord, encodeAnswer, encodeHearsay, encodeVote, voteIdOf } from "./records.ts";
import { compareRows, joinPages, readScanPage, writeScanPage } from "./scan-frames.ts";

const bytes = fc.uint8Array({ maxLength: 60 });
const bodyHash = fc.uint8Array({ minLength: 8, maxLength: 8 });
const op: fc.Arbitrary<ReplicaOp> = fc.oneof(
  fc.record({
    kind: fc.constant("stamp" as const),
    row,
    writeId,
    value: fc.option(value, { nil: undefined }),
    clock: fc.option(clock, { nil: undefined }),
    restamp: fc.boolean(),
    supersedeAll: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("merge" as const, "repair" as const), row, state: bytes }),
  fc.record({ kind: fc.constant("get" as const), row }),
  fc.record({ kind: fc.constant("recall" as const), row, writeId }),
  fc.record({ kind: fc.constant("vote" as const), row, writeId, bodyHash }),
  fc.record({ kind: fc.constant("heal" as const), row, state: bytes }),
  fc.record({ kind: fc.constant("hint" as const), row, target: key, state: bytes }),
  fc.record({ kind: fc.constant("settled" as const), actor, counters: fc.array(counter, { maxLength: 5 }) }),
  fc.record({ kind: fc.constant("deadline" as const), atMs: fc.maxSafeNat() }),
);
const alive = uniqueDots(dot, 5).map((dots) => dots.sort(byActorThenCounter));
const result: fc.Arbitrary<ReplicaResult> = fc.oneof(
  fc.record({
    kind: fc.constant("stamped" as const),
    counter,
    unsettledCount: fc.nat(64),
    repeated: fc.boolean(),
    answer: clock,
    prefix: bytes,
    wantsValue: fc.boolean(),
  }),
  fc.constant({ kind: "done" as const }),
  fc.record({ kind: fc.constant("state" as const), state: fc.option(bytes, { nil: undefined }) }),
  fc.record({ kind: fc.constant("recalled" as const), answer: clock, alive: fc.constant([]) }),
  fc.record({ kind: fc.constant("recalled" as const), answer: fc.constant(undefined), alive }),
  fc.record({ kind: fc.constant("voted" as const), bodyHash, isFirst: fc.boolean() }),
  fc.record({
    kind: fc.constant("refused" as const),
    code: fc.constantFrom(
      "tooManySiblings" as const,
      "stateTooLarge" as const,
      "tenantErased" as const,
      "hintsFull" as const,
      "corrupt" as const,
      "clockAhead" as const,
      "overloaded" as const,
      "expired" as const,
    ),
    clock,
  }),
);

function frameOf<T>(items: readonly T[], write: (writer: ByteWriter, item: T) => void): Uint8Array {
  const writer = new ByteWriter(8);
  for (const item of items) write(writer, item);
  return writer.take();
}

function readResults(frame: Uint8Array): ReplicaResult[] {
  const reader = new ByteReader(frame);
  const results: ReplicaResult[] = [];
  while (!reader.done) results.push(readResult(reader));
  return results;
}

function readsOrRefuses(read: (frame: Uint8Array) => unknown): (frame: Uint8Array) => void {
  return (frame) => {
    try {
      read(frame);
    } catch (error) {
      expect(error instanceof MalformedBytes || error instanceof MalformedClock, String(error)).toBe(true);
    }
  };
}

/** A row that came in a frame makes its key only when it is asked. */
function withPlainRow(each: ReplicaOp): ReplicaOp {
  if (isOfFrame(each)) return each;
  const { tenant, token, key: name } = each.row;
  return { ...each, row: { tenant, token, key: name } };
}

describe("replica frames", () => {
  it("operations round-trip", () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 6 }), (ops) => {
        const read = readOps(frameOf(ops, writeOp));
        expect(read.map(withPlainRow)).toEqual(ops);
        expect(frameOf(read, writeOp)).toEqual(frameOf(ops, writeOp));
      }),
    );
  });

  it("a key of ASCII stays bytes of the frame, any other becomes a string at once; both name the same row", () => {
    fc.assert(
      fc.property(row, (at) => {
        const [read] = readOps(frameOf([{ kind: "get", row: at }], writeOp));
        if (read?.kind !== "get") throw new Error("not the operation that was written");
        const bytes = new TextEncoder().encode(at.key);
        expect(read.row.encoded !== undefined).toBe(bytes.length === at.key.length);
        const [probe, plain] = [createProbe(bytes.length), createProbe(at.key.length * 3)];
        aim(probe, read.row);
        aim(plain, at);
        expect(probe.key.subarray(0, probe.keyBytes)).toEqual(bytes);
        expect(plain.key.subarray(0, plain.keyBytes)).toEqual(bytes);
        expect(read.row.key).toBe(at.key);
      }),
    );
  });

  it("a state handed over in two parts is one state", () => {
    fc.assert(
      fc.property(row, bytes, bytes, (at, state, tail) => {
        for (const kind of ["merge", "hint"] as const) {
          const sent = { kind, row: at, target: "n1", state, tail } as ReplicaOp;
          expect(readOps(frameOf([sent], writeOp))[0]).toMatchObject({
            kind,
            state: Uint8Array.from([...state, ...tail]),
          });
        }
      }),
    );
  });

  it("results round-trip", () => {
    fc.assert(
      fc.property(
        fc.array(result, { maxLength: 6 }),
        (results) => void expect(readResults(frameOf(results, writeResult))).toEqual(results),
      ),
    );
  });

  it("[RP-30] changed frames are read or refused by name", () => {
    const frames = fc.array(op, { maxLength: 4 }).map((ops) => frameOf(ops, writeOp));
    const answers = fc.array(result, { maxLength: 4 }).map((results) => frameOf(results, writeResult));
    fc.assert(fc.property(mutated(frames), readsOrRefuses(readOps)), { numRuns: 3000 });
    fc.assert(fc.property(mutated(answers), readsOrRefuses(readResults)), { numRuns: 3000 });
  });
});

describe("records", () => {
  it("[RP-6] an answer round-trips, and is no vote", () => {
    fc.assert(
      fc.property(clock, bodyHash, (answer, hash) => {
        const place = 0xfedc_ba98;
        expect(decodeRecord(encodeAnswer(place, answer).slice())).toEqual({ kind: "answer", place, answer });
        expect(decodeRecord(encodeVote(place, hash).slice())).toEqual({ kind: "vote", place, bodyHash: hash });
        const hearsay = encodeHearsay(place, 3, answer).slice();
        expect(decodeRecord(hearsay)).toEqual({ kind: "hearsay", place, epoch: 3, answer });
        expect(decodeRecord(Uint8Array.of(77))).toBeUndefined();
      }),
    );
  });

  it("[RP-8] a vote stands under another id than the write, and that id's own is the write's again", () => {
    fc.assert(
      fc.property(writeId, (id) => {
        expect(voteIdOf(id)).not.toEqual(id);
        expect(voteIdOf(voteIdOf(id))).toEqual(id);
      }),
    );
  });
});

describe("scan pages", () => {
  const rows = fc
    .uniqueArray(
      fc.record({
        row: fc.record({
          tenant: fc.constant(1),
          token: fc.record({ hi: fc.nat(3), lo: fc.nat(3) }),
          key: fc.constantFrom("a", "b", "é", "z"),
        }),
        value: anyState.map(encodeState),
      }),
      {
        maxLength: 8,
        selector: ({ row: at }) => JSON.stringify(at),
      },
    )
    .map((all) => all.sort((a, b) => compareRows(a.row, b.row)));

  it("round-trip, and changed pages are read or refused by name", () => {
    const token = fc.record({ hi: fc.nat(0xffff_ffff), lo: fc.nat(0xffff_ffff) });
    const gaps = fc.array(fc.record({ from: token, to: token }), { maxLength: 4 });
    const page = fc.record({ rows, done: fc.boolean(), gaps });
    fc.assert(fc.property(page, (one) => void expect(readScanPage(writeScanPage(one))).toEqual(one)));
    fc.assert(fc.property(mutated(page.map(writeScanPage)), readsOrRefuses(readScanPage)), { numRuns: 1000 });
  });

  it("joined pages hold every row up to where the shortest page ends, each once, in ring order", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ rows, done: fc.boolean() }), { minLength: 1, maxLength: 3 }), (pages) => {
        const { rows: joined, after } = joinPages(pages);
        for (let i = 1; i < joined.length; i++) expect(compareRows(joined[i - 1]!.row, joined[i]!.row)).toBeLessThan(0);
        const unfinished = pages
          .filter((page) => !page.done && page.rows.length > 0)
          .map((page) => page.rows.at(-1)!.row);
        const end = unfinished.sort(compareRows)[0];
        expect(after).toEqual(end);
        for (const page of pages)
          for (const { row: at } of page.rows)
            expect(joined.some((one) => compareRows(one.row, at) === 0)).toBe(!end || compareRows(at, end) <= 0);
      }),
    );
  });

  it("rows are ordered as the engine orders them: by the UTF-8 of the key, not its UTF-16", () => {
    const at = (name: string) => ({ tenant: 1, token: { hi: 0, lo: 0 }, key: name });
    expect(compareRows(at("\uffff"), at("\u{10000}"))).toBeLessThan(0);
  });
});
