// The watch front: holds the watch connections of crowds that share a token, and follows the keyspace over one connection for all of them.
// Guarantees: who may watch what is the server's to judge: nothing is told to a token under which the server did not tell it; what is
// not held here is passed on to the server. Must not: hold data beyond the newest changes.
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { UnreadBudget } from "../../config/watch-budget.ts";
import { renderExposition } from "../../telemetry/exposition.ts";
import type { Samples } from "../../telemetry/sample-sums.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import { WATCH_SUBPROTOCOL } from "../../wire/config-watch.ts";
import { parseWatchRequest } from "../../wire/config-watch-json.ts";
import { type CertificateFiles, keepCertificate, readCertificate } from "../tls/certificate.ts";
import { HANDSHAKE_MS } from "../tls/limits.ts";
import { refusalOf } from "./answers.ts";
import { Client } from "./client.ts";
import type { Refusal } from "./feed.ts";
import {
  ACCEPT_BACKLOG,
  FEED_OPEN_MS,
  KEEP_ALIVE_MS,
  MAX_MIRRORS,
  MAX_OPENING_CLIENTS,
  MIRROR_BOUNDS,
  MIRROR_LINGER_MS,
  REQUEST_MS,
} from "./limits.ts";
import { Mirror } from "./mirror.ts";
import { passRequestOn, passUpgradeOn } from "./pass-on.ts";
import { offeredProtocols, tokenIn, watchAsked } from "./request.ts";
import { acceptOf } from "./websocket.ts";

const PATHS: ReadonlySet<string> = new Set(["/v1/config/watch", "/api/v1/config/watch"]);

export interface WatchFrontOptions {
  /** `http://…` of the server behind. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Other processes listen on the port too. */
  readonly reusePort?: boolean;
  /** Given: it speaks TLS. */
  readonly tls?: CertificateFiles | undefined;
  readonly maxClients: number;
  /** Of one token to one namespace. */
  readonly maxPerKey?: number | undefined;
  /** What all clients may leave unread. Bytes. */
  readonly maxUnreadBytes?: number | undefined;
}

function makeServer(tls: CertificateFiles | undefined): Server {
  const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  if (!tls) return createServer(tcp);
  const { cert, key } = readCertificate(tls);
  const handshake = { minVersion: "TLSv1.2", handshakeTimeout: HANDSHAKE_MS } as const;
  const server = createSecureServer({ ...tcp, ...handshake, cert, key });
  server.on("tlsClientError", (_, socket) => socket.destroy());
  keepCertificate(tls, server, { report: (line) => console.error(`jade-db: ${line}`) });
  return server;
}

/** What is refused for, as /metrics names it. */
type Limit = "connections" | "opening" | "key" | "keyspaces";

export class WatchFront {
  readonly #options: WatchFrontOptions;
  readonly #server: Server;
  readonly #budget: UnreadBudget;
  /** By namespace and token. */
  readonly #mirrors = new Map<string, Mirror>();
  #clientCount = 0;
  #openingCount = 0;
  #acceptedTotal = 0;
  readonly #refusedTotal: Record<Limit, number> = { connections: 0, opening: 0, key: 0, keyspaces: 0 };
  /** Of all front processes of the port, as their parent said last. */
  #others: Samples | undefined;
  #isStopping = false;

