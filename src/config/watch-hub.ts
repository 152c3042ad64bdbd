// The watches of a keyspace: who gets which change, and how those who are behind catch up.
// Guarantees: each watch gets every matching change of a revision ≥ its start once, in order, all of a revision together
// (spec CF-40 ff.); work and memory are bounded: catching up goes in slices, a connection that does not read waits at its revision and
// is closed in the end. Must not: do I/O, know time or callers. `flush` after each turn that wrote, `step` while it says there is more.
//
// A live watch needs no position of its own: it got everything up to the keyspace's revision in the turn that made it, so after
// hibernation it is where the log is.

import type { MalformedBytes } from "../wire/bytes.ts";
import type { AnswerHeader } from "../wire/config.ts";
import { isEmptyRange } from "../wire/config-keys.ts";
import {
  NO_WATCH,
  type WatchCreate,
  type WatchId,
  type WatchOptions,
  type WatchRequest,
} from "../wire/config-watch.ts";
import { ChangeTail } from "./change-tail.ts";
import type { Change } from "./keyspace.ts";
import * as limits from "./limits.ts";
import { CorruptRecord } from "./record.ts";
import type { Batch } from "./watch-batch.ts";
import { UnreadBudget, WATCH_BOUNDS } from "./watch-budget.ts";
import {
  type Convoy,
  NEW_CONNECTION,
  type Watch,
  WatchConnection,
  type WatchEncoding,
  type WatchPort,
} from "./watch-connection.ts";
import { WatchConvoys } from "./watch-convoys.ts";
import { WatchDelivery } from "./watch-delivery.ts";
import type { RestoredConnection, WatchHubOptions, WatchSource } from "./watch-hub-options.ts";

/** Close codes of RFC 6455. */
const CLOSE_MALFORMED = 1007;
const CLOSE_TRY_AGAIN = 1013;

export class WatchHub {
  readonly #options: WatchHubOptions;
  readonly #tail: ChangeTail;
  readonly #convoys: WatchConvoys;
  readonly #connections = new Map<number, WatchConnection>();
  /** Waiting for their own client to read. */
  readonly #full = new Set<WatchConnection>();
  /** Waiting for others to read. */
  readonly #queued = new Set<WatchConnection>();
  readonly #notified = new Set<Watch>();
  readonly #budget: UnreadBudget;
  readonly #delivery: WatchDelivery;
  watchCount = 0;
  readonly counts = { slow: 0, compacted: 0 };

