// gRPC over HTTP/2: framing, metadata, status in trailers. No service of its own.
// Guarantees: a handler sees whole messages in order and every call ends in a status; a message over the bound, a compressed one and an
// unknown method are refused. Must not: know what messages mean.
import { readFileSync } from "node:fs";
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
  type SessionOptions,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { EtcdError, GRPC } from "../../etcd/errors.ts";
import { type CertificateFiles, keepCertificate, readCertificate } from "../tls/certificate.ts";
import { HANDSHAKE_MS } from "../tls/limits.ts";
import {
  CONNECTION_WINDOW_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_SESSION_MEMORY_MIB,
  MAX_STREAMS,
  STOP_MS,
  STREAM_WINDOW_BYTES,
} from "./limits.ts";
import { mendStart } from "./mended-socket.ts";

export const FRAME_HEADER_BYTES = 5;

/** One call. */
export interface GrpcCall {
  readonly headers: IncomingHttpHeaders;
  /** The client left, or the call has its status. */
  readonly isOver: boolean;
  /** A message behind FRAME_HEADER_BYTES that are this module's to fill. False = the client does not keep up: wait for `onDrain`. */
  send(frame: Uint8Array): boolean;
  /** The last message, and OK. */
  finish(frame: Uint8Array): void;
  /** Ends the call; without an error with OK. */
  end(error?: unknown): void;
}

/** What a method does with a call. */
export interface GrpcListener {
  /** The bytes are its own. */
  onMessage(message: Uint8Array): void;
  /** The client sends no more. */
  onEnd?(): void;
  /** It is over, however. */
  onOver?(): void;
  onDrain?(): void;
}

export type GrpcMethod = (call: GrpcCall) => GrpcListener;

export interface GrpcTls extends CertificateFiles {
  /** Given: clients must show a certificate that it signed. */
  readonly clientCaFile?: string | undefined;
}

export interface GrpcServerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: GrpcTls | undefined;
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  /** Where a renewed certificate is told. */
  readonly report?: (line: string) => void;
}

const SESSION: SessionOptions = {
  maxSessionMemory: MAX_SESSION_MEMORY_MIB,
  settings: { maxConcurrentStreams: MAX_STREAMS, initialWindowSize: STREAM_WINDOW_BYTES },
};

/** Takes connections; what they say is HTTP/2's. */
function makeListener(
  { tls, report = () => undefined }: GrpcServerOptions,
  connected: (socket: Socket) => void,
): Server {
  if (!tls) return createTcpServer({ noDelay: true }, connected);
  const { cert, key } = readCertificate(tls);
  const ca = tls.clientCaFile === undefined ? undefined : readFileSync(tls.clientCaFile);
  const secure = createTlsServer(
    {
      cert,
      key,
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
      ALPNProtocols: ["h2"],
      minVersion: "TLSv1.2",
      ...(ca ? { ca, requestCert: true, rejectUnauthorized: true } : {}),
    },
    connected,
  );
  // A client without the right certificate, or one that speaks no TLS.
  secure.on("tlsClientError", (_, socket) => socket.destroy());
  const end = keepCertificate(tls, secure, { report });
  secure.once("close", end);
  return secure;
}

export class GrpcServer {
  readonly #http2: Http2Server;
  readonly #listener: Server;
  readonly #options: GrpcServerOptions;
  readonly #sessions = new Set<{ close(): void; destroy(): void }>();

