// `client.config.watch`: changes of keys as an async iterator, over one WebSocket for all watches of a namespace.
// Guarantees: every change from the start on, once, in order, all of a revision together, over any number of lost connections; a watch
// that is read slowly holds up no other and holds bounded memory; `compacted` is told. Must not: read keys.
import type { ConfigEvent, KeyRange } from "../wire/config.ts";
import type { ValueForm } from "./config-types.ts";
import { type ConfigChange, type ConfigWatchRange, watchEventOf, watchRangeOf } from "./config-watch-events.ts";
import { JadeError } from "./errors.ts";

/** A watch whose reader is this far behind is asked for again later, from where the reader is. */
const MAX_QUEUED_CHANGES = 4096;
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

export interface ConfigWatchOptions {
  /** The first revision to hear of; past ones too, while they are not compacted. Default: the next. */
  readonly startRevision?: number | undefined;
  /** Each event brings the version before. */
  readonly prevKv?: boolean | undefined;
  readonly noPut?: boolean | undefined;
  readonly noDelete?: boolean | undefined;
  readonly as?: ValueForm | undefined;
  /** Ends the watch. */
  readonly signal?: AbortSignal | undefined;
}

/** The link's side of a watch: src/client/config-watch-link.ts. */
export interface WatchHost {
  /** Nothing more of it is wanted. */
  drop(watch: ConfigWatch): void;
  /** It is to be asked for again, from `nextRevision` on. */
  ask(watch: ConfigWatch): void;
}

/** A watch: iterate over it. Begun when it was made; `started` resolves once the server has it. */
export class ConfigWatch<T = unknown> implements AsyncIterableIterator<ConfigChange<T>> {
  readonly range: KeyRange;
  readonly options: ConfigWatchOptions;
  /** The revision after which changes come: later ones are not missed. Rejects as the iteration does. */
  readonly started: Promise<number>;
  /** The first revision that was not taken over from the server; 0 = from now on. */
  nextRevision: number;
  readonly #host: WatchHost;
  #queue: { readonly change: ConfigChange<T>; readonly bytes: number }[] = [];
  #queuedBytes = 0;
  /** Too much is queued: the server was told to stop. */
  #isPaused = false;
  #partial: ConfigEvent[] = [];
  #error: unknown;
  #isOver = false;
  #reader:
    | { readonly resolve: (result: IteratorResult<ConfigChange<T>>) => void; readonly reject: (error: unknown) => void }
    | undefined;
  #start!: { readonly resolve: (revision: number) => void; readonly reject: (error: unknown) => void };

  constructor(host: WatchHost, range: ConfigWatchRange, options: ConfigWatchOptions) {
    this.#host = host;
    this.range = watchRangeOf(range);
    this.options = options;
    const { startRevision = 0, signal } = options;
    if (!Number.isSafeInteger(startRevision) || startRevision < 0)
      throw new TypeError(`startRevision must be a whole number from 0 on, got ${String(startRevision)}`);
    this.nextRevision = startRevision;
    this.started = new Promise((resolve, reject) => {
      this.#start = { resolve, reject };
    });
    // Whoever does not look at it learns of errors by the iteration.
    this.started.catch(() => undefined);
    if (signal?.aborted) this.fail(signal.reason);
    else signal?.addEventListener("abort", () => this.fail(signal.reason), { once: true });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next revision with changes. One call at a time. */
  next(): Promise<IteratorResult<ConfigChange<T>>> {
    const queued = this.#queue.shift();
    if (queued) {
      this.#queuedBytes -= queued.bytes;
      this.#resume();
      return Promise.resolve({ done: false, value: queued.change });
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    if (this.#reader) return Promise.reject(new TypeError("a watch is read by one reader at a time"));
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  #resume(): void {
    if (!this.#isPaused || this.#isOver || this.#queue.length > MAX_QUEUED_CHANGES / 2) return;
    if (this.#queuedBytes > MAX_QUEUED_BYTES / 2) return;
    this.#isPaused = false;
    this.#host.ask(this as ConfigWatch);
  }

  /** For the link: the server has the watch. */
  created(revision: number): void {
    if (this.nextRevision === 0) this.nextRevision = revision + 1;
    this.#start.resolve(this.nextRevision - 1);
  }

  /** For the link. */
  events(revision: number, events: readonly ConfigEvent[], isPart: boolean): void {
    for (const event of events) this.#partial.push(event);
    if (isPart) return;
    const whole = this.#partial;
    this.#partial = [];
    this.nextRevision = revision + 1;
    const { as = "json" } = this.options;
    let bytes = 0;
    for (const { kv, prevKv } of whole) bytes += 200 + kv.value.length + (prevKv?.value.length ?? 0);
    const change = { revision, events: whole.map((event) => watchEventOf(event, as)) } as ConfigChange<T>;
    if (this.#reader) {
      const { resolve } = this.#reader;
      this.#reader = undefined;
      return resolve({ done: false, value: change });
    }
    this.#queue.push({ change, bytes });
    this.#queuedBytes += bytes;
    if (this.#queue.length < MAX_QUEUED_CHANGES && this.#queuedBytes < MAX_QUEUED_BYTES) return;
    this.#isPaused = true;
    this.#host.drop(this as ConfigWatch);
  }

  /** For the link: nothing up to `revision` is missing. */
  reached(revision: number): void {
    this.nextRevision = Math.max(this.nextRevision, revision + 1);
  }

  /** For the link: the connection is gone; what came of a revision comes again. */
  interrupted(): void {
    this.#partial = [];
  }

  /** Ends with an error, after what is queued. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#error = error;
    this.#end();
    this.#start.reject(error);
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader) {
      this.#error = undefined;
      reader.reject(error);
    }
  }

  /** Ends the watch. */
  close(): void {
    this.#queue = [];
    this.#error = undefined;
    this.#end();
    this.#start.reject(new JadeError("clientClosed", "the watch was closed"));
    this.#reader?.resolve({ done: true, value: undefined });
    this.#reader = undefined;
  }

  async return(): Promise<IteratorResult<ConfigChange<T>>> {
    this.close();
    return { done: true, value: undefined };
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#host.drop(this as ConfigWatch);
  }
}
