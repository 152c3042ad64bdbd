// A keyspace with its watch hub and clients in one process: what the object and its sockets are, with every break by hand.
// A client's watches are logical: they live on over lost connections, resuming by revision as a client must.
import type { Desk } from "../../../src/config/desk.ts";
import type { Change } from "../../../src/config/keyspace.ts";
import { WATCH_BOUNDS, type WatchBounds } from "../../../src/config/watch-budget.ts";
import { BINARY, type ConnectionState, type WatchConnection } from "../../../src/config/watch-connection.ts";
import { WatchHub } from "../../../src/config/watch-hub.ts";
import type { WatchRegistry } from "../../../src/config/watch-hub-options.ts";
import { watchSource } from "../../../src/config/watch-source.ts";
import { MalformedBytes } from "../../../src/wire/bytes.ts";
import type { ConfigEvent, ConfigRequest } from "../../../src/wire/config.ts";
import { isInRange } from "../../../src/wire/config-keys.ts";
import { readWatchRequests, type WatchId, type WatchOptions } from "../../../src/wire/config-watch.ts";
import { type TakenMessage, WatchStream } from "../../../src/wire/config-watch-stream.ts";
import { openDesk } from "./open-desk.ts";

/** An event in one line. */
export function shown({ type, kv, prevKv }: ConfigEvent): string {
  const text = (bytes: Uint8Array): string => `${bytes.length}:${new TextDecoder().decode(bytes.subarray(0, 12))}`;
  const previous = prevKv ? ` was ${prevKv.modRevision}=${text(prevKv.value)}` : "";
  return `${kv.modRevision} ${type} ${kv.key}=${text(kv.value)} c${kv.createRevision}v${kv.version}${previous}`;
}

/** One watch of a client, over all of its connections. */
export class LogicalWatch {
  readonly options: WatchOptions;
  next: number;
  /** Revisions of which nothing is expected, because they were compacted: [from, to). */
  readonly gaps: [number, number][] = [];
  readonly start: number;
  readonly got: string[] = [];
  readonly messages: TakenMessage[] = [];
  cut = 0;

  constructor(options: WatchOptions, revision: number) {
    this.options = options;
    this.start = options.startRevision || revision + 1;
    this.next = this.start;
  }
}

export class Client {
  readonly world: World;
  readonly watches = new Map<WatchId, LogicalWatch>();
  readonly closes: string[] = [];
  /** Sent to it, unread. */
  inbox: Uint8Array[] = [];
  mostUnread = 0;
  socket: number | undefined;
  stream!: WatchStream;
  readonly other: TakenMessage[] = [];
  readonly refused: TakenMessage[] = [];

  constructor(world: World) {
    this.world = world;
    this.connect();
  }

  connect(): void {
    this.inbox = [];
    this.socket = this.world.accept(this);
    this.stream = new WatchStream({
      send: (frame) => this.socket !== undefined && this.world.received(this.socket, frame),
      onMessage: (message) => this.#take(message),
    });
    for (const [watchId, watch] of this.watches)
      this.stream.create({ ...watch.options, watchId, startRevision: watch.next });
  }

  watch(watchId: WatchId, options: WatchOptions): LogicalWatch {
    const watch = new LogicalWatch(options, this.world.revision);
    this.watches.set(watchId, watch);
    if (this.socket !== undefined) this.stream.create({ ...options, watchId, startRevision: watch.next });
    return watch;
  }

  read(count = Number.POSITIVE_INFINITY): void {
    for (let left = count; left > 0 && this.inbox.length > 0; left--) this.stream.receive(this.inbox.shift()!);
  }

  #take(message: TakenMessage): void {
    if (message.kind === "progress" && message.watchId < 0) return void this.other.push(message);
    if (message.kind === "refused") return void this.refused.push(message);
    const ids = message.kind === "events" ? message.watchIds : [message.watchId];
    for (const id of ids) {
      const watch = this.watches.get(id);
      if (!watch) continue;
      watch.messages.push(message);
      if (message.kind === "events") this.#events(watch, message);
      if (message.kind !== "canceled" || message.compactRevision === 0) continue;
      if (message.compactRevision <= watch.next) throw new Error("told compacted although nothing is missing");
      watch.gaps.push([watch.next, message.compactRevision]);
      watch.next = message.compactRevision;
      this.stream.create({ ...watch.options, watchId: id, startRevision: watch.next });
    }
  }

  #events(watch: LogicalWatch, { events, fragment, header }: Extract<TakenMessage, { kind: "events" }>): void {
    for (const event of events) {
      if (event.kv.modRevision !== header.revision) throw new Error("an event is not of its message's revision");
      watch.got.push(shown(event));
    }
    if (header.revision < watch.next) throw new Error(`revision ${header.revision} comes again`);
    // A revision that is not complete when the connection breaks is sent again, whole.
    if (fragment) watch.cut += events.length;
    else {
      watch.cut = 0;
      watch.next = header.revision + 1;
    }
  }

  /** The connection is gone. */
  lost(reason: string): void {
    this.closes.push(reason);
    this.socket = undefined;
    this.inbox = [];
    for (const watch of this.watches.values()) {
      watch.got.length -= watch.cut;
      watch.cut = 0;
    }
  }
}

