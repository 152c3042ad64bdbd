// Frames between a Coordinator and the replicas of its own isolate, as on a single node: handed over in memory, under a number that the
// RPC carries. (workerd copies the bytes of an RPC several times on their way.)
// Guarantees: an answer is taken only once the RPC that carries its number has returned, so the replica's output gate holds it like any
// other answer; nothing is kept of an RPC that has ended. Must not: be open where the two may run in different isolates.

/** One frame on its way, and its answer. */
export interface Handed {
  readonly frame: Uint8Array;
  /** By the replica, in the turn that applied the frame. */
  answer: Uint8Array | undefined;
}

export class Handover {
  /** Bounded by the frames that links have under way. */
  readonly #handed = new Map<number, Handed>();
  #lastNumber = 0;
  #isOpen = false;
  /** For /metrics. */
  answered = 0;

  /** By a Coordinator that knows that replicas share its isolate. */
  open(): void {
    this.#isOpen = true;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Frames on their way. */
  get size(): number {
    return this.#handed.size;
  }

  /**
   * By the Coordinator: `call` is the RPC, which returns whether the replica found the frame. Undefined = it did not: nothing was done,
   * and from now on frames go in RPCs.
   */
  async send(frame: Uint8Array, call: (number: number) => Promise<boolean>): Promise<Uint8Array | undefined> {
    const number = ++this.#lastNumber;
    const handed: Handed = { frame, answer: undefined };
    this.#handed.set(number, handed);
    try {
      if (await call(number)) this.answered++;
      else this.#isOpen = false;
      return handed.answer;
    } finally {
      this.#handed.delete(number);
    }
  }

  /** By the replica. Each is given once: a repeated call finds nothing. */
  take(number: number): Handed | undefined {
    const handed = this.#handed.get(number);
    this.#handed.delete(number);
    return handed;
  }
}

/** Of this isolate. */
export const handover = new Handover();