  /** Throws when a file of `tls` cannot be read. */
  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#http2 = createServer(SESSION);
    this.#listener = makeListener(options, (socket) => {
      const starting = { close: () => socket.destroy(), destroy: () => socket.destroy() };
      this.#sessions.add(starting);
      socket.once("close", () => this.#sessions.delete(starting));
      mendStart(socket, () => {
        this.#sessions.delete(starting);
        this.#http2.emit("connection", socket);
      });
    });
    this.#http2.on("session", (session) => {
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
      // A broken connection ends its streams; there is nobody to tell.
      session.on("error", () => undefined);
    });
    this.#http2.on("stream", (stream, headers) => this.#begin(stream, headers));
  }

  /** Gives the port. */
  listen(): Promise<number> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen({ host: host.replace(/^\[(.*)\]$/, "$1"), port }, () => {
        this.#listener.off("error", reject);
        resolve((this.#listener.address() as AddressInfo).port);
      });
    });
  }

  /** Calls under way may end; what is left is cut. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()));
    for (const session of this.#sessions) session.close();
    const timer = setTimeout(() => {
      for (const session of this.#sessions) session.destroy();
    }, STOP_MS);
    await closed;
    clearTimeout(timer);
  }

  #begin(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const type = headers["content-type"];
    if (headers[":method"] !== "POST" || !type?.startsWith("application/grpc")) {
      stream.on("error", () => undefined); // reset by the client: nobody to tell
      stream.respond({ ":status": 415 }, { endStream: true });
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    new Call(stream, headers, this.#options.methods.get(headers[":path"] ?? ""));
  }
}

const NO_BYTES = Buffer.alloc(0);

class Call implements GrpcCall {
  readonly headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  readonly #listener: GrpcListener | undefined;
  #rest: Buffer = NO_BYTES;
  #isOver = false;
  #hasResponded = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, method: GrpcMethod | undefined) {
    this.#stream = stream;
    this.headers = headers;
    stream.on("error", () => undefined); // "close" follows
    stream.once("close", () => this.#over());
    try {
      this.#listener = method?.(this);
    } catch (error) {
      this.end(error);
      return;
    }
    if (!this.#listener) {
      this.end(new EtcdError(GRPC.unimplemented, `unknown method ${String(headers[":path"]).slice(0, 200)}`));
      return;
    }
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.once("end", () => this.#onEnd());
    if (this.#listener.onDrain) stream.on("drain", () => this.#listener?.onDrain?.());
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) return;
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= FRAME_HEADER_BYTES && !this.#isOver) {
      const length = bytes.readUInt32BE(1);
      if (bytes[0] !== 0) return this.end(new EtcdError(GRPC.unimplemented, "grpc: compression is not supported"));
      if (length > MAX_MESSAGE_BYTES) {
        const text = `grpc: received message larger than max (${length} vs. ${MAX_MESSAGE_BYTES})`;
        return this.end(new EtcdError(GRPC.resourceExhausted, text));
      }
      const end = FRAME_HEADER_BYTES + length;
      if (bytes.length < end) break;
      this.#deliver(bytes.subarray(FRAME_HEADER_BYTES, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }

  #deliver(message: Uint8Array): void {
    try {
      this.#listener?.onMessage(message);
    } catch (error) {
      this.end(error);
    }
  }

  #onEnd(): void {
    if (this.#isOver) return;
    if (this.#rest.length > 0) this.end(new EtcdError(GRPC.internal, "grpc: the call ends inside a message"));
    else this.#listener?.onEnd?.();
  }

  send(frame: Uint8Array): boolean {
    if (this.#isOver || this.#stream.destroyed) return true;
    this.#respond();
    return this.#stream.write(framed(frame));
  }

  finish(frame: Uint8Array): void {
    if (this.#isOver) return;
    const stream = this.#stream;
    if (!stream.destroyed) {
      this.#respond();
      stream.once("wantTrailers", () => stream.sendTrailers(OK));
      stream.end(framed(frame));
    }
    this.#over();
  }

  #respond(): void {
    if (this.#hasResponded) return;
    this.#hasResponded = true;
    this.#stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  }

  end(error?: unknown): void {
    if (this.#isOver) return;
    const stream = this.#stream;
    const trailers = statusOf(error);
    if (!stream.destroyed) {
      if (this.#hasResponded) {
        stream.once("wantTrailers", () => stream.sendTrailers(trailers));
        stream.end();
      } else {
        this.#hasResponded = true;
        stream.respond({ ":status": 200, "content-type": "application/grpc", ...trailers }, { endStream: true });
      }
    }
    this.#over();
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#rest = NO_BYTES;
    this.#listener?.onOver?.();
  }
}

/** Fills in what stands before a message. */
function framed(frame: Uint8Array): Uint8Array {
  const length = frame.length - FRAME_HEADER_BYTES;
  frame[0] = 0;
  frame[1] = length >>> 24;
  frame[2] = length >>> 16;
  frame[3] = length >>> 8;
  frame[4] = length;
  return frame;
}

/** What gRPC wants percent-encoded in a status' text. */
const UNPRINTABLE = /[^ -$&-~]+/g;
const OK = { "grpc-status": "0" };

function statusOf(error: unknown): Record<string, string> {
  if (error === undefined) return OK;
  const known = error instanceof EtcdError ? error : new EtcdError(GRPC.internal, "jade: internal error");
  return { "grpc-status": String(known.code), "grpc-message": known.message.replace(UNPRINTABLE, encodeURIComponent) };
}
