// The way to a stub. On a single node and on Cloudflare: the platform's. In a cluster: the platform's for what is at home in this process,
// else a relay of the process that it is at home in. The classes cannot tell which.
// Guarantees: a zone-bound object is called at home only; a relayed call is one call, sent once. Must not: retry, or hold a connection.
import {
  type ClusterPlace,
  clusterPlace,
  type Home,
  homeOf,
  LEADER_BINDINGS,
  type ObjectBinding,
  ZONE_BINDINGS,
} from "../src/cluster/placement.ts";
import type { Env, Namespace } from "./env.ts";
import type { RelayRpc } from "./relay-rpc.ts";
import { told } from "./told.ts";

/** Names the object to a relay: binding, `/`, name, percent-encoded. */
export const OBJECT_HEADER = "jade-object";

type Relay = RelayRpc & Fetcher;
type AnyNamespace = Namespace<object>;

/** The service binding of another process's relay: of leaders, this instance's own or, while they are away, a neighbour's (spec CL-95). */
export function relayBinding(home: Exclude<Home, { kind: "here" }>, zoneHere: string): string {
  if (home.kind === "zone") return `ZONE_${home.zone}`;
  const via = told()?.leadersVia ?? zoneHere;
  return via === zoneHere ? "LEADERS" : `LEADERS_${via}`;
}

/** A relay of another process. Throws when this process was given no way there. */
export function relayOf(env: Env, home: Exclude<Home, { kind: "here" }>): Relay {
  const name = relayBinding(home, clusterPlace(env.JADE_CLUSTER)!.zone);
  const relay = (env as unknown as Record<string, Relay | undefined>)[name];
  if (!relay) throw new Error(`there is no binding ${name}`);
  return relay;
}

/** Of this instance's own leaders, whoever else is the way to leaders. */
export function ownLeadersRelay(env: Env): Relay {
  return (env as unknown as { readonly LEADERS: Relay }).LEADERS;
}

/** What a stub does, done by a relay: `fetch` as a request, every other method as a call. */
function relayedStub(relay: () => Relay, binding: ObjectBinding, name: string): object {
  const fetch = (request: Request): Promise<Response> => {
    const headers = new Headers(request.headers);
    headers.set(OBJECT_HEADER, encodeURIComponent(`${binding}/${name}`));
    return relay().fetch(new Request(request, { headers }));
  };
  return new Proxy(
    {},
    {
      get: (_, method) => {
        if (method === "fetch") return fetch;
        // Whoever awaits a stub must not call it.
        if (typeof method !== "string" || method === "then") return undefined;
        return (...args: unknown[]) => relay().invoke(binding, name, method, args);
      },
    },
  );
}

class PlacedNamespace implements AnyNamespace {
  readonly #env: Env;
  readonly #place: ClusterPlace;
  readonly #binding: ObjectBinding;

  constructor(env: Env, place: ClusterPlace, binding: ObjectBinding) {
    this.#env = env;
    this.#place = place;
    this.#binding = binding;
  }

  /** The platform's id where the object is at home here, else a name that only {@link get} reads. */
  idFromName(name: string): DurableObjectId {
    const home = homeOf(this.#place, this.#binding, name);
    if (home.kind === "here") return this.#env[this.#binding].idFromName(name);
    return { name, toString: () => name, equals: (other) => other.name === name };
  }

  get(id: DurableObjectId): object {
    const name = id.name;
    if (name === undefined) throw new Error(`${this.#binding} is called by names`);
    const home = homeOf(this.#place, this.#binding, name);
    if (home.kind === "here") return this.#env[this.#binding].get(id);
    // Stubs are kept: the way is looked up for each call.
    return relayedStub(() => relayOf(this.#env, home), this.#binding, name);
  }
}

/** The object for a call that came from another process. Throws where it is not at home here: it would be a second one. */
export function objectHere(env: Env, binding: ObjectBinding, name: string): object {
  const place = clusterPlace(env.JADE_CLUSTER);
  if (!place) throw new Error("there is no cluster");
  if (homeOf(place, binding, name).kind !== "here")
    throw new Error(`${binding} "${name}" is not at home with the ${place.role} of ${place.zone}`);
  const objects: AnyNamespace = env[binding];
  return objects.get(objects.idFromName(name));
}

const reached = new WeakMap<Env, Env>();

/** `env` with a way to every object, wherever it is. */
export function reach(env: Env): Env {
  const place = clusterPlace(env.JADE_CLUSTER);
  if (!place) return env;
  const held = reached.get(env);
  if (held) return held;
  const bindings = [...LEADER_BINDINGS, ...ZONE_BINDINGS];
  const namespaces = bindings.map((binding) => [binding, new PlacedNamespace(env, place, binding)]);
  const made: Env = { ...env, ...Object.fromEntries(namespaces) };
  reached.set(env, made);
  return made;
}

type ObjectClass<Instance> = new (ctx: DurableObjectState, env: Env) => Instance;

/** The class, given a way to every object. */
export function placed<Instance extends object>(Class: ObjectClass<Instance>): ObjectClass<Instance> {
  const Base = Class as ObjectClass<object>;
  const Placed = class extends Base {
    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, reach(env));
    }
  };
  return Placed as ObjectClass<Instance>;
}
