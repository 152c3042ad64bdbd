// One WebSocket of a session: opening with a time limit, frames in and out, keep-alive.
// Guarantees: `onDown` is called exactly once, after it nothing else; a silent peer is noticed within two ping intervals.
// Must not: know calls or retries.
import { ByteWriter } from "../wire/bytes.ts";
import { ACK_EVERY_BYTES, writeRequest } from "../wire/session.ts";
import { JadeError } from "./errors.ts";
import type { ResolvedOptions, WebSocketLike } from "./options.ts";
import { openSocket } from "./socket.ts";

const SUBPROTOCOL = "jade.v1";
/** The client is done: what its session owns may go. */
const CLOSE_NORMAL = 1000;
/** Another connection is to follow. */
const CLOSE_GIVEN_UP = 4000;
/** Calls are numbered from 1. */
export const PING_ID = 0;

export interface LinkEvents {
  onOpen(): void;
  /** The bytes are only valid during the call. */
  onFrame(frame: Uint8Array): void;
  onDown(error: JadeError): void;
}

function controlFrame(op: "ping" | "ack", id: number): Uint8Array {
  const writer = new ByteWriter(16);
  writeRequest(writer, { id, op, key: "" });
  return writer.take();
}

export class SessionLink {
  readonly #options: ResolvedOptions;
  readonly #events: LinkEvents;
  readonly #socket: WebSocketLike;
  #state: "opening" | "open" | "down" = "opening";
  #cancelTimer: () => void;
  #heardSincePing = true;
  #receivedBytes = 0;
  #acknowledgedBytes = 0;

  /** Throws when the WebSocket's constructor refuses. */
  constructor(options: ResolvedOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    this.#socket = openSocket(options, "/v1/session", SUBPROTOCOL);
    this.#socket.binaryType = "arraybuffer"; // the default, blob, can only be read asynchronously
    this.#cancelTimer = options.runtime.after(options.attemptTimeoutMs, () =>
      this.#down(new JadeError("timedOut", `the session did not open within ${options.attemptTimeoutMs} ms`)),
    );
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("message", (event) => this.#received(event.data));
    this.#socket.addEventListener("close", (event) => {
      const why = event.reason ? `: ${event.reason}` : "";
      this.#down(new JadeError("networkFailure", `the session was closed (${event.code ?? "no code"}${why})`));
    });
    this.#socket.addEventListener("error", () => {
      const what = this.#state === "opening" ? `could not open a session with ${options.url}` : "the session broke";
      this.#down(new JadeError("networkFailure", what));
    });
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  send(frame: Uint8Array): void {
    if (this.#state !== "open") return;
    try {
      this.#socket.send(frame);
    } catch (cause) {
      this.#down(new JadeError("networkFailure", "the session could not send", { cause }));
    }
  }

  /** Ends it; `onDown` gets `error`. */
  close(error: JadeError): void {
    this.#down(error, CLOSE_NORMAL);
  }

  #opened(): void {
    if (this.#state !== "opening") return;
    this.#state = "open";
    this.#cancelTimer();
    this.#schedulePing();
    this.#events.onOpen();
  }

  #received(data: unknown): void {
    if (this.#state !== "open") return;
    this.#heardSincePing = true;
    if (!(data instanceof ArrayBuffer)) {
      this.#down(new JadeError("badAnswer", "the session received a text message; is this a JadeDB server?"));
      return;
    }
    this.#acknowledge(data.byteLength);
    try {
      this.#events.onFrame(new Uint8Array(data));
    } catch (cause) {
      this.#down(new JadeError("badAnswer", `the session received a malformed message: ${String(cause)}`, { cause }));
    }
  }

  /** The server ends a session that does not say what it has read. */
  #acknowledge(count: number): void {
    this.#receivedBytes += count;
    if (this.#receivedBytes - this.#acknowledgedBytes < ACK_EVERY_BYTES) return;
    this.#acknowledgedBytes = this.#receivedBytes;
    this.send(controlFrame("ack", this.#receivedBytes % 2 ** 32));
  }

  #schedulePing(): void {
    this.#cancelTimer = this.#options.runtime.after(this.#options.session.pingIntervalMs, () => {
      if (!this.#heardSincePing) {
        this.#down(new JadeError("networkFailure", "the session fell silent"));
        return;
      }
      this.#heardSincePing = false;
      this.send(controlFrame("ping", PING_ID));
      if (this.#state === "open") this.#schedulePing();
    });
  }

  #down(error: JadeError, code = CLOSE_GIVEN_UP): void {
    if (this.#state === "down") return;
    this.#state = "down";
    this.#cancelTimer();
    try {
      this.#socket.close(code);
    } catch {
      // Some implementations refuse to close a socket that is still opening: it is abandoned.
    }
    this.#events.onDown(error);
  }
}
