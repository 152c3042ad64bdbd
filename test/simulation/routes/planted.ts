// What a mistake planted by a test may change in a world.
import type { DirectoryView, TenantRoute } from "../../../src/access/types.ts";

/** Mistakes planted by tests, outside the shipped classes: what travels is changed on its way, or what a start reads is. */
export interface Sabotage {
  readonly request?: (frame: Uint8Array, nodeId: string) => Uint8Array;
  readonly answer?: (answer: Uint8Array, frame: Uint8Array, nodeId: string) => Uint8Array;
  /** The answer given in place of a node that a frame did not reach. */
  readonly unreached?: (frame: Uint8Array, nodeId: string) => Uint8Array | undefined;
  /** What a restarted node reads as its reserved counter. */
  readonly reservedAtStart?: (reserved: number) => number;
  readonly incarnationOnRebuild?: (incarnation: number) => number;
  readonly forgetsRecords?: boolean;
  /** A node that lost its disk counts from its start, empty as it is. */
  readonly countsWhileEmpty?: boolean;
  /** Nodes do not note the routes that they are told of. */
  readonly forgetsRoutes?: boolean;
  /** What a node that is being filled has heard counts at once. */
  readonly believesAtOnce?: boolean;
  /** Nodes delete nothing of what they are no replicas of. */
  readonly keepsStrays?: boolean;
  /** The route that coordinators are told in place of the tenant's. */
  readonly route?: (route: TenantRoute) => TenantRoute;
  /** The view that coordinators are told in place of the Directory's. */
  readonly view?: (view: DirectoryView) => DirectoryView;
}
