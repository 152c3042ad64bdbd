import { expect, it } from "vitest";
import { refusedZone } from "../../../objects/directory-zones.ts";
import type { Env } from "../../../objects/env.ts";
import { firstNodes } from "../../../src/access/ring-start.ts";

const ALL = ["z1", "z2", "z3", "z4"];

/** The Directory's process, which has all zones in its table; `tables`: what the others say they have, undefined = they do not answer. */
function env(tables: Readonly<Record<string, readonly string[] | undefined>>): Env {
  const relays = ALL.map((zone) => {
    const about = async () => {
      if (!tables[zone]) throw new Error("away");
      return { role: "zone", zone, zones: tables[zone], leaders: "answering" };
    };
    return [`ZONE_${zone}`, { about }];
  });
  const place = { role: "leaders", zone: "z1", zones: ALL, nodes: {} };
  return { ...Object.fromEntries(relays), JADE_CLUSTER: JSON.stringify(place) } as unknown as Env;
}

it("[CL-145] a zone that never had a storage node gets one only when every instance answers that it has the zone", async () => {
  const nodes = firstNodes(3, 3);
  const old = ALL.slice(0, 3);
  const all = { z1: ALL, z2: ALL, z3: ALL, z4: ALL };
  for (const zone of ["z4", undefined]) {
    expect(await refusedZone(env(all), nodes, zone)).toBeUndefined();
    const refused = await refusedZone(env({ ...all, z2: old, z3: undefined }), nodes, zone);
    expect(refused).toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/z4 has no storage node yet.*z2 was started without it, z3 does not answer$/),
      details: { field: "zone", value: "z4", instances: ["z2", "z3"] },
    });
  }
  // Those that have, or had, one were known to all when they got it.
  expect(await refusedZone(env({ z1: ALL }), nodes, "z3")).toBeUndefined();
  const gone = [...nodes, { ...nodes[0]!, id: "n4@z4", zone: "z4", state: "removed" as const }];
  expect(await refusedZone(env({ z1: ALL }), gone, undefined)).toBeUndefined();
  expect(await refusedZone({} as Env, nodes, "z9")).toBeUndefined();
});