  constructor(options: WatchHubOptions) {
    this.#options = options;
    const { bounds = WATCH_BOUNDS, budget = new UnreadBudget(bounds) } = options;
    this.#budget = budget;
    this.#tail = new ChangeTail(bounds.tailBytes);
    this.#delivery = new WatchDelivery(options.source);
    this.#convoys = new WatchConvoys({
      source: options.source,
      tail: this.#tail,
      delivery: this.#delivery,
      bounds,
      onLagging: (connection, by) => this.#lagging(connection, by),
    });
  }

  get eventsTotal(): number {
    return this.#delivery.eventsTotal;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get unreadBytes(): number {
    return this.#budget.unreadBytes;
  }

  /** Some watches have to catch up: call `step`. */
  get isBehind(): boolean {
    return this.#convoys.isBehind;
  }

  /** The oldest revision that is held in memory; undefined = none is. */
  get oldestHeld(): number | undefined {
    return this.#tail.oldest;
  }

  /** Some connections wait for their clients: call `sweep` now and then. */
  get hasWaiting(): boolean {
    return this.#full.size + this.#queued.size > 0;
  }

  get hasNotified(): boolean {
    return this.#notified.size > 0;
  }

  connect(id: number, port: WatchPort, encoding: WatchEncoding): WatchConnection {
    const connection = new WatchConnection({ id, port, encoding, budget: this.#budget, state: NEW_CONNECTION });
    this.#connections.set(id, connection);
    this.#budget.connectionCount++;
    return connection;
  }

  /** undefined = some of its watches were behind: it was closed, its client resumes. */
  restore(
    id: number,
    { port, encoding, state, watches }: RestoredConnection & { port: WatchPort; encoding: WatchEncoding },
  ): WatchConnection | undefined {
    if (state.isLagging) {
      port.close(CLOSE_TRY_AGAIN, "begin again from the last revision");
      this.#options.registry.ended(id);
      return undefined;
    }
    const connection = new WatchConnection({ id, port, encoding, budget: this.#budget, state });
    this.#connections.set(id, connection);
    this.#budget.connectionCount++;
    for (const { id: watchId, options } of watches) {
      const watch = this.#watchOf(connection, watchId, options);
      this.#convoys.place(watch, Math.max(watch.next, this.#options.source.revision + 1));
    }
    return connection;
  }

  /** A connection's request. */
  receive(connection: WatchConnection, request: WatchRequest): void {
    if (connection.isClosed) return;
    // Answers to requests are not held up by a full window.
    if (connection.unreadBytes > 2 * this.#budget.bounds.windowBytes && request.kind !== "pong")
      return this.#cutOff(connection);
    switch (request.kind) {
      case "create":
        this.#create(connection, request);
        return;
      case "cancel": {
        const watch = connection.watches.get(request.watchId);
        if (watch) this.#cancel(watch, "", 0);
        return;
      }
      case "progress":
        connection.isProgressWanted = true;
        this.#tellProgress(connection);
        return;
      case "pong":
        connection.read(request.mark);
        this.#wake(connection);
        return;
      default:
        request satisfies never;
    }
  }

  /** What a client sent is not of the protocol. */
  malformed(connection: WatchConnection, error: MalformedBytes): void {
    connection.close(CLOSE_MALFORMED, error.message.slice(0, 120));
    this.disconnect(connection);
  }

  disconnect(connection: WatchConnection): void {
    if (connection.isClosed) return;
    connection.end();
    for (const watch of connection.watches.values()) this.#forget(watch);
    connection.watches.clear();
    this.#budget.connectionCount--;
    this.#options.registry.ended(connection.id);
    this.#delivery.dirty.delete(connection);
    this.#full.delete(connection);
    this.#queued.delete(connection);
    this.#connections.delete(connection.id);
    this.#wakeQueued();
  }

  /** All changes of one revision, in the turn that made them. */
  changed(revision: number, changes: readonly Change[]): void {
    this.#tail.add(revision, changes);
    const { index } = this.#convoys.live;
    if (index.size > 0) this.#delivery.deliver(index, { revision, changes });
  }

  /** Sends what is pending. After each turn that wrote. */
  flush(): void {
    for (const connection of this.#delivery.dirty) this.#flush(connection);
    this.#delivery.dirty.clear();
  }

  /** One slice of catching up; true = there is more. Never within a turn that writes. */
  step(): boolean {
    const convoy = this.#convoys.pick();
    if (!convoy) return false;
    if (convoy.next < this.#options.source.compactedRevision) this.#cancelCompacted(convoy);
    else this.#advance(convoy);
    this.flush();
    for (const connection of this.#convoys.settle(convoy)) this.#tellProgress(connection);
    return this.isBehind;
  }

  /** Closes the connections that have read nothing for too long. */
  sweep(): void {
    const nowMs = this.#options.now();
    for (const connection of this.#full) {
      if (nowMs - connection.fullSinceMs >= limits.WATCH_STALL_MS) this.#cutOff(connection);
    }
  }

  /** Progress notices of the watches that were quiet since the last call. */
  notify(): void {
    const header = this.#header();
    for (const watch of this.#notified) {
      const { connection, isQuiet } = watch;
      watch.isQuiet = true;
      if (!isQuiet || watch.convoy !== this.#convoys.live || connection.isFull || this.#budget.isFull) continue;
      connection.tell({ kind: "progress", header, watchId: watch.id });
      this.#mark(connection);
    }
  }

  #create(connection: WatchConnection, request: WatchCreate): void {
    const { source, registry } = this.#options;
    const header = this.#header();
    const refused = this.#refusal(connection, request);
    if (refused) {
      const watchId = refused.isTaken ? NO_WATCH : (request.watchId ?? NO_WATCH);
      connection.tell({ kind: "refused", header, watchId, code: refused.code, message: refused.message });
      return;
    }
    let { watchId } = request;
    if (watchId === undefined) {
      while (connection.watches.has(connection.nextId)) connection.nextId++;
      watchId = connection.nextId++;
    }
    const { startRevision = 0 } = request;
    if (startRevision > 0 && startRevision < source.compactedRevision && this.#options.elsewhere)
      return this.#sendElsewhere([connection], startRevision);
    connection.tell({ kind: "created", header, watchId });
    if (startRevision > 0 && startRevision < source.compactedRevision) {
      this.counts.compacted++;
      connection.tell({ ...compacted(source), header, watchId });
      return;
    }
    const next = startRevision > 0 ? Math.max(startRevision, limits.FIRST_CHANGE) : source.revision + 1;
    const watch = this.#watchOf(connection, watchId, { ...request, startRevision: next });
    registry.added(connection.id, watchId, { ...request, startRevision: next });
    if (connection.isWaiting) connection.laggingCount++;
    else this.#convoys.place(watch, next);
    this.#mark(connection);
    registry.remember(connection.id, connection.state);
  }

  #refusal(connection: WatchConnection, { watchId, key, rangeEnd }: WatchCreate) {
    if (watchId !== undefined && connection.watches.has(watchId))
      return { code: "conflict", message: `the connection has a watch ${watchId} already`, isTaken: true };
    if (key === "")
      return { code: "invalidRequest", message: `key must not be empty: it has 1 to ${limits.MAX_KEY_BYTES} bytes` };
    if (isEmptyRange({ key, rangeEnd }))
      return { code: "invalidRequest", message: "the range is empty: its end is not after its start" };
    if (key.length > limits.MAX_KEY_BYTES || rangeEnd.length > limits.MAX_KEY_BYTES)
      return { code: "invalidRequest", message: `a key has more than ${limits.MAX_KEY_BYTES} bytes` };
    if (this.watchCount < limits.MAX_WATCHES) return undefined;
    return {
      code: "overloaded",
      message: `the keyspace has ${this.watchCount} watches, the limit is ${limits.MAX_WATCHES}`,
    };
  }

  #watchOf(connection: WatchConnection, id: WatchId, options: WatchOptions): Watch {
    const watch: Watch = {
      connection,
      id,
      key: options.key,
      rangeEnd: options.rangeEnd,
      prevKv: options.prevKv ?? false,
      noPut: options.noPut ?? false,
      noDelete: options.noDelete ?? false,
      progressNotify: options.progressNotify ?? false,
      fragment: options.fragment ?? false,
      next: options.startRevision ?? 0,
      convoy: undefined,
      isQuiet: true,
    };
    connection.watches.set(id, watch);
    this.watchCount++;
    if (watch.progressNotify) this.#notified.add(watch);
    return watch;
  }

  #cancel(watch: Watch, message: string, compactRevision: number): void {
    const { connection, id } = watch;
    connection.watches.delete(id);
    this.#forget(watch);
    connection.tell({ kind: "canceled", header: this.#header(), watchId: id, compactRevision, message });
    this.#tellProgress(connection);
  }

  /** Its connection's map is the caller's. */
  #forget(watch: Watch): void {
    const { connection, convoy } = watch;
    if (convoy) convoy.index.delete(watch);
    if (convoy !== this.#convoys.live) this.#lagging(connection, -1);
    watch.convoy = undefined;
    this.watchCount--;
    this.#notified.delete(watch);
    if (!connection.isClosed) this.#options.registry.removed(connection.id, watch.id);
  }

  #lagging(connection: WatchConnection, by: number): void {
    const was = connection.laggingCount > 0;
    connection.laggingCount += by;
    if (connection.laggingCount > 0 !== was && !connection.isClosed)
      this.#options.registry.remember(connection.id, connection.state);
  }

  #advance(convoy: Convoy): void {
    try {
      this.#convoys.advance(convoy);
    } catch (error) {
      // What is damaged is not told, nor passed over.
      if (!(error instanceof CorruptRecord)) throw error;
      for (const watch of [...convoy.index.items()]) this.#cancel(watch, error.message, 0);
    }
  }

  #cancelCompacted(convoy: Convoy): void {
    const { compactedRevision } = this.#options.source;
    if (this.#options.elsewhere) {
      const connections = [...convoy.index.items()].map(({ connection }) => connection);
      return this.#sendElsewhere(new Set(connections));
    }
    const { message } = compacted(this.#options.source);
    for (const watch of [...convoy.index.items()]) {
      this.counts.compacted++;
      this.#cancel(watch, message, compactedRevision);
    }
  }

  /** Their clients resume where the revisions are. */
  #sendElsewhere(connections: Iterable<WatchConnection>, wanted = Number.POSITIVE_INFINITY): void {
    const { source, elsewhere } = this.#options;
    elsewhere!();
    for (const connection of connections) {
      const resume = Math.min(wanted, this.#resumeOf(connection));
      const reason = `this copy begins at revision ${source.compactedRevision}; connect again, resume from revision ${resume}`;
      connection.close(CLOSE_TRY_AGAIN, reason);
      this.disconnect(connection);
    }
  }

  #flush(connection: WatchConnection): void {
    const { unsent, tooLarge } = connection.flush();
    this.#mark(connection);
    if (unsent.size > 0) this.#wait(connection, unsent);
    for (const id of tooLarge) {
      const watch = connection.watches.get(id);
      const message = `the events of one revision have more than ${limits.MAX_WATCH_MESSAGE_BYTES} bytes; ask for fragments`;
      if (watch) this.#cancel(watch, message, 0);
    }
  }

  #cutOff(connection: WatchConnection): void {
    this.counts.slow++;
    const reason = `slow reader: ${connection.unreadBytes} bytes unread; resume from revision ${this.#resumeOf(connection)}`;
    connection.close(CLOSE_TRY_AGAIN, reason);
    this.disconnect(connection);
  }

  /** The first revision that some of its watches have not got. */
  #resumeOf(connection: WatchConnection): number {
    let resume = this.#options.source.revision + 1;
    for (const { next, convoy } of connection.watches.values())
      if (convoy !== this.#convoys.live) resume = Math.min(resume, convoy?.next ?? next);
    return resume;
  }

  /** Its watches leave their convoys and remember where they are. */
  #wait(connection: WatchConnection, unsent: ReadonlyMap<Batch, readonly WatchId[]>): void {
    const nextLive = this.#options.source.revision + 1;
    for (const watch of connection.watches.values()) {
      const { convoy } = watch;
      if (!convoy) continue;
      convoy.index.delete(watch);
      watch.convoy = undefined;
      watch.next = Math.max(watch.next, convoy === this.#convoys.live ? nextLive : convoy.next);
      if (convoy === this.#convoys.live) this.#lagging(connection, 1);
    }
    const backTo = new Map<WatchId, number>();
    for (const [batch, ids] of unsent) for (const id of ids) if (!backTo.has(id)) backTo.set(id, batch.revision);
    for (const [id, revision] of backTo) {
      const watch = connection.watches.get(id);
      if (watch) watch.next = revision;
    }
    connection.isWaiting = true;
    this.#queue(connection);
    const { revision, term } = this.#options.source;
    connection.mark(revision, term);
  }

  /** A client has read: it may go on, or another one in its place. */
  #wake(connection: WatchConnection): void {
    if (this.#full.has(connection)) this.#queue(connection);
    this.#options.registry.remember(connection.id, connection.state);
    this.#wakeQueued();
  }

  /** Among those who wait for the client, or for room. */
  #queue(connection: WatchConnection): void {
    const isOpen = connection.unreadBytes <= this.#budget.bounds.windowBytes / 2;
    connection.fullSinceMs = this.#options.now();
    if (isOpen) this.#full.delete(connection);
    (isOpen ? this.#queued : this.#full).add(connection);
  }

  #wakeQueued(): void {
    for (const connection of this.#queued) {
      if (!this.#budget.isRoomy) return;
      this.#queued.delete(connection);
      connection.isWaiting = false;
      for (const watch of connection.watches.values()) {
        this.#convoys.place(watch, watch.next);
        this.#lagging(connection, -1);
      }
      this.#tellProgress(connection);
    }
  }

  #tellProgress(connection: WatchConnection): void {
    if (!connection.isProgressWanted || connection.laggingCount > 0 || connection.isClosed) return;
    connection.isProgressWanted = false;
    connection.tell({ kind: "progress", header: this.#header(), watchId: NO_WATCH });
  }

  #mark(connection: WatchConnection): void {
    if (!connection.isMarkDue) return;
    const { revision, term } = this.#options.source;
    connection.mark(revision, term);
    this.#options.registry.remember(connection.id, connection.state);
  }

  #header(): AnswerHeader {
    const { revision, term } = this.#options.source;
    return { revision, term };
  }
}

function compacted({ compactedRevision }: WatchSource) {
  const message = `the revisions before ${compactedRevision} are compacted`;
  return { kind: "canceled", compactRevision: compactedRevision, message } as const;
}
