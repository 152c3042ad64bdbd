// One client's WebSocket at the Coordinator: request frames in, answer frames out, answers of a turn in one message.
// Guarantees: bounded requests accepted (more are answered `overloaded`); requests wait while the client has answers unread, and a
// client that reads nothing for a minute is closed; a malformed frame closes the socket with a reason.
// Every value is checked to be JSON. Must not: know tenants.

import { AnswerWindow } from "../src/wire/answer-window.ts";
import { ByteWriter } from "../src/wire/bytes.ts";
import { MalformedClock } from "../src/wire/clock.ts";
import {
  MAX_UNREAD_BYTES,
  readRequests,
  type SessionAnswer,
  type SessionRequest,
  writeAnswer,
} from "../src/wire/session.ts";

/** Requests of one session under way or waiting. The SDK's default window is 1024. */
export const MAX_SESSION_REQUESTS = 8192;
/** Close codes of RFC 6455: 1003 unsupported data, 1007 invalid payload. */
const CLOSE_UNSUPPORTED = 1003;
const CLOSE_MALFORMED = 1007;
const CLOSE_POLICY = 1008;
/** Normal closure; a client that goes away. */
const CLOSED_IN_ORDER: ReadonlySet<number> = new Set([1000, 1001]);
/** Values of requests that wait. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** How long requests wait for a client that acknowledges nothing. Ms. */
const STALL_MS = 60_000;

type Submit = (request: SessionRequest, done: (answer: SessionAnswer) => void) => void;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The gateway has checked what comes over HTTP; what comes over a session has passed nobody. Other clients splice it in as it is. */
function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(decoder.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

export class Session {
  readonly #socket: WebSocket;
  readonly #submit: Submit;
  readonly #stallMs: number;
  readonly #writer = new ByteWriter(8192);
  /** True: the client closed it, in order. */
  readonly closed: Promise<boolean>;
  #flushScheduled = false;
  #inFlight = 0;
  #isOpen = true;
  readonly #window = new AnswerWindow();
  /** Accepted, but the client has to read first; `#nextWaiting` is the first of them. */
  #waiting: SessionRequest[] = [];
  #nextWaiting = 0;
  #waitingBytes = 0;
  #stallTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(socket: WebSocket, submit: Submit, stallMs = STALL_MS) {
    this.#socket = socket;
    this.#stallMs = stallMs;
    this.#submit = submit;
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", (event) => this.#received(event.data));
    this.closed = new Promise((resolve) => {
      const end = (isClosed: boolean): void => {
        // Once we have closed it, or given it up, the client's answer says nothing of what it wants.
        const isClients = this.#isOpen && isClosed;
        this.#ended();
        resolve(isClients);
      };
      socket.addEventListener("close", ({ code }) => end(CLOSED_IN_ORDER.has(code)));
      socket.addEventListener("error", () => end(false));
    });
  }

  #received(data: string | ArrayBuffer): void {
    if (typeof data === "string") return this.#close(CLOSE_UNSUPPORTED, "binary frames only");
    let requests: SessionRequest[];
    try {
      requests = readRequests(new Uint8Array(data));
    } catch (error) {
      const reason = error instanceof MalformedClock ? error.message : "malformed frame";
      return this.#close(CLOSE_MALFORMED, reason.slice(0, 120));
    }
    for (const request of requests) {
      if (request.op === "ack") this.#acknowledged(request.id);
      else this.#accept(request);
    }
  }

  #acknowledged(position: number): void {
    const { unreadBytes } = this.#window;
    this.#window.acknowledged(position);
    if (this.#window.unreadBytes < unreadBytes) this.#endStall();
    this.#startWaiting();
  }

  #accept(request: SessionRequest): void {
    if (this.#inFlight >= MAX_SESSION_REQUESTS) {
      const message = `${this.#inFlight} requests are under way in this session, the limit is ${MAX_SESSION_REQUESTS}`;
      this.#answer({ id: request.id, kind: "error", code: "overloaded", message });
      return;
    }
    if (request.op === "put" && !isJson(request.value!)) {
      const message = "the value is not complete, valid UTF-8 JSON";
      this.#answer({ id: request.id, kind: "error", code: "malformedJson", message });
      return;
    }
    this.#inFlight++;
    if (this.#nextWaiting === this.#waiting.length && this.#window.isOpen) this.#start(request);
    else this.#wait(request);
  }

  #wait(request: SessionRequest): void {
    const bytes = request.value?.length ?? 0;
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) {
      this.#inFlight--;
      const message = `requests of ${this.#waitingBytes} bytes wait until answers are read, the limit is ${MAX_WAITING_BYTES}`;
      this.#answer({ id: request.id, kind: "error", code: "overloaded", message });
      return;
    }
    this.#waiting.push(request);
    this.#waitingBytes += bytes;
    this.#beginStall();
  }

  #beginStall(): void {
    this.#stallTimer ??= setTimeout(
      () => this.#close(CLOSE_POLICY, `${this.#window.unreadBytes} bytes of answers not acknowledged for a minute`),
      this.#stallMs,
    );
  }

  #startWaiting(): void {
    if (this.#waiting.length === 0) return;
    while (this.#nextWaiting < this.#waiting.length && this.#window.isOpen && this.#isOpen)
      this.#start(this.#waiting[this.#nextWaiting++]!);
    if (this.#nextWaiting < this.#waiting.length) return this.#beginStall();
    this.#forgetWaiting();
  }

  #forgetWaiting(): void {
    this.#waiting = [];
    this.#nextWaiting = 0;
    this.#waitingBytes = 0;
    this.#endStall();
  }

  #endStall(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = null;
  }

  #start(request: SessionRequest): void {
    const isRead = request.op !== "put" && request.op !== "delete" && request.op !== "ping";
    if (isRead) this.#window.started();
    this.#submit(request, (answer) => {
      this.#inFlight--;
      const bytes = this.#answer(answer);
      if (isRead) this.#window.answered(bytes);
    });
  }

  /** Returns the bytes of the answer. */
  #answer(answer: SessionAnswer): number {
    if (!this.#isOpen) return 0;
    const before = this.#writer.length;
    writeAnswer(this.#writer, answer);
    const bytes = this.#writer.length - before;
    this.#window.sent(bytes);
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      // (`queueMicrotask` costs 2 µs, which is much where a session has one request under way.)
      void Promise.resolve().then(this.#flush);
    }
    return bytes;
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    const frame = this.#writer.take();
    this.#writer.reset();
    if (!this.#isOpen) return;
    this.#socket.send(frame);
    const { unreadBytes } = this.#window;
    if (unreadBytes > MAX_UNREAD_BYTES)
      this.#close(CLOSE_POLICY, `${unreadBytes} bytes of answers are not acknowledged`);
    else this.#startWaiting();
  };

  /** Ends the session from our side. */
  end(code: number, reason: string): void {
    this.#close(code, reason);
  }

  #close(code: number, reason: string): void {
    this.#ended();
    this.#socket.close(code, reason);
  }

  #ended(): void {
    this.#isOpen = false;
    this.#forgetWaiting();
  }
}
