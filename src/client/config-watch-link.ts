// The one WebSocket of all watches of a namespace: opens it while there are watches, asks for each where it is, opens it anew when it breaks.
// Guarantees: a lost connection is replaced for as long as there are watches, with backoff; what cannot be mended (a key that no longer
// opens the tenant, compacted revisions) ends the watches with an error. Must not: keep events.
import { NO_WATCH, WATCH_SUBPROTOCOL, type WatchId } from "../wire/config-watch.ts";
import { type TakenMessage, WatchStream } from "../wire/config-watch-stream.ts";
import { retryAfterMs } from "../wire/going-away.ts";
import type { ConfigWatch, WatchHost } from "./config-watch.ts";
import { JadeError } from "./errors.ts";
import type { ResolvedOptions, WebSocketLike } from "./options.ts";
import { backoffMs } from "./retry.ts";
import { openSocket } from "./socket.ts";

/** RFC 6455: policy violation. The server ends with it what a key opened that no longer opens anything. */
const CLOSE_POLICY = 1008;
/** A connection without watches is kept for the next one. Ms. */
const LINGER_MS = 1000;

export interface WatchLinkOptions {
  readonly client: ResolvedOptions;
  readonly namespace: string | undefined;
  /** Why no connection opens: an error that does not go away by itself, or undefined. */
  readonly diagnose: () => Promise<JadeError | undefined>;
}

interface Connection {
  readonly socket: WebSocketLike;
  readonly stream: WatchStream;
  isOpen: boolean;
}

export class ConfigWatchLink implements WatchHost {
  readonly #options: WatchLinkOptions;
  readonly #wanted = new Set<ConfigWatch>();
  readonly #watches = new Map<WatchId, ConfigWatch>();
  readonly #ids = new Map<ConfigWatch, WatchId>();
  #nextId = 0;
  #connection: Connection | undefined;
  #attempts = 0;
  #cancelTimer: () => void = () => undefined;
  #isWaiting = false;
  #heardSincePing = true;

  constructor(options: WatchLinkOptions) {
    this.#options = options;
  }

