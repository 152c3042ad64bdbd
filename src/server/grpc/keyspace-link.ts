// The front's way to one keyspace with one token: a WebSocket to the server behind (gateway/etcd-frames.ts) that carries many calls.
// Guarantees: calls of a turn travel in one message; a lost link ends its calls as unavailable, and the next call opens it anew. The token is
// judged there, not here. Must not: repeat a call.
import WebSocket from "ws";
import { EtcdError, etcdErrorOf, GRPC, type GrpcCode, refusal } from "../../etcd/errors.ts";
import type { Identity } from "../../etcd/identity.ts";
import { ByteWriter } from "../../wire/bytes.ts";
import type { ConfigAnswer, ConfigRequest } from "../../wire/config.ts";
import { readConfigAnswers } from "../../wire/config-answers.ts";
import { writeConfigCall } from "../../wire/config-requests.ts";
import { FRAME_BYTES, LINK_IDLE_MS, LINK_OPEN_MS, MAX_CALLS_IN_FLIGHT } from "./limits.ts";

export interface Answered {
  readonly answer: ConfigAnswer;
  readonly identity: Identity;
}

interface Waiting {
  readonly resolve: (answered: Answered) => void;
  readonly reject: (error: EtcdError) => void;
}

const MAX_ID = 0xffffffff;

export interface LinkOptions {
  /** `http://…` of the server behind. */
  readonly url: string;
  /** "" = none. */
  readonly token: string;
}

export class KeyspaceLink {
  readonly #options: LinkOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #writer = new ByteWriter(64 * 1024);
  #socket: WebSocket | undefined;
  /** Known = the link is open. */
  #identity: Identity | undefined;
  #nextId = 1;
  #willFlush = false;
  #idleTimer: NodeJS.Timeout | undefined;
  /** Of performance.now(). */
  lastUsedMs = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#waiting.size;
  }

  call(request: ConfigRequest): Promise<Answered> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.size >= MAX_CALLS_IN_FLIGHT) {
        reject(refusal("tooManyRequests"));
        return;
      }
      const id = this.#nextId;
      this.#nextId = id === MAX_ID ? 1 : id + 1;
      this.#waiting.set(id, { resolve, reject });
      writeConfigCall(this.#writer, { id, request });
      if (this.#writer.length >= FRAME_BYTES) this.#flush();
      else this.#flushSoon();
    });
  }

  /** Ends what is under way. */
  close(): void {
    this.#down(refusal("timeout"));
  }

  /** When everything that is readable now was read: the calls of a turn share a message. */
  #flushSoon(): void {
    if (this.#willFlush) return;
    this.#willFlush = true;
    setImmediate(() => {
      this.#willFlush = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#writer.length === 0) return;
    if (!this.#socket) this.#open();
    if (!this.#identity) return; // goes out when the link is open
    this.lastUsedMs = performance.now();
    this.#socket?.send(this.#writer.take());
    this.#writer.reset();
  }

  #open(): void {
    const { url, token } = this.#options;
    const headers = token === "" ? {} : { authorization: token };
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/v3/frames`, {
      headers,
      perMessageDeflate: false,
      generateMask: noMask,
      handshakeTimeout: LINK_OPEN_MS,
      skipUTF8Validation: true,
    });
    this.#socket = socket;
    const down = (error: EtcdError): void => {
      if (this.#socket === socket) this.#down(error);
    };
    socket.on("message", (data: Buffer, isBinary) => {
      if (this.#socket !== socket) return;
      if (isBinary) this.#onAnswers(data);
      else this.#onOpen(JSON.parse(data.toString()) as Identity);
    });
    socket.on("unexpected-response", (_, response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("close", () => {
        down(refusalIn(Buffer.concat(chunks).toString()));
        socket.terminate();
      });
    });
    socket.on("error", () => down(unreachable()));
    socket.on("close", () => down(refusal("timeout")));
  }

  #onOpen(identity: Identity): void {
    this.#identity = identity;
    this.#idleTimer = setInterval(() => this.#closeIfIdle(), LINK_IDLE_MS / 2);
    this.#idleTimer.unref();
    this.#flush();
  }

  #closeIfIdle(): void {
    if (this.#waiting.size === 0 && performance.now() - this.lastUsedMs > LINK_IDLE_MS) this.close();
  }

  #onAnswers(frame: Uint8Array): void {
    const identity = this.#identity!;
    for (const { id, answer } of readConfigAnswers(frame)) {
      const waiting = this.#waiting.get(id);
      if (!waiting) continue;
      this.#waiting.delete(id);
      if (answer.kind === "error") waiting.reject(etcdErrorOf(answer));
      else waiting.resolve({ answer, identity });
    }
  }

  #down(error: EtcdError): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#identity = undefined;
    clearInterval(this.#idleTimer);
    this.#writer.reset();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
    if (socket && socket.readyState !== WebSocket.CLOSED) socket.terminate();
  }
}

/** Masks hide bytes from proxies; there is none on the way to the server behind. Of zeros: nothing is done for it. */
export function noMask(mask: Buffer): void {
  mask.fill(0);
}

export function unreachable(): EtcdError {
  return new EtcdError(GRPC.unavailable, "jade: the server behind the gRPC front cannot be reached");
}

/** The upgrade was refused with a body of etcd's JSON errors. */
export function refusalIn(body: string): EtcdError {
  try {
    const { error, code } = JSON.parse(body) as { readonly error?: string; readonly code?: number };
    if (typeof error === "string" && typeof code === "number") return new EtcdError(code as GrpcCode, error);
  } catch {
    // Not of etcd's JSON: a proxy's, or cut off.
  }
  return unreachable();
}
