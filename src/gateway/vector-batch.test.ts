import { describe, expect, it } from "vitest";
import { SHARD_CALL_BYTES, SHARD_CALL_ROWS } from "./limits.ts";
import { callsOf } from "./vector-batch.ts";

const rowsOf = (count: number, valueBytes: number) =>
  Array.from({ length: count }, (_, n) => ({
    input: { id: `r${n}`, values: new Uint8Array(valueBytes), metadata: new Uint8Array(0) },
  }));

describe("a batch at its shards", () => {
  it.each([
    ["many small rows", 5000, 16],
    ["few large rows", 100, 16 * 1024],
    ["rows larger than a call", 3, SHARD_CALL_BYTES * 2],
  ])("[VE-254] goes in calls of bounded rows and bytes, each row once and in order: %s", (_, count, valueBytes) => {
    const items = rowsOf(count, valueBytes);
    const shards = callsOf(items, 2, { bytes: SHARD_CALL_BYTES, rows: SHARD_CALL_ROWS });
    for (const calls of shards) {
      for (const call of calls) {
        const bytes = call.reduce((sum, { row }) => sum + row.values.length, 0);
        expect(call.length === 1 || bytes <= SHARD_CALL_BYTES).toBe(true);
        expect(call.length).toBeLessThanOrEqual(SHARD_CALL_ROWS);
      }
      const order = calls.flat().map(({ index }) => index);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
    expect(shards.flat(2)).toHaveLength(count);
    expect(new Set(shards.flat(2).map(({ index }) => index)).size).toBe(count);
  });
});
