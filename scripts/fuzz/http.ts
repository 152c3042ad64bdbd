// One connection of the fuzzer: bytes out, an answer in, with a deadline. Its own few lines of HTTP/1.1, because clients refuse to send
// what must be sent here. Guarantees: every exchange ends; after anything unusual the next one begins on a new socket.
import { connect, type Socket } from "node:net";

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** `closed`: the server ended the connection without a whole answer. */
export type Outcome =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "closed" | "hang"; readonly receivedBytes: number };

export interface Exchange {
  readonly bytes: Uint8Array;
  readonly isHead: boolean;
  /** Nothing follows: the client closes its side behind the bytes. */
  readonly halfClose: boolean;
  /** Not to be used for another request afterwards. */
  readonly isLast: boolean;
  readonly deadlineMs: number;
}

const EMPTY = Buffer.alloc(0);

function chunkedEnd(bytes: Buffer, from: number): { end: number; body: Buffer } | undefined {
  const chunks: Buffer[] = [];
  for (let at = from; ; ) {
    const line = bytes.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", at, line), 16);
    if (bytes.length < line + 4 + size) return undefined;
    if (size === 0) return { end: line + 4, body: Buffer.concat(chunks) };
    chunks.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
}

/** The first whole answer of `bytes`; undefined = not yet. `isEnd`: nothing more comes. */
export function parseAnswer(
  bytes: Buffer,
  { isHead, isEnd }: { isHead: boolean; isEnd: boolean },
): { answer: Answer; end: number } | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [first = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n");
  const status = Number(first.split(" ")[1]);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const start = headEnd + 4;
  if (status === 100) return parseAnswer(bytes.subarray(start), { isHead, isEnd });
  const made = (body: Buffer, end: number) => ({ answer: { status, headers, body }, end });
  if (isHead || status < 200 || status === 204 || status === 304) return made(EMPTY, start);
  if (headers.get("transfer-encoding") === "chunked") {
    const chunked = chunkedEnd(bytes, start);
    return chunked && made(chunked.body, chunked.end);
  }
  const length = headers.get("content-length");
  if (length === undefined) return isEnd ? made(bytes.subarray(start), bytes.length) : undefined;
  const end = start + Number(length);
  return bytes.length < end ? undefined : made(bytes.subarray(start, end), end);
}

export class RawConnection {
  readonly #port: number;
  #socket: Socket | undefined;
  resent = 0;

  constructor(port: number) {
    this.#port = port;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /** A server may end an idle connection at any time, also while the next request is on its way: that one is sent again. */
  async exchange(exchange: Exchange): Promise<Outcome> {
    const isReused = this.#socket !== undefined;
    const outcome = await this.#once(exchange);
    if (outcome.kind !== "closed" || !isReused || outcome.receivedBytes > 0) return outcome;
    this.resent++;
    return this.#once(exchange);
  }

  #once(exchange: Exchange): Promise<Outcome> {
    const { bytes, isHead, halfClose, isLast, deadlineMs } = exchange;
    const socket = this.#socket ?? connect({ port: this.#port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    this.#socket = socket;
    return new Promise((resolve) => {
      let received = EMPTY;
      const end = (outcome: Outcome, isReusable: boolean): void => {
        clearTimeout(timer);
        socket.removeAllListeners();
        socket.on("error", () => undefined);
        if (!isReusable || isLast) this.close();
        else {
          // The server may end an idle connection.
          for (const event of ["end", "close"]) socket.once(event, () => this.#socket === socket && this.close());
          socket.resume();
        }
        resolve(outcome);
      };
      const timer = setTimeout(() => end({ kind: "hang", receivedBytes: received.length }, false), deadlineMs);
      const look = (isEnd: boolean): void => {
        const parsed = parseAnswer(received, { isHead, isEnd });
        if (parsed) {
          const isClean = parsed.end === received.length && parsed.answer.status !== 101;
          end(
            { kind: "answer", answer: parsed.answer },
            isClean && parsed.answer.headers.get("connection") !== "close",
          );
        } else if (isEnd) end({ kind: "closed", receivedBytes: received.length }, false);
      };
      socket.on("data", (chunk: Buffer) => {
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
        look(false);
      });
      socket.on("error", () => look(true));
      socket.on("end", () => look(true));
      socket.on("close", () => look(true));
      if (halfClose) socket.end(bytes);
      else socket.write(bytes);
    });
  }
}
