// Where copies of shards stand, and how they come to other zones.
import { expect, it } from "vitest";
import type { CopyZones } from "../../access/types.ts";
import { FILLED_AT_ONCE } from "./limits.ts";
import {
  copyZones,
  fillingCount,
  fillingZones,
  isSamePlaced,
  type PlacedRecord,
  placementIn,
  steppedPlacement,
  strayZones,
} from "./placement.ts";

const NONE = new Map<number, readonly string[]>();
const known = (zones: readonly string[], fresh = zones): CopyZones => ({ zones, fresh });
const THREE = ["z1", "z2", "z3"];
const FOUR = [...THREE, "z4"];

function created(factor: number, zones: CopyZones = known(THREE)): PlacedRecord {
  return { replication: { factor }, placement: placementIn(zones, factor) };
}

interface Step {
  readonly shardCount: number;
  readonly zones: CopyZones;
  readonly filled?: ReadonlyMap<number, readonly string[]>;
  readonly factor?: number;
}

function stepped(record: PlacedRecord, { shardCount, zones, filled = NONE, factor }: Step): PlacedRecord {
  const to = factor ?? record.replication.factor;
  const placement = steppedPlacement(record, { shardCount, known: zones, filled, factor: to });
  return { replication: { factor: to }, placement };
}

const serving = (record: PlacedRecord, shards: number) =>
  Array.from({ length: shards }, (_, shard) => copyZones(record, shard).toSorted().join(" "));
const filling = (record: PlacedRecord, shards: number) =>
  Array.from({ length: shards }, (_, shard) => fillingZones(record, shard).join(" "));
/** All that is being filled was. */
const allFilled = (record: PlacedRecord, shards: number) =>
  new Map(Array.from({ length: shards }, (_, shard) => [shard, fillingZones(record, shard)]));

/** Until nothing is on its way; what each shard had to serve from in between. */
function settled(before: PlacedRecord, step: Step): { record: PlacedRecord; served: string[][] } {
  const served: string[][] = [];
  let record = before;
  for (let rounds = 0; rounds < 100; rounds++) {
    const next = stepped(record, { ...step, filled: allFilled(record, step.shardCount) });
    if (isSamePlaced(record, next, step.shardCount)) return { record: next, served };
    served.push(serving(next, step.shardCount));
    record = next;
  }
  throw new Error("it never settles");
}

it("[VE-313] copies stand in distinct zones by turns, and stay there when a zone is added", () => {
  const record = created(3);
  expect(serving(record, 3)).toEqual(["z2 z3", "z1 z3", "z1 z2"]);
  const more = stepped(record, { shardCount: 3, zones: known(FOUR) });
  expect(serving(more, 3)).toEqual(serving(record, 3));
  expect(fillingCount(more.placement!)).toBe(0);
  // A shard that comes later may stand in the new one.
  expect(serving(more, 5)[4]).toBe("z2 z3");
  expect(copyZones(more, 3)).toEqual(["z1", "z2"]);
  // One that is away when a database is created gets no copy where others are enough; no copies, no zones to ask.
  expect(serving(created(2, known(THREE, ["z1", "z2"])), 2)).toEqual(["z2", "z1"]);
  expect(created(1).placement!.ever).toEqual([]);
});

it("[VE-314] a copy leaves when the one that takes its place was filled; nobody is sent to that before", () => {
  const record = created(3, known(FOUR));
  expect(serving(record, 4)).toEqual(["z2 z3", "z3 z4", "z1 z4", "z1 z2"]);
  const without = known(["z1", "z2", "z4"]);
  const begun = stepped(record, { shardCount: 4, zones: without });
  expect(serving(begun, 4)).toEqual(serving(record, 4));
  for (const shard of [0, 1]) {
    expect(fillingZones(begun, shard)).toHaveLength(1);
    expect(without.zones).toContain(fillingZones(begun, shard)[0]);
    expect(copyZones(begun, shard)).not.toContain(fillingZones(begun, shard)[0]);
  }
  const half = stepped(begun, { shardCount: 4, zones: without, filled: new Map([[0, fillingZones(begun, 0)]]) });
  expect(copyZones(half, 0)).not.toContain("z3");
  expect(copyZones(half, 1)).toContain("z3");
  expect(strayZones(half, 0)).toContain("z3");
  const { record: done } = settled(half, { shardCount: 4, zones: without });
  expect(serving(done, 4).every((zones) => !zones.includes("z3") && zones.length === 5)).toBe(true);
});

