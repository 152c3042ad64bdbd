// What a hub of watches stands on: the keyspace as it sees it, what outlasts its memory, and a connection that comes back.
import type { KeyValue } from "../wire/config.ts";
import type { WatchId, WatchOptions } from "../wire/config-watch.ts";
import type { Change } from "./keyspace.ts";
import type { LogSource } from "./log-place.ts";
import type { UnreadBudget, WatchBounds } from "./watch-budget.ts";
import type { ConnectionState } from "./watch-connection.ts";

export interface WatchSource extends LogSource {
  readonly revision: number;
  readonly term: number;
  /** The first revision whose changes can be told. */
  readonly compactedRevision: number;
  endedBy(change: Change): KeyValue | undefined;
}

/** What survives the hub's memory. Called in the turn of the change. */
export interface WatchRegistry {
  added(connection: number, watch: WatchId, options: WatchOptions): void;
  removed(connection: number, watch: WatchId): void;
  /** With all of its watches. */
  ended(connection: number): void;
  remember(connection: number, state: ConnectionState): void;
}

export interface WatchHubOptions {
  readonly source: WatchSource;
  readonly registry: WatchRegistry;
  readonly now: () => number;
  readonly bounds?: WatchBounds;
  /** Of all hubs of a process, where there are several. */
  readonly budget?: UnreadBudget;
  /**
   * The source is a copy, and what it lacks may be held where it came from: nobody is told `compacted`. Called before connections are
   * closed that need such revisions: their next attempts are to go elsewhere.
   */
  readonly elsewhere?: (() => void) | undefined;
}

/** A connection that is there again after hibernation. */
export interface RestoredConnection {
  readonly state: ConnectionState;
  readonly watches: readonly { readonly id: WatchId; readonly options: WatchOptions }[];
}
