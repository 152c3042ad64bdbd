// What is decided of a change of the number of shards, and what each phase makes of the record.
import { describe, expect, it } from "vitest";
import { refusedNow, reshardOf } from "../../../objects/database-tasks.ts";
import type { DatabaseRecord } from "../../../src/vector/database/record.ts";
import {
  askedShardsOf,
  homesOf,
  nextPhase,
  type Sharding,
  shardCountOf,
  surplusOf,
  topologyOf,
} from "../../../src/vector/database/resharding.ts";

const record = (sharding: Sharding, more: object = {}): DatabaseRecord =>
  ({ sharding, replication: { factor: 1, sync: false, maxLagMs: 0 }, ...more }) as DatabaseRecord;
const facts = (sharding: Sharding) => ({
  homes: homesOf(sharding),
  goTo: sharding.numShards,
  asked: askedShardsOf(sharding),
  there: shardCountOf(sharding),
  topology: topologyOf(sharding),
});

function decided(sharding: Sharding, shards: number | "back"): Sharding {
  const result = reshardOf(record(sharding), shards);
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

describe("another number of shards", () => {
  it("[VE-280][VE-282] new shards are asked when they are there for certain; the old topology is refused only while rows move", () => {
    const first = decided({ strategy: "hash", numShards: 2 }, 5);
    expect(facts(first)).toEqual({ homes: 2, goTo: 2, asked: 2, there: 5, topology: 0 });
    const moving = nextPhase(first);
    expect(facts(moving)).toEqual({ homes: 2, goTo: 5, asked: 5, there: 5, topology: 1 });
    const done = nextPhase(moving);
    expect(done).toEqual({ strategy: "hash", numShards: 5, homes: 2, topology: 1 });
    const fewer = nextPhase(decided(done, 3));
    expect(facts(fewer)).toEqual({ homes: 2, goTo: 3, asked: 5, there: 5, topology: 2 });
    const ending = nextPhase(fewer);
    expect([facts(ending), surplusOf(ending)]).toEqual([
      { homes: 2, goTo: 3, asked: 3, there: 5, topology: 2 },
      [3, 4],
    ]);
    expect(nextPhase(ending)).toEqual({ strategy: "hash", numShards: 3, homes: 2, topology: 2 });
    // Homes stay, though no row does.
    const one = nextPhase(nextPhase(nextPhase(decided(nextPhase(ending), 1))));
    expect([facts(one), surplusOf(one)]).toEqual([{ homes: 2, goTo: 1, asked: 2, there: 2, topology: 3 }, []]);
  });

  it("[VE-282] it is turned back in any phase but the last, once; shards that may hold rows are asked until it has ended", () => {
    const begun = decided({ strategy: "hash", numShards: 2 }, 5);
    const told = decided(begun, "back");
    expect([told.reshard?.to, facts(told)]).toEqual([2, { homes: 2, goTo: 2, asked: 2, there: 5, topology: 1 }]);
    const turned = decided(nextPhase(begun), "back");
    expect([turned.reshard?.to, facts(turned)]).toEqual([2, { homes: 2, goTo: 5, asked: 5, there: 5, topology: 1 }]);
    expect(decided(turned, "back")).toBe(turned);
    const back = nextPhase(turned);
    expect(facts(back)).toEqual({ homes: 2, goTo: 2, asked: 5, there: 5, topology: 2 });
    const ending = nextPhase(back);
    expect([facts(ending).asked, surplusOf(ending)]).toEqual([2, [2, 3, 4]]);
    expect(reshardOf(record(ending), "back")).toMatchObject({ ok: false, code: "conflict" });
  });

  it("[VE-283] one at a time, of databases without archive or snapshots", () => {
    const hash: Sharding = { strategy: "hash", numShards: 2 };
    const begun = decided(hash, 5);
    expect(decided(begun, 5)).toBe(begun);
    expect(decided(hash, 2)).toBe(hash);
    for (const [of, more] of [
      [begun, {}],
      [hash, { lifecycle: { snapshots: [], isArchived: true } }],
      [hash, { lifecycle: { snapshots: [{ snapshotId: "s", createdAtMs: 1 }], isArchived: false } }],
    ] as const)
      expect(reshardOf(record(of as Sharding, more), 3)).toMatchObject({ ok: false, code: "conflict" });
    expect(reshardOf(record(hash), "back")).toMatchObject({ ok: false, code: "conflict" });
    expect(refusedNow(begun.reshard!)).toMatchObject({ ok: false, details: { from: 2, to: 5 } });
  });
});
