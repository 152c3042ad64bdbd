// A connection to the server for one client alone: it needs revisions that the front does not hold. Messages go through as they are, the
// server's questions what was read among them. Must not: read them.
import WebSocket from "ws";
import { WATCH_SUBPROTOCOL } from "../../wire/config-watch.ts";
import { FEED_OPEN_MS, MAX_CLIENT_MESSAGE_BYTES, MAX_SERVER_MESSAGE_BYTES } from "./limits.ts";

const CLOSE_TRY_AGAIN = 1013;
/** Codes that no close frame may carry: the connection was lost. */
const isLost = (code: number): boolean => code === 1005 || code === 1006 || code === 1015;

export interface Upstream {
  /** `http://…` of the server behind. */
  readonly url: string;
  readonly token: string;
  readonly namespace: string;
}

/** The server judges the token at each. */
export function openWatches({ url, token, namespace }: Upstream, protocols: string[]): WebSocket {
  const path = `/v1/config/watch?namespace=${encodeURIComponent(namespace)}`;
  return new WebSocket(`${url.replace(/^http/, "ws")}${path}`, protocols, {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
    handshakeTimeout: FEED_OPEN_MS,
    skipUTF8Validation: true,
    maxPayload: MAX_SERVER_MESSAGE_BYTES,
  });
}

export interface OwnLinkOptions {
  readonly upstream: Upstream;
  readonly encoding: "binary" | "json";
  readonly onMessage: (data: Buffer, isBinary: boolean) => void;
  readonly onClose: (code: number, reason: string) => void;
}

export class OwnLink {
  readonly #socket: WebSocket;
  /** Until it is open. */
  #early: { readonly data: Buffer; readonly isBinary: boolean }[] | undefined = [];
  #earlyBytes = 0;

  constructor({ upstream, encoding, onMessage, onClose }: OwnLinkOptions) {
    const socket = openWatches(upstream, encoding === "binary" ? [WATCH_SUBPROTOCOL] : []);
    this.#socket = socket;
    socket.on("open", () => {
      for (const { data, isBinary } of this.#early ?? []) socket.send(data, { binary: isBinary });
      this.#early = undefined;
    });
    socket.on("message", onMessage);
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", (code, reason) =>
      isLost(code) ? onClose(CLOSE_TRY_AGAIN, "the server is away: connect again") : onClose(code, reason.toString()),
    );
  }

  send(data: Buffer, isBinary: boolean): void {
    if (!this.#early) {
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data, { binary: isBinary });
      return;
    }
    this.#earlyBytes += data.length;
    if (this.#earlyBytes > 2 * MAX_CLIENT_MESSAGE_BYTES) this.close();
    else this.#early.push({ data: Buffer.from(data), isBinary });
  }

  close(): void {
    this.#socket.terminate();
  }
}
