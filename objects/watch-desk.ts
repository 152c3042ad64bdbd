// Where the watch connections of a keyspace begin and end: hibernatable WebSockets around src/config/watch-hub.ts.
// Guarantees: bounded connections; a credential that ends takes its connections along; after hibernation the hub is what it was, and
// whose credential ended meanwhile hears of nothing. Must not: know what a watch gets.
import { SessionGuard, type SessionGuardOptions } from "../src/access/session-guard.ts";
import type { Caller, Credential } from "../src/access/types.ts";
import { CorruptRecord } from "../src/config/record.ts";
import {
  BINARY,
  type ConnectionState,
  NEW_CONNECTION,
  type WatchConnection,
  type WatchEncoding,
  type WatchPort,
} from "../src/config/watch-connection.ts";
import { CopyRequests, type CopyRequestsOptions } from "../src/config/watch-copy.ts";
import { WatchHub } from "../src/config/watch-hub.ts";
import type { RestoredConnection, WatchSource } from "../src/config/watch-hub-options.ts";
import type { WatchRows } from "../src/config/watch-rows.ts";
import { WatchRunner } from "../src/config/watch-runner.ts";
import { JSON_TEXT } from "../src/config/watch-text.ts";
import { MalformedBytes } from "../src/wire/bytes.ts";
import {
  readWatchRequests,
  WATCH_SUBPROTOCOL,
  type WatchOptions,
  type WatchRequest,
} from "../src/wire/config-watch.ts";
import { parseWatchRequest } from "../src/wire/config-watch-json.ts";
import { CLOSE_GOING_AWAY, GOING_AWAY_REASON } from "../src/wire/going-away.ts";

/** Close code of RFC 6455: policy violation. */
const CLOSE_POLICY = 1008;
/** RFC 6455's registry: try again later. */
const CLOSE_TRY_AGAIN = 1013;

/** What the gateway found out about who opens a watch connection: the header `jade-watch`, as URI-encoded JSON. */
export interface WatchBearer {
  readonly caller: Pick<Caller, "tenant">;
  readonly credential: Credential;
  readonly encoding: "binary" | "json";
  /** The watch to begin with. */
  readonly create?: WatchOptions | undefined;
}

/** What a socket remembers while the object does not. */
interface Attachment {
  readonly id: number;
  readonly tenant: number;
  readonly credential: Credential;
  readonly encoding: WatchBearer["encoding"];
  readonly state: ConnectionState;
}

/** What a desk on a copy of a keyspace has to see to. */
export interface CopyOptions {
  readonly caughtUp: CopyRequestsOptions["caughtUp"];
  /** `WatchHubOptions.elsewhere` */
  readonly elsewhere: () => void;
}

export interface WatchDeskOptions {
  readonly ctx: Pick<DurableObjectState, "acceptWebSocket" | "getWebSockets">;
  readonly source: WatchSource;
  readonly rows: WatchRows;
  /** `SessionGuard`'s call for a tenant's view, and how long it does without. */
  readonly viewSince: SessionGuardOptions["viewSince"];
  readonly staleMs: number;
  readonly maxConnections: number;
  /** Without a write for so long, credentials are no longer looked at every second: a timer would keep the object awake. */
  readonly hibernateAfterMs: number;
  /** Of a desk on a copy. */
  readonly copy?: CopyOptions | undefined;
  /** There is a first connection, or the last one has gone. */
  readonly onHolding?: (hasConnections: boolean) => void;
  readonly now: () => number;
  /** Not within a turn that writes. */
  readonly later: (delayMs: number, run: () => void) => void;
}

interface Held {
  attachment: Attachment;
  readonly connection: WatchConnection;
  readonly unguard: () => void;
}

export class WatchDesk {
  readonly hub: WatchHub;
  readonly #options: WatchDeskOptions;
  readonly #held = new Map<WebSocket, Held>();
  readonly #sockets = new Map<number, WebSocket>();
  #nextId = 1;
  readonly #guard: SessionGuard;
  readonly #runner: WatchRunner;
  readonly #copyRequests: CopyRequests | undefined;
  #activeAtMs: number;
  /** The guard's next look, put off until something happens. */
  #parked: (() => void) | undefined;
  #waking: Promise<void> | undefined;

