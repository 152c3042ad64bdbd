// One client's watch connection in a front. Guarantees: what is written is ready frames; a client that breaks the protocol is closed
// with the reason. Must not: hold what was sent (the socket does, and the hub counts it).
import type { Socket } from "node:net";
import type { Frame, WatchConnection, WatchPort } from "../../config/watch-connection.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import { readWatchRequests, type WatchRequest } from "../../wire/config-watch.ts";
import { parseWatchRequest } from "../../wire/config-watch-json.ts";
import type { FRAMES } from "./frames.ts";
import { CLOSING_MS } from "./limits.ts";
import type { Mirror } from "./mirror.ts";
import { OwnLink } from "./own-link.ts";
import { closeFrame, type Message, MessageReader, messageFrame, OPCODE, ProtocolError } from "./websocket.ts";

const CLOSE_NORMAL = 1000;
const CLOSE_MALFORMED = 1007;

export class Client implements WatchPort {
  readonly #socket: Socket;
  readonly #mirror: Mirror;
  readonly #encoding: keyof typeof FRAMES;
  readonly #reader = new MessageReader();
  readonly #connection: WatchConnection;
  #hasAsked = false;
  #ownLink: OwnLink | undefined;
  #isClosing = false;

  /** `onGone`: the socket is closed. */
  constructor(socket: Socket, mirror: Mirror, encoding: keyof typeof FRAMES, onGone: () => void) {
    this.#socket = socket;
    this.#mirror = mirror;
    this.#encoding = encoding;
    this.#connection = mirror.connect(this, encoding);
    socket.on("data", (chunk) => this.#read(chunk));
    socket.on("error", () => undefined); // "close" follows
    // Half-closed by the client: nobody reads any more.
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      this.#leave();
      onGone();
    });
  }

  /** The watch that the request's address asked for. */
  ask(text: string): void {
    this.#take({ opcode: OPCODE.text, payload: Buffer.from(text) });
  }

  send(frame: Frame): void {
    if (!this.#isClosing) this.#socket.write(frame);
  }

  close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#socket.write(closeFrame(code, reason));
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), CLOSING_MS).unref();
  }

  #read(chunk: Buffer): void {
    if (this.#isClosing) return;
    try {
      for (const message of this.#reader.push(chunk)) this.#take(message);
    } catch (error) {
      if (error instanceof ProtocolError) this.close(error.code, error.message);
      else if (error instanceof MalformedBytes) this.close(CLOSE_MALFORMED, error.message.slice(0, 120));
      else throw error;
      this.#leave();
    }
  }

  #leave(): void {
    this.#mirror.disconnect(this.#connection);
    this.#ownLink?.close();
  }

  #take({ opcode, payload }: Message): void {
    switch (opcode) {
      case OPCODE.text:
        return this.#request(payload, [parseWatchRequest(payload.toString())], false);
      case OPCODE.binary:
        return this.#request(payload, readWatchRequests(payload), true);
      case OPCODE.ping:
        return this.send(messageFrame(OPCODE.pong, payload));
      case OPCODE.pong:
        return;
      case OPCODE.close:
        this.close(payload.length >= 2 ? payload.readUInt16BE(0) : CLOSE_NORMAL, "");
        return this.#leave();
      default:
        throw new ProtocolError(1002, `unknown opcode ${opcode}`);
    }
  }

  #request(payload: Buffer, requests: readonly WatchRequest[], isBinary: boolean): void {
    // A connection that begins in the past is the server's; one that falls back later begins again.
    if (!this.#hasAsked && requests.some((request) => this.#mirror.lacks(request))) this.#passOn();
    this.#hasAsked = true;
    if (this.#ownLink) this.#ownLink.send(payload, isBinary);
    else this.#mirror.receive(this.#connection, requests, payload.length);
  }

  #passOn(): void {
    this.#mirror.disconnect(this.#connection);
    this.#ownLink = new OwnLink({
      upstream: this.#mirror.upstream,
      encoding: this.#encoding,
      onMessage: (data, isBinary) => this.send(messageFrame(isBinary ? OPCODE.binary : OPCODE.text, data)),
      onClose: (code, reason) => this.close(code, reason),
    });
  }
}
