// A front's one connection to the server behind for a token and a namespace. The server judges the token, and ends the connection with it.
// Guarantees: a lost connection is opened anew until `close`; what it brings is in order. Must not: remember revisions.
import WebSocket from "ws";
import { WATCH_SUBPROTOCOL } from "../../wire/config-watch.ts";
import { type TakenMessage, WatchStream } from "../../wire/config-watch-stream.ts";
import { FEED_RETRY_MS } from "./limits.ts";
import { openWatches, type Upstream } from "./own-link.ts";

const CLOSE_POLICY = 1008;
const MAX_REFUSAL_BYTES = 16 * 1024;
/** Those that do not go away by themselves: the token, its scope, the namespace's name. */
const isFinal = (status: number): boolean => status >= 400 && status < 500 && status !== 429;

/** The server's answer to an upgrade that it refuses. */
export interface Refusal {
  readonly status: number;
  readonly body: string;
}

export interface FeedOptions {
  readonly upstream: Upstream;
  readonly onOpen: (stream: WatchStream) => void;
  readonly onMessage: (message: TakenMessage) => void;
  readonly onLost: () => void;
  /** For good: the credential ended, or the server refuses it. */
  readonly onEnd: (refusal: Refusal | undefined, reason: string) => void;
}

export class Feed {
  readonly #options: FeedOptions;
  #socket: WebSocket | undefined;
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#connect();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.terminate();
    this.#socket = undefined;
  }

  #connect(): void {
    const { upstream, onOpen, onMessage } = this.#options;
    const socket = openWatches(upstream, [WATCH_SUBPROTOCOL]);
    this.#socket = socket;
    const stream = new WatchStream({
      // A connection that is closing tells nobody.
      send: (frame) => socket.readyState === WebSocket.OPEN && socket.send(frame),
      onMessage,
    });
    socket.on("open", () => {
      this.#attempts = 0;
      onOpen(stream);
    });
    socket.on("message", (frame: Buffer) => {
      if (this.#socket === socket) stream.receive(frame);
    });
    socket.on("unexpected-response", (_, response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= MAX_REFUSAL_BYTES) chunks.push(chunk);
      });
      response.on("close", () => {
        const refusal = { status: response.statusCode ?? 502, body: Buffer.concat(chunks).toString() };
        if (isFinal(refusal.status)) this.#end(refusal, "the API key or token no longer opens this tenant");
        else socket.terminate();
      });
    });
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", (code, reason) => {
      if (this.#socket !== socket) return;
      if (code === CLOSE_POLICY) this.#end(undefined, reason.toString());
      else this.#lost();
    });
  }

  #lost(): void {
    if (this.#isClosed) return;
    this.#options.onLost();
    const delayMs = FEED_RETRY_MS[Math.min(this.#attempts++, FEED_RETRY_MS.length - 1)]!;
    this.#timer = setTimeout(() => this.#connect(), delayMs * (0.5 + Math.random()));
  }

  #end(refusal: Refusal | undefined, reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#options.onEnd(refusal, reason);
  }
}