  constructor(options: WatchFrontOptions) {
    this.#options = options;
    this.#budget = new UnreadBudget({
      ...MIRROR_BOUNDS,
      unreadBytes: options.maxUnreadBytes ?? MIRROR_BOUNDS.unreadBytes,
    });
    this.#server = makeServer(options.tls);
    this.#server.headersTimeout = REQUEST_MS;
    this.#server.requestTimeout = REQUEST_MS;
    this.#server.on("request", (request, response) => {
      const isMetrics = request.method === "GET" && request.url === "/metrics";
      passRequestOn(
        options.url,
        request,
        response,
        isMetrics ? () => renderExposition(this.#others ?? this.samples()) : undefined,
      );
    });
    this.#server.on("upgrade", (request, socket, head) => {
      socket.on("error", () => socket.destroy());
      this.#upgrade(request, socket as Socket, head).catch(() => socket.destroy());
    });
  }

  /** Gives the port. */
  listen(): Promise<number> {
    const { host, port, reusePort = false } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port, reusePort, backlog: ACCEPT_BACKLOG }, () => {
        this.#server.off("error", reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  stop(): void {
    this.#isStopping = true;
    this.#server.close();
    this.#server.closeAllConnections();
    for (const mirror of this.#mirrors.values()) mirror.close();
  }

  /** For /metrics: of this process. */
  samples(): Samples {
    const refused = Object.entries(this.#refusedTotal).filter(([, count]) => count > 0);
    return {
      jade_watch_front_processes: 1,
      jade_watch_front_connections: this.#clientCount,
      jade_watch_front_keyspaces: this.#mirrors.size,
      jade_watch_front_unread_bytes: this.#budget.unreadBytes,
      jade_watch_front_accepted_total: this.#acceptedTotal,
      ...Object.fromEntries(
        refused.map(([limit, count]) => [`jade_watch_front_refused_total{limit="${limit}"}`, count]),
      ),
    };
  }

  /** Whichever process is asked shows all. */
  showAll(samples: Samples): void {
    this.#others = samples;
  }

  #refuse(socket: Duplex, limit: Limit, message: string): void {
    this.#refusedTotal[limit]++;
    refuse(socket, refusalOf(503, "overloaded", message));
  }

  async #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const url = new URL(request.url ?? "/", "http://front");
    const token = tokenIn(request);
    const key = request.headers["sec-websocket-key"];
    const { maxClients, maxPerKey = maxClients } = this.#options;
    if (this.#clientCount >= maxClients) {
      const message = `this front process holds ${this.#clientCount} connections; its limit is ${maxClients} (server.watchMaxConnections, open files)`;
      return this.#refuse(socket, "connections", message);
    }
    if (this.#openingCount >= MAX_OPENING_CLIENTS)
      return this.#refuse(
        socket,
        "opening",
        `${this.#openingCount} connections wait for their token to be judged, which is the limit`,
      );
    const isWatch = PATHS.has(url.pathname) && request.headers["sec-websocket-version"] === "13";
    // What is not a watch connection of ours in every respect, the server answers.
    if (!token || !key || !isWatch) return this.#passOn(request, socket, head);
    let asked: string | undefined;
    try {
      asked = watchAsked(url.searchParams);
      if (asked !== undefined) parseWatchRequest(asked);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      return refuse(socket, refusalOf(400, "invalidRequest", error.message));
    }
    const mirror = this.#mirrorOf(token, url.searchParams.get("namespace") ?? "default");
    if (!mirror)
      return this.#refuse(
        socket,
        "keyspaces",
        `this front process follows ${MAX_MIRRORS} pairs of key and namespace, which is the limit`,
      );
    const refusal = await this.#opened(mirror);
    if (refusal) return refuse(socket, refusal);
    // Asked after the token was judged: who may not connect learns nothing.
    if (mirror.connectionCount >= maxPerKey) {
      const message = `this key has ${mirror.connectionCount} connections to this namespace at this front process; the limit is ${maxPerKey} (server.watchMaxPerKey)`;
      return this.#refuse(socket, "key", message);
    }
    if (!socket.destroyed) this.#accept(socket, mirror, { key, head, asked, offered: offeredProtocols(request) });
  }

  async #opened(mirror: Mirror): Promise<Refusal | undefined> {
    this.#openingCount++;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Refusal>((resolve) => {
      timer = setTimeout(() => resolve(refusalOf(503, "unavailable", "the server does not answer")), FEED_OPEN_MS);
    });
    try {
      const refusal = await Promise.race([mirror.opened, late]);
      if (refusal?.body !== "") return refusal;
      return refusalOf(refusal.status, refusal.status === 401 ? "unauthenticated" : "unavailable", "connect again");
    } finally {
      clearTimeout(timer);
      this.#openingCount--;
    }
  }

  #accept(socket: Socket, mirror: Mirror, upgrade: Upgrade): void {
    const { key, head, asked, offered } = upgrade;
    const isOurs = offered.includes(WATCH_SUBPROTOCOL);
    const protocol = isOurs ? `Sec-WebSocket-Protocol: ${WATCH_SUBPROTOCOL}\r\n` : "";
    const lines = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    socket.write(`${lines}${protocol}Sec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`);
    socket.removeAllListeners("error");
    this.#clientCount++;
    this.#acceptedTotal++;
    const client = new Client(socket, mirror, isOurs ? "binary" : "json", () => {
      this.#clientCount--;
    });
    if (head.length > 0) socket.emit("data", head);
    if (asked !== undefined) client.ask(asked);
  }

  #mirrorOf(token: string, namespace: string): Mirror | undefined {
    const name = `${namespace}\n${token}`;
    const known = this.#mirrors.get(name);
    if (known || this.#isStopping || this.#mirrors.size >= MAX_MIRRORS) return known;
    const mirror: Mirror = new Mirror({
      upstream: { url: this.#options.url, token, namespace },
      budget: this.#budget,
      onEnd: () => end(),
    });
    const end = (): void => {
      clearInterval(timer);
      if (this.#mirrors.get(name) === mirror) this.#mirrors.delete(name);
    };
    let isIdle = false;
    const timer = setInterval(() => {
      if (isIdle && mirror.connectionCount === 0) {
        end();
        mirror.close();
      }
      isIdle = mirror.connectionCount === 0;
    }, MIRROR_LINGER_MS);
    this.#mirrors.set(name, mirror);
    return mirror;
  }

  #passOn(request: IncomingMessage, socket: Socket, head: Buffer): void {
    this.#clientCount++;
    socket.once("close", () => {
      this.#clientCount--;
    });
    passUpgradeOn(this.#options.url, request, socket, head);
  }
}

interface Upgrade {
  readonly key: string;
  readonly head: Buffer;
  /** The watch to begin with, as JSON. */
  readonly asked: string | undefined;
  readonly offered: readonly string[];
}

function refuse(socket: Duplex, { status, body }: Refusal): void {
  const head = `HTTP/1.1 ${status} -\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  socket.end(`${head}Connection: close\r\n\r\n${body}`);
}
