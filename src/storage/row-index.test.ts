// The indexes of a memtable against Maps, with tokens that many keys share and indexes that grow.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Memtable } from "./memtable.ts";
import { aim, compareRows, createProbe, decodeKey, rowKeyBytes, rowTenant } from "./row-format.ts";
import type { RowKey } from "./types.ts";

const TENANTS = 3;
const KEYS = 40;
/** A function of the row, as in production; few, so that rows share them, and with both signs. */
const TOKENS = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as const;
const encoder = new TextEncoder();

function rowOf(tenant: number, index: number, tokens: readonly number[]): RowKey {
  const key = index % 4 === 0 ? `ключ-${index}` : `key-${index}`;
  const token = { hi: tokens[index % tokens.length]!, lo: tokens[(index >> 2) % tokens.length]! };
  if (index % 2 === 0) return { token, tenant, key };
  const source = encoder.encode(`before${key}after`);
  return { token, tenant, key, encoded: { source, at: 6, length: key.length } };
}

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant("put" as const), tenant: fc.nat(2), index: fc.nat(KEYS - 1) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("hide" as const), tenant: fc.nat(2), index: fc.nat(KEYS - 1) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("erase" as const), tenant: fc.nat(2), index: fc.constant(0) }) },
);
const probe = createProbe(100);
const name = (row: RowKey): string => `${row.tenant}/${row.key}`;

function compareAt({ arena }: Memtable, a: number, b: number): number {
  return compareRows(arena.bufferAt(a), arena.offsetAt(a), arena.bufferAt(b), arena.offsetAt(b));
}

/** In the memtable's order, which must be the order of rows. */
function orderedNames(memtable: Memtable): string[] {
  const order = memtable.ordered()!;
  const names: string[] = [];
  let last = -1;
  for (let bucket = 0; bucket < order.bucketCount; bucket++) {
    for (const position of order.sorted(bucket, memtable.positionOf)) {
      if (last >= 0) expect(compareAt(memtable, last, position)).toBeLessThan(0);
      last = position;
      const buffer = memtable.arena.bufferAt(position);
      const offset = memtable.arena.offsetAt(position);
      names.push(`${rowTenant(buffer, offset)}/${decodeKey(rowKeyBytes(buffer, offset))}`);
    }
  }
  return names;
}

describe("indexes of a memtable", () => {
  it("rows are found by their whole key, hidden and written again, also where tokens are the same", () => {
    const tokens = fc.integer({ min: 1, max: TOKENS.length }).map((count) => TOKENS.slice(0, count));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), tokens, fc.integer(), (steps, shared, secret) => {
        const memtable = new Memtable(secret);
        const twin = new Map<string, Uint8Array>();
        steps.forEach(({ op, tenant, index }, at) => {
          const row = rowOf(tenant, index, shared);
          const value = Uint8Array.of(at, at >> 8);
          if (op === "put") {
            memtable.put(row, value, 0);
            twin.set(name(row), value);
          } else if (op === "hide") {
            memtable.forget(aim(probe, row));
            twin.delete(name(row));
          } else {
            memtable.erase(tenant);
            for (const each of twin.keys()) if (each.startsWith(`${tenant}/`)) twin.delete(each);
          }
        });
        for (let tenant = 0; tenant < TENANTS; tenant++) {
          for (let index = 0; index < KEYS; index++) {
            const row = rowOf(tenant, index, shared);
            expect(memtable.get(aim(probe, row)), name(row)).toEqual(twin.get(name(row)));
          }
        }
        expect(orderedNames(memtable).sort()).toEqual([...twin.keys()].sort());
      }),
      { numRuns: 500 },
    );
  });

  it("thousands of rows and records, also all under one token, stay found while the indexes grow", () => {
    for (const isShared of [false, true]) {
      const memtable = new Memtable(0x1234_5678);
      const rowAt = (i: number): RowKey => ({
        token: isShared ? { hi: 7, lo: 7 } : { hi: Math.imul(i, 0x9e3779b1) >>> 0, lo: i },
        tenant: i % 3,
        key: `k${i}`,
      });
      // Ids that differ only in words that a plain sum or xor would cancel.
      const idAt = (i: number): Uint8Array => {
        const id = new Uint8Array(16);
        new DataView(id.buffer).setUint32(0, i);
        new DataView(id.buffer).setUint32(4, isShared ? i : 0);
        return id;
      };
      const answer = (i: number): Uint8Array => Uint8Array.of(i, i >> 8, i >> 16);
      const began = performance.now();
      for (let i = 0; i < 30_000; i++) {
        memtable.put(rowAt(i), answer(i), 0);
        memtable.records.add(1, idAt(i), answer(i));
      }
      for (let i = 0; i < 30_000; i++) {
        expect(memtable.get(aim(probe, rowAt(i)))![0]).toBe(i & 255);
        expect(memtable.records.find(1, idAt(i))).toEqual(answer(i));
      }
      expect(memtable.get(aim(probe, rowAt(30_000)))).toBeUndefined();
      expect(memtable.records.find(1, idAt(30_000))).toBeUndefined();
      expect(memtable.records.find(2, idAt(1))).toBeUndefined();
      expect(memtable.rowCount).toBe(30_000);
      expect(orderedNames(memtable).length).toBe(30_000);
      expect(memtable.records.count).toBe(30_000);
      // A search through all rows of the token would take minutes.
      expect(performance.now() - began).toBeLessThan(20_000);
    }
  });
});
