// Pages between replicas that compare themselves.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { actor, mutated, row, writeId } from "../../test/unit/replication/arbitraries.ts";
import { MalformedBytes } from "../wire/bytes.ts";
import { digestOf, readPage, readPageRequest, writePage, writePageRequest } from "./sync-frames.ts";

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const count = fc.integer({ min: 0, max: 2 ** 48 });
const recordKey = fc.record({ tenant: word, writeId });
const head = { routeRevision: count, from: word, to: word, limit: fc.nat() };
const tenant = fc.option(word, { nil: undefined });
const request = fc.oneof(
  fc.record({ kind: fc.constant("rows" as const), tenant, ...head, afterRow: row }),
  fc.record({ kind: fc.constant("records" as const), tenant, ...head, afterRecord: recordKey }),
  fc.record({ kind: fc.constantFrom("rows" as const, "records" as const, "routes" as const), tenant, ...head }),
);
const page = fc.record({
  actor,
  isRebuilding: fc.boolean(),
  horizon: count,
  done: fc.boolean(),
  rows: fc.array(fc.record({ row, hi: word, lo: word }), { maxLength: 5 }),
  records: fc.array(fc.record({ key: recordKey, record: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 5 }),
  routes: fc.array(fc.record({ tenant: word, revision: count }), { maxLength: 5 }),
});

describe("pages of a comparison", () => {
  it("[RP-43] requests and pages round-trip", () => {
    fc.assert(fc.property(request, (asked) => void expect(readPageRequest(writePageRequest(asked))).toEqual(asked)));
    fc.assert(fc.property(page, (answer) => void expect(readPage(writePage(answer))).toEqual(answer)));
  });

  it("malformed ones are refused as such", () => {
    const readsOrRefuses = (read: (bytes: Uint8Array) => unknown) => (bytes: Uint8Array) => {
      try {
        read(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedBytes);
      }
    };
    fc.assert(fc.property(mutated(request.map(writePageRequest)), readsOrRefuses(readPageRequest)), { numRuns: 2000 });
    fc.assert(fc.property(mutated(page.map(writePage)), readsOrRefuses(readPage)), { numRuns: 2000 });
  });

  it("[RP-48] equal states have equal digests, and a changed byte another one", () => {
    fc.assert(
      fc.property(row, fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.nat(), (at, state, where) => {
        const other = state.slice();
        other[where % other.length]! ^= 1;
        const { hi, lo } = digestOf(at, state);
        expect(digestOf(at, state.slice())).toMatchObject({ hi, lo });
        expect(digestOf(at, other)).not.toMatchObject({ hi, lo });
      }),
    );
  });
});
