// What a tenant's object asks of copies where some of them do not answer.
import { expect, it } from "vitest";
import { type CopiedShard, configureCopies, eraseCopies, filledCopies } from "../../../objects/database-copies.ts";
import type { Env } from "../../../objects/env.ts";
import type { Placement } from "../../../src/vector/database/placement.ts";
import type { DatabaseRecord } from "../../../src/vector/database/record.ts";
import type { ShardConfig } from "../../../src/vector/shard/shard-config.ts";

const CONFIG = {} as ShardConfig;

/** Copies in three zones of which some are away; what the others were asked. */
function world(placement: Placement, away: readonly string[]) {
  const asked: string[] = [];
  const get = (name: string) => {
    const zone = name.slice(0, 2);
    const say = (what: string, answer?: object) => async () => {
      if (away.includes(zone)) throw new Error(`${zone} is away`);
      asked.push(`${zone} ${what}`);
      return answer;
    };
    return { configure: say("configure"), erase: say("erase"), filling: say("filling", { isFilled: zone === "z3" }) };
  };
  const place = { role: "leaders", zone: "z1", zones: ["z1", "z2", "z3"], nodes: {} };
  const copied = {
    env: {
      JADE_CLUSTER: JSON.stringify(place),
      VECTOR_FOLLOWER: { idFromName: (name: string) => name, get },
    } as unknown as Env,
    database: { tenant: 1, namespace: "default", databaseId: "db", generation: 1 },
    record: {
      ...{ replication: { factor: 2, sync: false, maxLagMs: 0 }, sharding: { strategy: "hash", numShards: 1 } },
      ...{ placement, indexes: [], indexType: "FLAT", indexParameters: { quantizer: "int8" }, metric: "cosine" },
    } as unknown as DatabaseRecord,
    shard: 0,
  } satisfies CopiedShard;
  return { asked, copied };
}

const ever = ["z1", "z2", "z3", "z4"];

it("[VE-318] what is to go from a zone that is away holds nothing up, and is told; a zone that the table has not any more is not asked", async () => {
  const { asked, copied } = world({ zones: ["z1", "z2"], ever }, ["z3"]);
  expect(await configureCopies(copied, CONFIG)).toEqual(["z3"]);
  expect(asked.sort()).toEqual(["z1 erase", "z2 configure"]);
  expect(await eraseCopies(copied)).toEqual(["z3"]);
});

it("[VE-318] a copy that is read must know of a change before it is answered, unless its zone may hold none any more; one that comes may be away", async () => {
  await expect(configureCopies(world({ zones: ["z1", "z2"], ever }, ["z2"]).copied, CONFIG)).rejects.toThrow(
    "z2 is away",
  );
  const leaves = world({ zones: ["z1", "z3"], ever, shards: [["z2"]], filling: { 0: ["z3"] } }, ["z2", "z3"]);
  expect(await configureCopies(leaves.copied, CONFIG)).toEqual([]);
  expect(leaves.asked).toEqual(["z1 erase"]);
  expect(await filledCopies(leaves.copied)).toEqual([]);
  const comes = world({ zones: ["z1", "z3"], ever, shards: [["z2"]], filling: { 0: ["z1", "z3"] } }, ["z2"]);
  expect(await filledCopies(comes.copied)).toEqual(["z3"]);
});