  ask(watch: ConfigWatch): void {
    if (watch.isOver) return;
    this.#wanted.add(watch);
    if (this.#connection?.isOpen) this.#create([watch]);
    else if (!this.#connection && !this.#isWaiting) this.#connect();
  }

  drop(watch: ConfigWatch): void {
    this.#wanted.delete(watch);
    const id = this.#ids.get(watch);
    if (id !== undefined) {
      this.#ids.delete(watch);
      this.#watches.delete(id);
      if (this.#connection?.isOpen) this.#connection.stream.cancel(id);
    }
    if (this.#wanted.size === 0)
      this.#options.client.runtime.after(LINGER_MS, () => {
        if (this.#wanted.size === 0) this.#disconnect();
      });
  }

  /** Ends all watches. */
  close(error: unknown): void {
    for (const watch of [...this.#wanted]) watch.fail(error);
    this.#disconnect();
  }

  #connect(): void {
    const { client, namespace } = this.#options;
    const query = namespace === undefined ? "" : `?namespace=${encodeURIComponent(namespace)}`;
    let socket: WebSocketLike;
    try {
      socket = openSocket(client, `/v1/config/watch${query}`, WATCH_SUBPROTOCOL);
    } catch (cause) {
      return this.close(new JadeError("networkFailure", "a watch connection could not be made", { cause }));
    }
    const stream = new WatchStream({
      send: (frame) => socket.send(frame),
      onMessage: (message) => this.#take(message),
    });
    const connection: Connection = { socket, stream, isOpen: false };
    this.#connection = connection;
    socket.binaryType = "arraybuffer";
    this.#cancelTimer = client.runtime.after(client.attemptTimeoutMs, () => this.#lost(connection));
    socket.addEventListener("open", () => this.#opened(connection));
    socket.addEventListener("message", ({ data }) => this.#received(connection, data));
    socket.addEventListener("close", ({ code, reason }) => this.#lost(connection, code, reason));
    socket.addEventListener("error", () => this.#lost(connection));
  }

  #opened(connection: Connection): void {
    if (this.#connection !== connection) return;
    connection.isOpen = true;
    this.#cancelTimer();
    this.#ping(connection);
    this.#create([...this.#wanted]);
  }

  #create(watches: readonly ConfigWatch[]): void {
    if (watches.length === 0) return;
    const creates = watches.map((watch) => {
      const watchId = this.#nextId++;
      this.#ids.set(watch, watchId);
      this.#watches.set(watchId, watch);
      const { prevKv, noPut, noDelete } = watch.options;
      const fixed = { watchId, startRevision: watch.nextRevision, fragment: true, progressNotify: true };
      return { ...watch.range, prevKv, noPut, noDelete, ...fixed };
    });
    this.#connection!.stream.createAll(creates);
  }

  #received(connection: Connection, data: unknown): void {
    if (this.#connection !== connection) return;
    this.#heardSincePing = true;
    try {
      connection.stream.receive(new Uint8Array(data as ArrayBuffer));
    } catch {
      this.#lost(connection); // Not our protocol, or cut off: the next connection begins at the last whole revision.
    }
  }

  #take(message: TakenMessage): void {
    if (message.kind === "events") {
      for (const id of message.watchIds)
        this.#watches.get(id)?.events(message.header.revision, message.events, message.fragment);
      return;
    }
    const watch = message.watchId === NO_WATCH ? undefined : this.#watches.get(message.watchId);
    if (!watch) return;
    switch (message.kind) {
      case "created":
        this.#attempts = 0;
        watch.created(message.header.revision);
        return;
      case "progress":
        watch.reached(message.header.revision);
        return;
      case "refused":
        watch.fail(new JadeError(message.code, message.message));
        return;
      case "canceled":
        watch.fail(canceled(message));
        return;
      default:
        message satisfies never;
    }
  }

  #lost(connection: Connection, code?: number, reason = ""): void {
    if (this.#connection !== connection) return;
    const { runtime, retries } = this.#options.client;
    const wasOpen = connection.isOpen;
    this.#disconnect();
    for (const watch of this.#wanted) watch.interrupted();
    if (code === CLOSE_POLICY) return this.close(new JadeError("unauthenticated", reason));
    if (this.#wanted.size === 0) return;
    this.#attempts++;
    const backoff = backoffMs({ policy: retries, attempt: this.#attempts, random: runtime.random() });
    const delayMs = Math.max(backoff, retryAfterMs(code, reason) ?? 0);
    this.#isWaiting = true;
    this.#cancelTimer = runtime.after(delayMs, () => void this.#again(wasOpen));
  }

  async #again(wasOpen: boolean): Promise<void> {
    const error = wasOpen ? undefined : await this.#options.diagnose();
    this.#isWaiting = false;
    if (error) this.close(error);
    else if (this.#wanted.size > 0 && !this.#connection) this.#connect();
  }

  #disconnect(): void {
    this.#cancelTimer();
    this.#isWaiting = false;
    this.#ids.clear();
    this.#watches.clear();
    const connection = this.#connection;
    this.#connection = undefined;
    try {
      connection?.socket.close(1000);
    } catch {
      // Some implementations refuse to close a socket that is still opening: it is abandoned.
    }
  }

  /** Progress is asked for when nothing was heard; without an answer in the same time again the connection is replaced. */
  #ping(connection: Connection): void {
    const { runtime, session } = this.#options.client;
    this.#cancelTimer = runtime.after(session.pingIntervalMs, () => {
      if (this.#connection !== connection) return;
      if (!this.#heardSincePing) return this.#lost(connection);
      this.#heardSincePing = false;
      connection.stream.progress();
      this.#ping(connection);
    });
  }
}

function canceled({ compactRevision, message }: Extract<TakenMessage, { kind: "canceled" }>): JadeError {
  if (compactRevision === 0) return new JadeError("dataCorrupt", message);
  return new JadeError("compacted", message, { details: { compactedRevision: compactRevision } });
}
