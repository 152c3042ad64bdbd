// What tests hang into a simulated world: mistakes that are planted, and an observer of everything.
import type { StorageNode } from "../../src/access/types.ts";
import type { RowKey } from "../../src/storage/types.ts";

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
  /** Hints are said to be kept, and are not. */
  readonly losesHints?: boolean;
  /** A row whose versions are all deletes is dropped when its node restarts. */
  readonly purgesDeleted?: boolean;
  /** A node's state as coordinators are told it. */
  readonly stateShown?: (state: StorageNode["state"]) => StorageNode["state"];
  /** A node that lost its disk stamps, reads and counts before it is filled. */
  readonly countsWhileRebuilding?: boolean;
}

/** Sees every frame that a replica is about to apply and every row it writes. */
export interface Observer {
  frame(nodeId: string, frame: Uint8Array): void;
  put(nodeId: string, row: RowKey, before: Uint8Array | undefined, after: Uint8Array): void;
  /** The network brings this frame twice. */
  repeated?(frame: Uint8Array): void;
  hint?(keeper: string, target: string, row: RowKey, state: Uint8Array): void;
  /** Everything kept by this node is gone. */
  diskLost?(nodeId: string, disk: { get(row: RowKey): Uint8Array | undefined }): void;
}
