import { describe, expect, it } from "vitest";
import { type ClusterPlace, clusterPlace, homeOf, zoneHere, zoneOfNode } from "./placement.ts";

const nodes = { n1: "z1", n2: "z2", n3: "z1" };
const zone: ClusterPlace = { role: "zone", zone: "z1", zones: ["z1", "z2"], nodes };
const leaders: ClusterPlace = { ...zone, role: "leaders" };

describe("homeOf", () => {
  it("[CL-1] leaders are at home with the leaders, zone-bound objects in the zone that their name tells", () => {
    for (const binding of ["DIRECTORY", "TENANT", "CONFIG_KEYSPACE", "VECTOR_SHARD", "WEBHOOK_SENDER"] as const) {
      expect(homeOf(zone, binding, "any")).toEqual({ kind: "leaders" });
      expect(homeOf(leaders, binding, "any")).toEqual({ kind: "here" });
    }
    expect(homeOf(zone, "KEY_VALUE_REPLICA", "n3")).toEqual({ kind: "here" });
    expect(homeOf(zone, "KEY_VALUE_REPLICA", "n2")).toEqual({ kind: "zone", zone: "z2" });
    expect(homeOf(zone, "COORDINATOR", "z1")).toEqual({ kind: "here" });
    expect(homeOf(zone, "CONFIG_FOLLOWER", "z2/c1/default")).toEqual({ kind: "zone", zone: "z2" });
    // Also of its own instance: another process.
    expect(homeOf(leaders, "KEY_VALUE_REPLICA", "n1")).toEqual({ kind: "zone", zone: "z1" });
    expect(homeOf(leaders, "COORDINATOR", "z1")).toEqual({ kind: "zone", zone: "z1" });
  });

  it("[CL-1] a name that tells no zone is an error, not a second home", () => {
    expect(() => homeOf(zone, "KEY_VALUE_REPLICA", "n4")).toThrow('"n4" belongs to none of the zones z1, z2');
    expect(() => homeOf(zone, "KEY_VALUE_REPLICA", "toString")).toThrow("belongs to none");
    expect(() => homeOf(zone, "COORDINATOR", "z3")).toThrow("belongs to none");
    expect(() => homeOf(zone, "CONFIG_FOLLOWER", "z11/c1/default")).toThrow("belongs to none");
  });
});

it("[CL-96] [CL-73] the zone of a storage node that was added is told by its name, where the table has that zone", () => {
  expect(["n2", "n4@z2", "n4@z3", "n9", "constructor"].map((id) => zoneOfNode(zone, id))).toEqual([
    "z2",
    "z2",
    undefined,
    undefined,
    undefined,
  ]);
});

describe("clusterPlace", () => {
  it("[CL-3] without a cluster there is no place, and the zone is the single node's", () => {
    expect(clusterPlace(undefined)).toBeUndefined();
    expect(clusterPlace("")).toBeUndefined();
    expect(zoneHere({})).toBe("z1");
    expect(zoneHere({ JADE_CLUSTER: JSON.stringify({ ...zone, zone: "z2" }) })).toBe("z2");
    expect(() => clusterPlace('{"role":"both"}')).toThrow();
  });
});
