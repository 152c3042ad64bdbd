// One connection with its watches: what goes out on it, what of it may be unread, and what has to wait.
// Guarantees: events leave in the order they came, whole batches; once the window is full nothing more leaves until the client has said
// what it read. Must not: know which changes a watch has; hold bytes.
import { ByteWriter } from "../wire/bytes.ts";
import type { KeyRange } from "../wire/config.ts";
import { type WatchId, type WatchMessage, writeWatchMessage } from "../wire/config-watch.ts";
import { MAX_WATCH_MESSAGE_BYTES, WATCH_FRAME_BYTES } from "./limits.ts";
import { type Batch, frameOf, type Part } from "./watch-batch.ts";
import type { UnreadBudget } from "./watch-budget.ts";
import type { WatchIndex } from "./watch-index.ts";

export type Frame = Uint8Array | string;

/** The connection as the platform has it. */
export interface WatchPort {
  send(frame: Frame): void;
  close(code: number, reason: string): void;
}

/** How messages look on a connection. */
export interface WatchEncoding {
  readonly message: (message: Exclude<WatchMessage, { kind: "events" }>) => Frame;
  readonly events: (part: Part, watchIds: readonly WatchId[]) => readonly Frame[];
}

const writer = new ByteWriter(256);

export const BINARY: WatchEncoding = {
  message: (message) => {
    writer.reset();
    writeWatchMessage(writer, message);
    return writer.take();
  },
  events: (part, watchIds) => [frameOf(part, watchIds)],
};

export interface Watch extends KeyRange {
  readonly connection: WatchConnection;
  readonly id: WatchId;
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly progressNotify: boolean;
  readonly fragment: boolean;
  /** While its connection waits: the first revision it has not got. Otherwise none before it. */
  next: number;
  /** Where it gets its events from; undefined = its connection waits. */
  convoy: Convoy | undefined;
  /** Nothing was told since the last progress notice was due. */
  isQuiet: boolean;
}

/** Watches that have got the same. */
export interface Convoy {
  /** The first revision that they have not got. */
  next: number;
  /** Where that begins in the log, once it was looked up. */
  seq: number | undefined;
  readonly index: WatchIndex<Watch>;
}

/** What must outlast the memory of a connection that hibernates. */
export interface ConnectionState {
  readonly nextId: WatchId;
  /** Some watches were not up to date: what they have got is not recorded. */
  readonly isLagging: boolean;
  readonly lastMark: number;
  readonly unreadBytes: number;
}

export const NEW_CONNECTION: ConnectionState = { nextId: 0, isLagging: false, lastMark: 0, unreadBytes: 0 };

export class WatchConnection {
  readonly id: number;
  readonly watches = new Map<WatchId, Watch>();
  readonly #port: WatchPort;
  readonly #encoding: WatchEncoding;
  readonly #budget: UnreadBudget;
  nextId: WatchId;
  /** Watches that are not up to date. */
  laggingCount = 0;
  isProgressWanted = false;
  /** When it began to wait, or read last since. */
  fullSinceMs = 0;
  isWaiting = false;
  isClosed = false;
  /** In the order of revisions. */
  readonly #pending = new Map<Batch, WatchId[]>();
  readonly #marks: { readonly mark: number; readonly bytes: number }[] = [];
  #lastMark = 0;
  #unmarkedBytes = 0;
  unreadBytes = 0;

  constructor(options: {
    readonly id: number;
    readonly port: WatchPort;
    readonly encoding: WatchEncoding;
    readonly budget: UnreadBudget;
    readonly state: ConnectionState;
  }) {
    this.id = options.id;
    this.#port = options.port;
    this.#encoding = options.encoding;
    this.#budget = options.budget;
    const { nextId, lastMark, unreadBytes } = options.state;
    this.nextId = nextId;
    this.#lastMark = lastMark;
    // Whatever was asked before is asked again.
    this.#unmarkedBytes = unreadBytes;
    this.#unread(unreadBytes);
  }

  get state(): ConnectionState {
    const { nextId, unreadBytes } = this;
    return { nextId, isLagging: this.laggingCount > 0, lastMark: this.#lastMark, unreadBytes };
  }

  get isFull(): boolean {
    return this.unreadBytes >= this.#budget.bounds.windowBytes;
  }

  /** True when these are the first events since the last flush. */
  queue(batch: Batch, watchId: WatchId): boolean {
    const isFirst = this.#pending.size === 0;
    const ids = this.#pending.get(batch);
    if (ids) ids.push(watchId);
    else this.#pending.set(batch, [watchId]);
    return isFirst;
  }

  tell(message: Exclude<WatchMessage, { kind: "events" | "ping" }>): void {
    this.#send(this.#encoding.message(message));
  }

  /** Sends what is pending. What did not fit any more is given back, as were watches whose message would be too large. */
  flush(): { readonly unsent: ReadonlyMap<Batch, readonly WatchId[]>; readonly tooLarge: readonly WatchId[] } {
    const unsent = new Map<Batch, readonly WatchId[]>();
    const tooLarge: WatchId[] = [];
    for (const [batch, watchIds] of this.#pending) {
      if (unsent.size > 0 || this.isFull || this.#budget.isFull) unsent.set(batch, watchIds);
      else if (batch.parts.length === 1 && batch.bytes > MAX_WATCH_MESSAGE_BYTES && batch.parts[0]!.events.length > 1)
        tooLarge.push(...watchIds);
      else this.#sendBatch(batch, watchIds);
    }
    this.#pending.clear();
    return { unsent, tooLarge };
  }

  /** Asks what was read, so that a connection that waits hears of it. */
  mark(revision: number, term: number): void {
    if (this.#unmarkedBytes === 0) return;
    const mark = ++this.#lastMark;
    this.#marks.push({ mark, bytes: this.#unmarkedBytes });
    this.#unmarkedBytes = 0;
    this.#port.send(this.#encoding.message({ kind: "ping", header: { revision, term }, mark }));
  }

  get isMarkDue(): boolean {
    return this.#unmarkedBytes >= this.#budget.unmarkedBytes;
  }

  /** The client has read all up to `mark`. */
  read(mark: number): void {
    let count = 0;
    let bytes = 0;
    for (const { mark: asked, bytes: sent } of this.#marks) {
      if (asked > mark) break;
      count++;
      bytes += sent;
    }
    this.#marks.splice(0, count);
    this.#unread(-bytes);
  }

  close(code: number, reason: string): void {
    this.#port.close(code, reason);
  }

  /** It is gone: what it left unread is no longer held. */
  end(): void {
    this.isClosed = true;
    this.#pending.clear();
    this.#unread(-this.unreadBytes);
  }

  #sendBatch(batch: Batch, watchIds: readonly WatchId[]): void {
    for (const part of batch.parts) for (const frame of this.#encoding.events(part, watchIds)) this.#send(frame);
    for (const id of watchIds) {
      const watch = this.watches.get(id);
      if (watch) watch.isQuiet = false;
    }
  }

  #send(frame: Frame): void {
    const bytes = frame.length + WATCH_FRAME_BYTES;
    this.#unmarkedBytes += bytes;
    this.#unread(bytes);
    this.#port.send(frame);
  }

  #unread(bytes: number): void {
    this.unreadBytes += bytes;
    this.#budget.unreadBytes += bytes;
  }
}