it("[VE-313] any zones, any order of changes: distinct zones, never fewer that serve than there can be, as even as it can be", () => {
  for (let seed = 1; seed <= 50; seed++) {
    let state = seed;
    const draw = (count: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * count);
    };
    const shardCount = 1 + draw(12);
    let factor = 1 + draw(4);
    const all = ["z1", "z2", "z3", "z4", "z5"];
    let record = created(factor, known(all.slice(0, 3 + draw(3))));
    for (let change = 0; change < 6; change++) {
      const zones = all.filter(() => draw(3) > 0);
      if (draw(4) === 0) factor = 1 + draw(4);
      const before = record;
      const step = { shardCount, zones: known(zones), factor };
      const { record: after, served } = settled(record, step);
      record = after;
      for (const round of served)
        for (const [shard, own] of round.entries())
          expect(own.split(" ").filter(Boolean).length, `seed ${seed}`).toBeGreaterThanOrEqual(
            Math.min(factor - 1, copyZones(before, shard).length),
          );
      const counts = new Map<string, number>();
      for (let shard = 0; shard < shardCount; shard++) {
        const own = copyZones(record, shard);
        expect(new Set(own).size, `seed ${seed}`).toBe(own.length);
        const good = own.filter((zone) => zones.includes(zone));
        expect(good.length, `seed ${seed}`).toBe(Math.min(factor - 1, zones.length));
        for (const zone of own) expect(record.placement!.ever).toContain(zone);
        for (const zone of good) counts.set(zone, (counts.get(zone) ?? 0) + 1);
      }
    }
  }
});

it("[VE-313] what a zone had goes to all others, and as few shards at once as are let", () => {
  const shardCount = 24;
  const record = created(2, known(FOUR));
  const zones = known(["z1", "z2", "z4"]);
  const begun = stepped(record, { shardCount, zones });
  expect(filling(begun, shardCount).filter(Boolean)).toHaveLength(FILLED_AT_ONCE);
  // By turns alone all that z1 and z3 had would go to z2.
  for (const left of [zones, known(["z2", "z4"])]) {
    const { record: done } = settled(record, { shardCount, zones: left });
    const counts = left.zones.map((zone) => serving(done, shardCount).filter((own) => own === zone).length);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(shardCount);
  }
});

it("[VE-315] where no zone is left for it a copy stays; one that is back in time keeps its copies, and what was begun for them is given up", () => {
  const record = created(3);
  const without = known(["z1", "z2"]);
  const { record: fewer } = settled(record, { shardCount: 3, zones: without });
  expect(serving(fewer, 3)).toEqual(["z1 z2", "z1 z2", "z1 z2"]);
  const { record: one } = settled(record, { shardCount: 3, zones: known(["z1"]) });
  expect(serving(one, 3)).toEqual(["z1 z2", "z1 z3", "z1 z2"]);
  const begun = stepped(record, { shardCount: 3, zones: without });
  expect(fillingCount(begun.placement!)).toBe(2);
  const back = stepped(begun, { shardCount: 3, zones: known(THREE) });
  expect(serving(back, 3)).toEqual(serving(record, 3));
  expect(fillingCount(back.placement!)).toBe(0);
  expect(strayZones(back, 0)).toEqual(["z1"]);
});

it("[VE-314] more copies are filled before they serve, fewer go at once; nothing begins where the instance is away", () => {
  const record = created(1);
  const more = stepped(record, { shardCount: 2, zones: known(THREE), factor: 2 });
  expect(serving(more, 2)).toEqual(["", ""]);
  expect(filling(more, 2)).toEqual(["z2", "z3"]);
  const less = stepped(more, { shardCount: 2, zones: known(THREE), factor: 1 });
  expect([serving(less, 2), filling(less, 2)]).toEqual([
    ["", ""],
    ["", ""],
  ]);
  expect(strayZones(less, 0)).toEqual(THREE);
  const waits = stepped(created(2), { shardCount: 1, zones: known(["z1", "z3"], []) });
  expect([serving(waits, 1), filling(waits, 1)]).toEqual([["z2"], [""]]);
});
