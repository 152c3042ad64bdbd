// Mistakes planted into changes of the replication factor and into filling, to prove that the checker would see them.
import { Tally } from "../../../src/replication/tally.ts";
import type { RouteSabotage } from "./route-run.ts";

/** An acknowledgement of a replica that is only joining is taken for one of the last member's. Returns the way back. */
export function countPending(): () => void {
  const { count } = Tally.prototype;
  Tally.prototype.count = function (this: Tally, id: string): void {
    const { members } = this.groups[0]!;
    count.call(this, members.includes(id) ? id : members.at(-1)!);
  };
  return () => {
    Tally.prototype.count = count;
  };
}

export const ROUTE_PLANTED: Readonly<Record<string, RouteSabotage>> = {
  "early reading-set switch: the new replicas are read while they are filled": {
    route: (route) =>
      route.change ? { replicationFactor: route.change.to, routeRevision: route.routeRevision } : route,
  },
  "old set released before a majority of it has recorded the new revision": { forgetsRoutes: true },
  "the new replicas are not filled": { skipsSync: true },
  "pending node counted in W": { patch: countPending },
  "what is heard during a filling counts at once": { believesAtOnce: true },
};
