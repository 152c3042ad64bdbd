// The way to a stub, with bindings that note who was called.
import { describe, expect, it } from "vitest";
import type { Env } from "../../../objects/env.ts";
import { OBJECT_HEADER, objectHere, placed, reach, relayBinding } from "../../../objects/reach.ts";
import { hear } from "../../../objects/told.ts";
import { LEADER_BINDINGS, ZONE_BINDINGS } from "../../../src/cluster/placement.ts";

type Call = readonly unknown[];

/** The environment of a process: its own namespaces and its ways to others, each noting its calls. */
function environment(role: "zone" | "leaders" | undefined, calls: Call[]): Env {
  const platform = (binding: string) => ({
    idFromName: (name: string) => ({ name, toString: () => `id of ${name}` }),
    get: ({ name }: { name: string }) => ({
      call: async (...args: unknown[]) => void calls.push(["platform", binding, name, ...args]),
    }),
  });
  const relay = (process: string) => ({
    invoke: async (...args: unknown[]) => {
      calls.push([process, ...args]);
      return "relayed";
    },
    fetch: async (request: Request) => {
      calls.push([process, request.headers.get(OBJECT_HEADER), request.headers.get("upgrade")]);
      return new Response(null, { status: 204 });
    },
  });
  const place = { role, zone: "z1", zones: ["z1", "z2"], nodes: { n1: "z1", n2: "z2" } };
  const here =
    role === undefined ? [...LEADER_BINDINGS, ...ZONE_BINDINGS] : role === "zone" ? ZONE_BINDINGS : LEADER_BINDINGS;
  return {
    ...Object.fromEntries(here.map((binding) => [binding, platform(binding)])),
    ...(role === undefined ? {} : { JADE_CLUSTER: JSON.stringify(place), ZONE_z2: relay("z2") }),
    ...(role === "zone" ? { LEADERS: relay("leaders") } : { ZONE_z1: relay("z1") }),
  } as unknown as Env;
}

const bytes = new Uint8Array([1]);

describe("reach", () => {
  it("[CL-2] a call goes to the object's home, once, with the object's name", async () => {
    const calls: Call[] = [];
    const { TENANT, KEY_VALUE_REPLICA, DIRECTORY } = reach(environment("zone", calls));
    expect(await TENANT.get(TENANT.idFromName("t7")).viewSince(3)).toBe("relayed");
    await KEY_VALUE_REPLICA.get(KEY_VALUE_REPLICA.idFromName("n1")).call(bytes);
    await KEY_VALUE_REPLICA.get(KEY_VALUE_REPLICA.idFromName("n2")).call(bytes);
    expect(calls).toEqual([
      ["leaders", "TENANT", "t7", "viewSince", [3]],
      ["platform", "KEY_VALUE_REPLICA", "n1", bytes],
      ["z2", "KEY_VALUE_REPLICA", "n2", "call", [bytes]],
    ]);
    // A stub may be given back by an async function: nobody must take it for a promise.
    expect(await DIRECTORY.get(DIRECTORY.idFromName("system"))).toBeDefined();
    expect(calls).toHaveLength(3);
  });

  it("[CL-2] leaders call every zone by its relay, their own instance's too", async () => {
    const calls: Call[] = [];
    const { COORDINATOR, TENANT } = reach(environment("leaders", calls));
    await COORDINATOR.get(COORDINATOR.idFromName("z1")).metrics();
    const [id, tenant] = [TENANT.idFromName("t1"), TENANT as unknown as { get(id: unknown): { call(): unknown } }];
    await tenant.get(id).call();
    expect(calls).toEqual([
      ["z1", "COORDINATOR", "z1", "metrics", []],
      ["platform", "TENANT", "t1"],
    ]);
  });

  it("[CL-2] a request keeps its headers and names the object; names may hold what headers may not", async () => {
    const calls: Call[] = [];
    const { CONFIG_KEYSPACE } = reach(environment("zone", calls));
    const stub = CONFIG_KEYSPACE.get(CONFIG_KEYSPACE.idFromName("c1/grün\n"));
    const response = await stub.fetch(new Request("http://x/", { headers: { upgrade: "websocket" } }));
    expect(response.status).toBe(204);
    expect(calls).toEqual([["leaders", "CONFIG_KEYSPACE%2Fc1%2Fgr%C3%BCn%0A", "websocket"]]);
  });

  it("[CL-2] a process refuses what is not at home in it", () => {
    const env = environment("zone", []);
    expect(objectHere(env, "KEY_VALUE_REPLICA", "n1")).toBeDefined();
    expect(() => objectHere(env, "KEY_VALUE_REPLICA", "n2")).toThrow("not at home with the zone of z1");
    expect(() => objectHere(env, "TENANT", "t1")).toThrow("not at home with the zone of z1");
    expect(() => objectHere(environment(undefined, []), "TENANT", "t1")).toThrow("there is no cluster");
  });

  it("[CL-3] without a cluster the platform's bindings are given as they are", () => {
    const env = environment(undefined, []);
    expect(reach(env)).toBe(env);
    class Held {
      readonly env: Env;
      constructor(_: unknown, given: Env) {
        this.env = given;
      }
    }
    const make = (given: Env) => new (placed(Held))({} as DurableObjectState, given);
    expect(make(env).env).toBe(env);
    const clustered = environment("zone", []);
    expect(make(clustered).env).not.toBe(clustered);
    expect(make(clustered).env).toBe(reach(clustered));
  });
});

it("[CL-95] the way to leaders is one's own, or a neighbour's that the supervisor tells", () => {
  const via = (): string => relayBinding({ kind: "leaders" }, "z1");
  expect(via()).toBe("LEADERS");
  hear({ members: [], drained: null, leadersVia: "z3" });
  expect(via()).toBe("LEADERS_z3");
  expect(relayBinding({ kind: "zone", zone: "z2" }, "z1")).toBe("ZONE_z2");
  hear({ members: [], drained: null, leadersVia: "z1" });
  expect(via()).toBe("LEADERS");
});