interface Registered {
  readonly client: Client;
  state: ConnectionState | undefined;
  readonly watches: Map<WatchId, WatchOptions>;
}

export class World {
  readonly #opened;
  readonly bounds: WatchBounds;
  readonly clients: Client[] = [];
  /** Every change since the beginning. */
  readonly history: { readonly revision: number; readonly events: readonly ConfigEvent[] }[] = [];
  readonly #registered = new Map<number, Registered>();
  readonly #connections = new Map<number, WatchConnection>();
  #nextSocket = 1;
  hub!: WatchHub;

  constructor(bounds: Partial<WatchBounds> = {}) {
    this.bounds = { ...WATCH_BOUNDS, ...bounds };
    this.#opened = openDesk({ onChange: (revision, changes) => this.#changed(revision, changes) });
    this.#openHub();
  }

  get desk(): Desk {
    return this.#opened.desk;
  }

  get clock(): { ms: number } {
    return this.#opened.clock;
  }

  get revision(): number {
    return this.desk.keyspace.revision;
  }

  #openHub(): void {
    this.hub = new WatchHub({
      source: watchSource(this.desk),
      registry: this.#registry,
      now: () => this.clock.ms,
      bounds: this.bounds,
    });
  }

  readonly #registry: WatchRegistry = {
    added: (socket, watch, options) => void this.#registered.get(socket)!.watches.set(watch, options),
    removed: (socket, watch) => void this.#registered.get(socket)!.watches.delete(watch),
    remember: (socket, state) => {
      this.#registered.get(socket)!.state = state;
    },
    ended: (socket) => void this.#registered.delete(socket),
  };

  #changed(revision: number, changes: readonly Change[]): void {
    this.hub.changed(revision, changes);
    const { keyspace } = this.desk;
    const events = changes.map((change): ConfigEvent => {
      const { record } = change;
      const { key, createRevision, version, lease, value } = record;
      const kv = { key, createRevision, modRevision: revision, version, lease, value: value.slice() };
      return { type: record.type, kv, prevKv: keyspace.endedBy(change) };
    });
    this.history.push({ revision, events });
  }

  client(): Client {
    const client = new Client(this);
    this.clients.push(client);
    return client;
  }

  accept(client: Client): number {
    const socket = this.#nextSocket++;
    this.#registered.set(socket, { client, state: undefined, watches: new Map() });
    this.#connections.set(socket, this.hub.connect(socket, this.#port(socket, client), BINARY));
    return socket;
  }

  #port(socket: number, client: Client) {
    return {
      send: (frame: Uint8Array | string) => {
        if (client.socket !== socket && client.socket !== undefined) return;
        client.inbox.push(frame as Uint8Array);
        client.mostUnread = Math.max(
          client.mostUnread,
          client.inbox.reduce((sum, { length }) => sum + length, 0),
        );
      },
      close: (code: number, reason: string) => {
        this.#connections.delete(socket);
        client.lost(`${code} ${reason}`);
      },
    };
  }

  received(socket: number, frame: Uint8Array): void {
    const connection = this.#connections.get(socket);
    if (!connection) return;
    try {
      for (const request of readWatchRequests(frame)) this.hub.receive(connection, request);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      this.hub.malformed(connection, error);
    }
  }

  /** The client's side breaks. */
  drop(client: Client): void {
    const connection = client.socket === undefined ? undefined : this.#connections.get(client.socket);
    if (connection) this.hub.disconnect(connection);
    if (client.socket !== undefined) this.#connections.delete(client.socket);
    client.lost("dropped");
  }

  /** One turn with these writes. */
  turn(...requests: readonly ConfigRequest[]): void {
    for (const request of requests) this.desk.answer(request);
    this.desk.endTurn();
    this.hub.flush();
  }

  catchUp(): void {
    for (let steps = 0; this.hub.step(); steps++) if (steps > 100_000) throw new Error("catching up does not end");
  }

  /** All memory is lost; sockets stay. */
  hibernate(): void {
    this.#opened.restart();
    this.#openHub();
    for (const [socket, { client, state, watches }] of [...this.#registered]) {
      this.#connections.delete(socket);
      const connection = this.hub.restore(socket, {
        port: this.#port(socket, client),
        encoding: BINARY,
        state: state ?? { nextId: 0, isLagging: false, lastMark: 0, unreadBytes: 0 },
        watches: [...watches].map(([id, options]) => ({ id, options })),
      });
      if (connection) this.#connections.set(socket, connection);
    }
  }

  /** All memory and all sockets are lost. */
  restart(): void {
    for (const client of this.clients) if (client.socket !== undefined) client.lost("restart");
    this.#registered.clear();
    this.#connections.clear();
    this.#opened.restart();
    this.#openHub();
  }

  /** What a watch must have got of [start, until). */
  expected(watch: LogicalWatch, until: number): readonly string[] {
    const { options, start, gaps } = watch;
    const lines: string[] = [];
    for (const { revision, events } of this.history) {
      if (revision < start || revision >= until) continue;
      if (gaps.some(([from, to]) => revision >= from && revision < to)) continue;
      for (const event of events) {
        if (!isInRange(event.kv.key, options)) continue;
        if (event.type === "put" ? options.noPut : options.noDelete) continue;
        lines.push(shown(options.prevKv ? event : { type: event.type, kv: event.kv }));
      }
    }
    return lines;
  }
}
