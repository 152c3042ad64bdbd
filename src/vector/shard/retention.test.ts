import { expect, it } from "vitest";
import { openStore, valuesOf } from "../../../test/unit/vector/open-store.ts";
import { type Retention, retain, retentionDelayMs } from "./retention.ts";
import { finished } from "./shard-indexes.ts";

/** 2 500 rows, one a second; half of them sealed. */
function filled() {
  const opened = openStore();
  for (let n = 0; n < 2500; n++) {
    opened.clock.ms = n * 1000;
    const metadata = new TextEncoder().encode(`{"n":${n + 1000}}`);
    opened.store.apply([{ kind: "put", row: { id: `k${n + 1000}`, values: valuesOf(n), metadata } }]);
    if (n === 1200) finished(opened.store.seal());
  }
  opened.endTurn();
  return opened;
}

const ROW_BYTES = 5 + 20 + 10;

it.each([
  ["age", { maxAgeMs: 600_000 }, 1899],
  ["count", { maxRows: 700 }, 1800],
  ["bytes", { maxBytes: 100 * ROW_BYTES + 3 }, 2400],
  ["nothing", { maxAgeMs: 1e9, maxRows: 2500, maxBytes: 1e9 }, 0],
  ["age and count", { maxAgeMs: 600_000, maxRows: 100 }, 2400],
] satisfies [string, Retention, number][])(
  "[VE-239] the oldest rows beyond the bound of %s go, in slices, and after a restart in the middle",
  (_, bounds, expected) => {
    const opened = filled();
    const nowMs = 2499 * 1000;
    const work = retain(opened.store, bounds, { nowMs });
    work.next();
    opened.endTurn();
    opened.crash();
    let slices = 0;
    for (const _slice of retain(opened.store, bounds, { nowMs })) slices++;
    opened.endTurn();
    expect(slices).toBeGreaterThan(2);
    expect(opened.store.liveCount).toBe(2500 - expected);
    if (expected > 0) expect(opened.store.get(`k${1000 + expected - 1}`)).toBeUndefined();
    expect(opened.store.get(`k${1000 + expected}`)).toBeDefined();
    expect(finished(retain(opened.store, bounds, { nowMs }))).toBe(0);
  },
);

it("[VE-239] a row that is written while the old ones are deleted stays", () => {
  const opened = filled();
  const work = retain(opened.store, { maxRows: 100 }, { nowMs: 2499 * 1000 });
  for (let slice = 0; slice < 4; slice++) work.next();
  opened.clock.ms += 1;
  for (const n of [0, 1, 2399])
    opened.store.apply([
      { kind: "put", row: { id: `k${n + 1000}`, values: valuesOf(7), metadata: new Uint8Array(0) } },
    ]);
  finished(work);
  for (const n of [0, 1, 2399]) expect(opened.store.get(`k${n + 1000}`)).toBeDefined();
  expect(retentionDelayMs({ maxAgeMs: 50_000 })).toBe(5000);
});