  constructor(options: WatchDeskOptions) {
    this.#options = options;
    const { rows, source, now, viewSince, staleMs, copy, later } = options;
    this.#activeAtMs = now();
    this.#guard = new SessionGuard({
      viewSince,
      now,
      staleMs,
      setTimer: (delayMs, run) => this.#setTimer(delayMs, run),
    });
    this.hub = new WatchHub({
      source,
      now,
      elsewhere: copy?.elsewhere,
      registry: {
        added: (id, watch, watchOptions) => rows.add(id, watch, watchOptions),
        removed: (id, watch) => rows.remove(id, watch),
        ended: (id) => rows.removeAllOf(id),
        remember: (id, state) => this.#remember(id, state),
      },
    });
    this.#runner = new WatchRunner(this.hub, later);
    const afterwards = (): void => this.#runner.schedule();
    this.#copyRequests = copy && new CopyRequests({ hub: this.hub, caughtUp: copy.caughtUp, afterwards });
    this.#restore();
  }

  /** Credentials of connections that outlasted the object's memory are looked at before they hear of anything. */
  async begin(): Promise<void> {
    if (this.#held.size > 0) await this.#guard.check();
  }

  /** To be called before anything that watches may hear of; a promise is to be waited for. */
  wake(): Promise<void> | undefined {
    this.#activeAtMs = this.#options.now();
    const parked = this.#parked;
    if (!parked) return this.#waking;
    this.#parked = undefined;
    this.#waking = this.#guard.check().finally(() => {
      this.#waking = undefined;
      parked();
    });
    return this.#waking;
  }

  #setTimer(delayMs: number, run: () => void): void {
    const { now, hibernateAfterMs, later } = this.#options;
    if (now() - this.#activeAtMs < hibernateAfterMs) later(delayMs, run);
    else this.#parked = run;
  }

  /** The answer to a WebSocket upgrade. */
  open(request: Request): Response {
    const header = request.headers.get("jade-watch");
    if (!header || request.headers.get("upgrade")?.toLowerCase() !== "websocket")
      return new Response(null, { status: 426 });
    const { maxConnections } = this.#options;
    if (this.#held.size >= maxConnections) {
      const message = `${this.#held.size} connections watch the keyspace, the limit is ${maxConnections}`;
      return new Response(null, {
        status: 503,
        headers: { "jade-refusal": JSON.stringify({ code: "overloaded", message }) },
      });
    }
    const bearer: WatchBearer = JSON.parse(decodeURIComponent(header));
    const { 0: client, 1: server } = new WebSocketPair();
    this.#accept(server, bearer);
    const isOurs = bearer.encoding === "binary";
    const headers = isOurs ? { headers: { "sec-websocket-protocol": WATCH_SUBPROTOCOL } } : {};
    return new Response(null, { status: 101, webSocket: client, ...headers });
  }

  message(socket: WebSocket, data: string | ArrayBuffer): void {
    const held = this.#held.get(socket);
    if (!held) return;
    try {
      const requests: readonly WatchRequest[] =
        typeof data === "string" ? [parseWatchRequest(data)] : readWatchRequests(new Uint8Array(data));
      const bytes = typeof data === "string" ? data.length : data.byteLength;
      this.#take(held.connection, requests, bytes);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      this.hub.malformed(held.connection, error);
    }
    this.#runner.schedule();
  }

  #take(connection: WatchConnection, requests: readonly WatchRequest[], bytes: number): void {
    if (this.#copyRequests) this.#copyRequests.take(connection, requests, bytes);
    else for (const request of requests) this.hub.receive(connection, request);
  }

  closed(socket: WebSocket): void {
    const held = this.#held.get(socket);
    if (held) this.hub.disconnect(held.connection);
    this.#forget(socket);
  }

  /** After each turn that wrote. */
  flush(): void {
    this.#runner.flush();
  }

  metrics(): Record<string, number> {
    const { hub } = this;
    return {
      jade_config_watch_connections: hub.connectionCount,
      jade_config_watches: hub.watchCount,
      jade_config_watch_events_total: hub.eventsTotal,
      jade_config_watch_unread_bytes: hub.unreadBytes,
      jade_config_watch_slow_total: hub.counts.slow,
      jade_config_watch_compacted_total: hub.counts.compacted,
    };
  }

  /** The keyspace is gone; or this copy of it, and the clients are to `resume`. */
  endAll(reason: string, then: "end" | "resume" = "end"): void {
    this.#closeAll(then === "end" ? CLOSE_POLICY : CLOSE_TRY_AGAIN, reason);
  }

  /** The process stops: clients resume where they are next. */
  leave(): void {
    this.#closeAll(CLOSE_GOING_AWAY, GOING_AWAY_REASON);
  }

  #closeAll(code: number, reason: string): void {
    for (const socket of [...this.#held.keys()]) {
      socket.close(code, reason);
      this.closed(socket);
    }
  }

  #accept(socket: WebSocket, { caller, credential, encoding, create }: WatchBearer): void {
    const id = this.#nextId++;
    this.#options.ctx.acceptWebSocket(socket);
    const attachment: Attachment = { id, tenant: caller.tenant, credential, encoding, state: NEW_CONNECTION };
    socket.serializeAttachment(attachment);
    const connection = this.hub.connect(id, this.#portOf(socket), encodingOf(encoding));
    this.#hold(socket, attachment, connection);
    if (create) this.#take(connection, [{ kind: "create", ...create }], 0);
    this.#runner.schedule();
  }

  #portOf(socket: WebSocket): WatchPort {
    return {
      send: (frame) => socket.send(frame),
      close: (code, reason) => {
        socket.close(code, reason);
        this.#forget(socket);
      },
    };
  }

  #restore(): void {
    const { ctx, rows } = this.#options;
    const known = new Set<number>();
    for (const socket of ctx.getWebSockets()) {
      if (socket.readyState !== WebSocket.READY_STATE_OPEN) continue;
      const attachment = socket.deserializeAttachment() as Attachment;
      const { id, encoding, state } = attachment;
      known.add(id);
      this.#nextId = Math.max(this.#nextId, id + 1);
      const port = this.#portOf(socket);
      const connection = this.hub.restore(id, { port, encoding: encodingOf(encoding), ...this.#registered(id, state) });
      if (connection) this.#hold(socket, attachment, connection);
    }
    rows.keepOnly(known);
  }

  /** A connection whose rows are damaged begins again, as one that was behind. */
  #registered(id: number, state: ConnectionState): RestoredConnection {
    try {
      return { state, watches: this.#options.rows.of(id) };
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error;
      return { state: { ...state, isLagging: true }, watches: [] };
    }
  }

  #hold(socket: WebSocket, attachment: Attachment, connection: WatchConnection): void {
    const { id, tenant, credential } = attachment;
    const unguard = this.#guard.add({
      tenant,
      credential,
      update: () => undefined,
      end: () => {
        socket.close(CLOSE_POLICY, "the API key or token no longer opens this tenant");
        this.closed(socket);
      },
    });
    this.#held.set(socket, { attachment, connection, unguard });
    if (this.#held.size === 1) this.#options.onHolding?.(true);
    this.#sockets.set(id, socket);
  }

  #forget(socket: WebSocket): void {
    const held = this.#held.get(socket);
    if (!held) return;
    held.unguard();
    this.#held.delete(socket);
    if (this.#held.size === 0) this.#options.onHolding?.(false);
    this.#sockets.delete(held.connection.id);
  }

  #remember(id: number, state: ConnectionState): void {
    const socket = this.#sockets.get(id);
    const held = socket && this.#held.get(socket);
    if (!held) return;
    held.attachment = { ...held.attachment, state };
    socket.serializeAttachment(held.attachment);
  }
}

function encodingOf(encoding: WatchBearer["encoding"]): WatchEncoding {
  return encoding === "binary" ? BINARY : JSON_TEXT;
}
