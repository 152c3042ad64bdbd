// One Watch call of gRPC: a watch connection to the server behind, whose messages go out as etcd's.
// Guarantees: a client that does not read holds up its own connection and no other; a lost connection ends the call as unavailable, which
// etcd's clients answer by watching on from the revision they have. Must not: remember revisions.
import WebSocket from "ws";
import { refusal } from "../../etcd/errors.ts";
import type { Identity } from "../../etcd/identity.ts";
import { WatchRequest, WatchResponse } from "../../etcd/messages-watch.ts";
import { messageOfBytes, ProtobufWriter } from "../../etcd/protobuf.ts";
import { askWatch, watchResponses } from "../../etcd/watch.ts";
import { WATCH_SUBPROTOCOL } from "../../wire/config-watch.ts";
import { type TakenMessage, WatchStream } from "../../wire/config-watch-stream.ts";
import { FRAME_HEADER_BYTES, type GrpcCall, type GrpcListener } from "./grpc-server.ts";
import { noMask, refusalIn, unreachable } from "./keyspace-link.ts";
import { LINK_OPEN_MS, MAX_WATCH_REQUESTS_WAITING } from "./limits.ts";

const POLICY = 1008;
const writer = new ProtobufWriter(64 * 1024);

export class WatchCall implements GrpcListener {
  readonly #call: GrpcCall;
  readonly #stream: WatchStream;
  readonly #socket: WebSocket;
  /** Undefined until the connection is open. */
  #identity: Identity | undefined;
  #early: WatchRequest[] = [];
  /** Requests of this turn. */
  #gathered: Uint8Array[] = [];
  #drained: (() => void) | undefined;

  constructor(call: GrpcCall, { url, token }: { readonly url: string; readonly token: string }) {
    this.#call = call;
    this.#stream = new WatchStream({
      send: (frame) => this.#gather(frame),
      onMessage: (message) => this.#tell(message),
    });
    this.#socket = new WebSocket(`${url.replace(/^http/, "ws")}/v3/watches`, [WATCH_SUBPROTOCOL], {
      headers: token === "" ? {} : { authorization: token },
      perMessageDeflate: false,
      generateMask: noMask,
      handshakeTimeout: LINK_OPEN_MS,
      skipUTF8Validation: true,
    });
    this.#listen(this.#socket);
  }

  #listen(socket: WebSocket): void {
    let identity: Identity | undefined;
    socket.on("upgrade", ({ headers }) => {
      identity = JSON.parse(String(headers["jade-identity"])) as Identity;
    });
    socket.on("open", () => {
      this.#identity = identity;
      for (const request of this.#early) askWatch(this.#stream, request);
      this.#early = [];
    });
    socket.on("message", (frame: Buffer) => this.#stream.receive(frame));
    socket.on("unexpected-response", (_, response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("close", () => this.#call.end(refusalIn(Buffer.concat(chunks).toString())));
    });
    socket.on("error", () => this.#call.end(unreachable()));
    socket.on("close", (code) => this.#call.end(code === POLICY ? refusal("invalidToken") : unreachable()));
  }

  /** What came together travels together: a message of its own would be a commit of its own for each watch. */
  #gather(frame: Uint8Array): void {
    if (this.#gathered.push(frame) > 1) return;
    setImmediate(() => {
      const frames = this.#gathered;
      this.#gathered = [];
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(Buffer.concat(frames));
    });
  }

  onMessage(bytes: Uint8Array): void {
    const request = messageOfBytes(WatchRequest, bytes);
    if (this.#identity) askWatch(this.#stream, request);
    else if (this.#early.length < MAX_WATCH_REQUESTS_WAITING) this.#early.push(request);
    else throw refusal("tooManyRequests");
  }

  /** etcd ends the call when its client sends no more. */
  onEnd(): void {
    this.#call.end();
  }

  onOver(): void {
    this.onDrain();
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(1000);
    else this.#socket.terminate();
  }

  onDrain(): void {
    this.#drained?.();
    this.#drained = undefined;
  }

  #tell(message: TakenMessage): void | Promise<void> {
    let hasRoom = true;
    for (const response of watchResponses(message, this.#identity!)) {
      writer.reset(FRAME_HEADER_BYTES);
      writer.message(WatchResponse, response);
      hasRoom = this.#call.send(writer.take());
    }
    if (hasRoom || this.#call.isOver) return undefined;
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }
}
