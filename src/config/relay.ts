// The way from a zone's sessions to the owner of one keyspace: gathers the calls of a turn into one frame.
// Guarantees: each call is answered once; a lost frame answers `unknownOutcome` to writes and `unavailable` to reads; bounded.
// Must not: judge a call (its caller did).
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import type { ErrorCode } from "../wire/error-codes.ts";
import { MAX_RELAY_BYTES, MAX_RELAY_CALLS, MAX_RELAY_FRAME_BYTES, MAX_RELAY_FRAMES } from "./limits.ts";

/** `answer`: a body of wire/config-answers.ts. */
export type RelayResult = { readonly answer: Uint8Array } | { readonly code: ErrorCode; readonly message: string };

export interface RelayOptions {
  /** One frame of calls to the owner, and the frame of its answers. */
  readonly send: (frame: Uint8Array) => Promise<Uint8Array>;
  /** Runs once, after what is being handled now: lets the calls of a turn gather. */
  readonly schedule: (run: () => void) => void;
}

/** A call on its way. */
export interface Pending {
  /** A call of wire/config-requests.ts without its id. */
  readonly body: Uint8Array;
  readonly isWrite: boolean;
  readonly done: (result: RelayResult) => void;
}

export class ConfigRelay {
  readonly #options: RelayOptions;
  #queue: Pending[] = [];
  #queuedBytes = 0;
  #framesInFlight = 0;
  #isScheduled = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#queue.length === 0 && this.#framesInFlight === 0;
  }

  submit(pending: Pending): void {
    if (this.#queue.length >= MAX_RELAY_CALLS || this.#queuedBytes + pending.body.length > MAX_RELAY_BYTES) {
      pending.done({
        code: "overloaded",
        message: `${this.#queue.length} calls to the keyspace wait; nothing was done`,
      });
      return;
    }
    this.#queue.push(pending);
    this.#queuedBytes += pending.body.length;
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#isScheduled || this.#framesInFlight >= MAX_RELAY_FRAMES) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#isScheduled = false;
      while (this.#queue.length > 0 && this.#framesInFlight < MAX_RELAY_FRAMES) this.#flush();
    });
  }

  #flush(): void {
    const writer = new ByteWriter(Math.min(this.#queuedBytes + 64, MAX_RELAY_FRAME_BYTES));
    const sent: Pending[] = [];
    for (const pending of this.#queue) {
      if (sent.length > 0 && writer.length + pending.body.length > MAX_RELAY_FRAME_BYTES) break;
      writer.u32(sent.length);
      writer.raw(pending.body);
      this.#queuedBytes -= pending.body.length;
      sent.push(pending);
    }
    this.#queue = this.#queue.slice(sent.length);
    this.#framesInFlight++;
    this.#options.send(writer.take()).then(
      (frame) => this.#answered(sent, frame),
      () => this.#answered(sent, undefined),
    );
  }

  #answered(sent: readonly Pending[], frame: Uint8Array | undefined): void {
    this.#framesInFlight--;
    const answers = frame && bodiesOf(frame);
    for (const [id, pending] of sent.entries()) {
      const answer = answers?.[id];
      pending.done(answer ? { answer } : lost(pending));
    }
    if (this.#queue.length > 0) this.#scheduleFlush();
  }
}

function lost({ isWrite }: Pending): RelayResult {
  if (!isWrite) return { code: "unavailable", message: "the keyspace did not answer" };
  return { code: "unknownOutcome", message: "the keyspace did not answer: the write may or may not have been applied" };
}

/** Bodies by call id. What is no frame of answers is as good as lost: every call must hear something. */
function bodiesOf(frame: Uint8Array): readonly Uint8Array[] | undefined {
  try {
    return readAnswerBodies(frame);
  } catch (error) {
    if (error instanceof MalformedBytes) return undefined;
    throw error;
  }
}

function readAnswerBodies(frame: Uint8Array): readonly Uint8Array[] {
  const reader = new ByteReader(frame);
  const bodies: Uint8Array[] = [];
  while (!reader.done) {
    const id = reader.u32();
    if (id !== bodies.length) throw new MalformedBytes("answers are not in the order of their calls");
    bodies.push(reader.bytes());
  }
  return bodies;
}
