// How much of a quota a key's state uses, and the sums of a storage node.
import { expect, it } from "vitest";
import type { KeyState, Version } from "./key-state.ts";
import { EMPTY_STATE } from "./key-state.ts";
import { UsageMeter, usageOf } from "./usage.ts";

const version = (bytes: number | undefined): Version => ({
  writeId: new Uint8Array(16),
  dots: [{ actor: 1, counter: 1 }],
  time: 1,
  restamped: false,
  value: bytes === undefined ? undefined : new Uint8Array(bytes),
});
const state = (...sizes: (number | undefined)[]): KeyState => ({ ...EMPTY_STATE, versions: sizes.map(version) });

it("[AC-31] a key counts once with its characters and all its siblings' bytes, a deleted one not at all", () => {
  expect(usageOf("key", EMPTY_STATE)).toEqual({ storedBytes: 0, keys: 0 });
  expect(usageOf("key", state(10))).toEqual({ storedBytes: 13, keys: 1 });
  expect(usageOf("key", state(0))).toEqual({ storedBytes: 3, keys: 1 });
  expect(usageOf("key", state(10, undefined, 5))).toEqual({ storedBytes: 18, keys: 1 });
  expect(usageOf("key", state(undefined))).toEqual({ storedBytes: 0, keys: 0 });
  expect(usageOf("", state(undefined, undefined))).toEqual({ storedBytes: 0, keys: 0 });
});

it("[AC-31] sums follow every change, by tenant, and go on from what was stored", () => {
  const meter = new UsageMeter([{ tenant: 7, storedBytes: 100, keys: 2 }]);
  const row = (tenant: number) => ({ tenant, key: "ab", token: { hi: 0, lo: 0 } });
  meter.changed(row(1), EMPTY_STATE, state(5));
  meter.changed(row(1), state(5), state(9, 4));
  meter.changed(row(7), state(50), state(undefined));
  expect(meter.of(1)).toEqual({ storedBytes: 15, keys: 1 });
  expect(meter.takeChanged()).toEqual([
    { tenant: 1, storedBytes: 15, keys: 1 },
    { tenant: 7, storedBytes: 48, keys: 1 },
  ]);
  expect(meter.hasChanged).toBe(false);
  meter.changed(row(1), state(9, 4), state(4, 9));
  expect(meter.hasChanged, "the same in all").toBe(false);
  meter.changed(row(1), state(13), state(undefined));
  meter.forget(7);
  expect(meter.takeChanged()).toEqual([{ tenant: 1, storedBytes: 0, keys: 0 }]);
  expect(meter.of(7)).toEqual({ storedBytes: 0, keys: 0 });
});
