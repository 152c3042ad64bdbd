import { expect, it } from "vitest";
import { RowCache } from "./row-cache.ts";
import { aim, createProbe, type Probe } from "./row-format.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const probe = (row: { hi: number; lo: number; tenant: number; key: string }): Probe =>
  aim(createProbe(100), { token: { hi: row.hi, lo: row.lo }, tenant: row.tenant, key: row.key });

it("[ST-71] rows whose tokens meet in one place of the row cache are never taken for each other", () => {
  const cache = new RowCache(1_000_000, () => 0);
  const row = { hi: 7, lo: 64, tenant: 1, key: "mine" };
  // The same 30 bits; the same token of another tenant, and of another key.
  const others = [
    { ...row, lo: 65 },
    { ...row, tenant: 2 },
    { ...row, key: "your" },
    { ...row, key: "mine too" },
  ];
  for (const other of others) {
    cache.add(probe(row), bytes("value"));
    expect(cache.get(probe(row))).toEqual(bytes("value"));
    expect(cache.get(probe(other))).toBeUndefined();
    const { bytes: before } = cache;
    cache.add(probe(other), bytes("other"));
    expect(cache.get(probe(row))).toBeUndefined();
    expect(cache.get(probe(other))).toEqual(bytes("other"));
    expect(Math.abs(cache.bytes - before)).toBeLessThan(10);
    cache.remove({ hi: row.hi, lo: row.lo });
    expect(cache.get(probe(other))).toBeUndefined();
    expect(cache.bytes).toBe(0);
  }
});

it("[ST-50] the row cache forgets a tenant and nobody else", () => {
  const cache = new RowCache(1_000_000, () => 0);
  const mine = probe({ hi: 1, lo: 1000, tenant: 1, key: "a" });
  const theirs = probe({ hi: 2, lo: 2000, tenant: 2, key: "a" });
  cache.add(mine, bytes("1"));
  cache.add(theirs, bytes("2"));
  cache.removeTenant(1);
  expect(cache.get(mine)).toBeUndefined();
  expect(cache.get(theirs)).toEqual(bytes("2"));
});
