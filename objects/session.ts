// One client's WebSocket at the Coordinator: request frames in, answer frames out, answers of a turn in one message.
// Guarantees: bounded requests under way (more are answered `overloaded`) and bounded answers that the client has not read (then it
// is closed: it must acknowledge what it reads); a malformed frame closes the socket with a reason.
// Every value is checked to be JSON. Must not: know tenants.
import { ByteWriter } from "../src/wire/bytes.ts";
import { MalformedClock } from "../src/wire/clock.ts";
import {
  MAX_UNREAD_BYTES,
  readRequests,
  type SessionAnswer,
  type SessionRequest,
  writeAnswer,
} from "../src/wire/session.ts";

/** Requests of one session under way. The SDK's default window is 1024. */
export const MAX_SESSION_REQUESTS = 8192;
/** Close codes of RFC 6455: 1003 unsupported data, 1007 invalid payload. */
const CLOSE_UNSUPPORTED = 1003;
const CLOSE_MALFORMED = 1007;
const CLOSE_POLICY = 1008;
const UINT32 = 2 ** 32;

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
  readonly #writer = new ByteWriter(8192);
  readonly closed: Promise<void>;
  #flushScheduled = false;
  #inFlight = 0;
  #isOpen = true;
  /** Both modulo 2^32. */
  #sentBytes = 0;
  #readBytes = 0;

  constructor(socket: WebSocket, submit: Submit) {
    this.#socket = socket;
    this.#submit = submit;
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", (event) => this.#received(event.data));
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.#isOpen = false;
        resolve();
      };
      socket.addEventListener("close", end);
      socket.addEventListener("error", end);
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
      if (request.op === "ack") this.#readBytes = request.id;
      else this.#start(request);
    }
  }

  #start(request: SessionRequest): void {
    if (this.#inFlight >= MAX_SESSION_REQUESTS) {
      const message = `${this.#inFlight} requests are under way in this session, the limit is ${MAX_SESSION_REQUESTS}`;
      this.#answer({ id: request.id, kind: "error", code: "overloaded", message });
      return;
    }
    if (request.value && !isJson(request.value)) {
      const message = "the value is not complete, valid UTF-8 JSON";
      this.#answer({ id: request.id, kind: "error", code: "malformedJson", message });
      return;
    }
    this.#inFlight++;
    this.#submit(request, (answer) => {
      this.#inFlight--;
      this.#answer(answer);
    });
  }

  #answer(answer: SessionAnswer): void {
    if (!this.#isOpen) return;
    writeAnswer(this.#writer, answer);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushScheduled = false;
    const frame = this.#writer.take();
    this.#writer.reset();
    if (!this.#isOpen) return;
    this.#sentBytes = (this.#sentBytes + frame.length) % UINT32;
    this.#socket.send(frame);
    const unreadBytes = (this.#sentBytes - this.#readBytes + UINT32) % UINT32;
    if (unreadBytes > MAX_UNREAD_BYTES)
      this.#close(CLOSE_POLICY, `${unreadBytes} bytes of answers are not acknowledged`);
  }

  /** Ends the session from our side. */
  end(code: number, reason: string): void {
    this.#close(code, reason);
  }

  #close(code: number, reason: string): void {
    this.#isOpen = false;
    this.#socket.close(code, reason);
  }
}
