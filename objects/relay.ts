// The entrypoint that other processes of the cluster call: finds the object by its name and passes the call on.
// Guarantees: only what is at home here is called, so that a wrong table makes an error and no second copy of an object.
// Must not: be reachable by anyone but the cluster's processes; who reaches it may do everything.
import { WorkerEntrypoint } from "cloudflare:workers";
import { clusterPlace, isLeaderBinding, isZoneBinding, type ObjectBinding } from "../src/cluster/placement.ts";
import type { Env } from "./env.ts";
import { ownLeaders } from "./peers.ts";
import { OBJECT_HEADER, objectHere } from "./reach.ts";
import type { ProcessInfo, RelayRpc } from "./relay-rpc.ts";

/** Shorter than whoever asks for {@link ProcessInfo} waits. Ms. */
const LEADERS_DEADLINE_MS = 500;

type AnyStub = Readonly<Record<string, (...args: readonly unknown[]) => Promise<unknown>>>;

export class Relay extends WorkerEntrypoint<Env> implements RelayRpc {
  async invoke(binding: ObjectBinding, name: string, method: string, args: readonly unknown[]): Promise<unknown> {
    const stub = objectHere(this.env, binding, name) as AnyStub;
    return stub[method]!(...args);
  }

  override async fetch(request: Request): Promise<Response> {
    const [binding = "", ...rest] = decodeURIComponent(request.headers.get(OBJECT_HEADER) ?? "").split("/");
    if (!isLeaderBinding(binding) && !isZoneBinding(binding)) return new Response(null, { status: 404 });
    const stub = objectHere(this.env, binding, rest.join("/")) as Fetcher;
    return stub.fetch(request);
  }

  async about(): Promise<ProcessInfo> {
    const { role, zone, zones } = clusterPlace(this.env.JADE_CLUSTER)!;
    return { role, zone, zones, leaders: await ownLeaders(this.env, LEADERS_DEADLINE_MS) };
  }
}
