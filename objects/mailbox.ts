// The short way from the gateway to a Coordinator of its own isolate, as on a single node: requests and answers are handed over in
// memory, and one RPC wakes the Coordinator for all that came meanwhile. (An RPC for each costs as much as the rest of a read does.)
// Guarantees: every request is answered, or failed by its deadline or by the loss of the call that carried it; a mailbox that nobody
// empties, or whose answers arrive in the wrong place, closes, and what comes later goes by RPC. Must not: carry what needs an output
// gate: it is for objects that store nothing.
//
// workerd goes on in the context of the request that made a promise, whoever settles it. It knows that context only of promises made
// by `Promise.withResolvers`: `new Promise` loses it once V8 has optimized its caller (seen after some 30 000 requests), and what
// then runs after the `await` may not answer its own request.
import type { Caller } from "../src/access/types.ts";
import type { SessionAnswer, SessionRequest } from "../src/wire/session.ts";
import { DeadlineExceeded } from "./with-deadline.ts";

/** After so long the call that wakes may be lost with the request that made it; the next request makes another. Ms. */
const WAKE_LOST_MS = 100;

export interface Parcel {
  readonly caller: Caller;
  readonly requests: readonly SessionRequest[];
  readonly resolve: (answers: SessionAnswer[]) => void;
  readonly reject: (error: unknown) => void;
}

export interface SendOptions {
  /** The RPC `work` of the Coordinator. */
  readonly wake: () => Promise<void>;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly now: () => number;
  readonly deadlineMs: number;
}

export class Mailbox {
  /** Bounded by the requests that the gateway takes on at once. */
  #waiting: Parcel[] = [];
  #wakeAgainMs = 0;
  #isOpen = false;
  #isSettling = false;
  /** For /metrics: what was taken, and by how many calls. */
  readonly counts = { taken: 0, calls: 0 };

  /** By the Coordinator, in its own isolate. */
  open(): void {
    this.#isOpen = true;
  }

  /** What is sent later goes another way; what waits is still answered. */
  close(): void {
    this.#isOpen = false;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** By the gateway. Answers in the order of their ids. Throws when nobody knows what became of the requests. */
  async send(caller: Caller, requests: readonly SessionRequest[], options: SendOptions): Promise<SessionAnswer[]> {
    const { promise, resolve, reject } = Promise.withResolvers<SessionAnswer[]>();
    this.#waiting.push({ caller, requests, resolve, reject });
    const nowMs = options.now();
    if (nowMs >= this.#wakeAgainMs) {
      this.#wakeAgainMs = nowMs + WAKE_LOST_MS;
      options.waitUntil(this.#wake(options.wake));
    }
    const { deadlineMs } = options;
    const late = (): void => reject(new DeadlineExceeded(`Coordinator did not answer within ${deadlineMs} ms`));
    // Also keeps the request alive: one that waits for nothing of its own is taken for hung.
    const timer = setTimeout(late, deadlineMs);
    try {
      const answers = await promise;
      if (this.#isSettling) this.#misplaced();
      return answers;
    } finally {
      clearTimeout(timer);
    }
  }

  /** By the Coordinator: everything that waits. Each is to be settled. */
  take(): readonly Parcel[] {
    const parcels = this.#waiting;
    this.#waiting = [];
    this.#wakeAgainMs = 0;
    this.counts.taken += parcels.length;
    this.counts.calls++;
    return parcels;
  }

  readonly #settled = (): void => {
    this.#isSettling = false;
  };

  /** By the Coordinator. Nothing that waits for these answers may run before the present turn has ended. */
  settle(parcel: Parcel, answers: SessionAnswer[]): void {
    const isFirst = !this.#isSettling;
    this.#isSettling = true;
    parcel.resolve(answers);
    // Behind what the answer sets off if it goes on here. (`queueMicrotask` costs 2 µs.)
    if (isFirst) void Promise.resolve().then(this.#settled);
  }

  async #wake(wake: () => Promise<void>): Promise<void> {
    const batch = this.#waiting;
    try {
      await wake();
      if (this.#waiting !== batch) return;
      this.close();
      throw new Error("the Coordinator does not share this isolate");
    } catch (error) {
      if (this.#waiting === batch) this.#waiting = [];
      this.#wakeAgainMs = 0;
      // What was answered before stays answered.
      for (const parcel of batch) parcel.reject(error);
    }
  }

  #misplaced(): never {
    this.close();
    throw new Error("an answer arrived in the Coordinator's context: from now on requests go by RPC");
  }
}

const mailboxes = new Map<string, Mailbox>();

/** Of the Coordinator of this name; closed while none of this name has run in this isolate. */
export function mailboxOf(name: string): Mailbox {
  let mailbox = mailboxes.get(name);
  if (!mailbox) {
    mailbox = new Mailbox();
    mailboxes.set(name, mailbox);
  }
  return mailbox;
}
