// Timers of one length, of which nearly all are cleared: one of the platform's at a time, since each costs workerd some microseconds.
// Guarantees: what was not cleared runs once, not before its time. Must not: be used for timers of several lengths; they run in order.

/** Cleared timers at the front of the list before these are cut off. */
const CUT_AT = 256;

export interface Timeout {
  readonly atMs: number;
  /** Undefined = cleared, or done. */
  run: (() => void) | undefined;
}

export interface TimeoutsOptions {
  readonly delayMs: number;
  readonly now: () => number;
  readonly setTimer: (delayMs: number, run: () => void) => void;
}

export class Timeouts {
  readonly #options: TimeoutsOptions;
  #waiting: Timeout[] = [];
  #first = 0;
  #isArmed = false;

  constructor(options: TimeoutsOptions) {
    this.#options = options;
  }

  add(run: () => void): Timeout {
    const { delayMs, now } = this.#options;
    const timeout: Timeout = { atMs: now() + delayMs, run };
    this.#waiting.push(timeout);
    if (!this.#isArmed) this.#arm(delayMs);
    return timeout;
  }

  clear(timeout: Timeout): void {
    timeout.run = undefined;
    this.#passCleared();
  }

  /** How many are held, the cleared ones that others wait before counted too. */
  get size(): number {
    return this.#waiting.length - this.#first;
  }

  #passCleared(): void {
    while (this.#first < this.#waiting.length && this.#waiting[this.#first]!.run === undefined) this.#first++;
    if (this.#first < CUT_AT && this.#first < this.#waiting.length) return;
    this.#waiting.splice(0, this.#first);
    this.#first = 0;
  }

  #arm(delayMs: number): void {
    this.#isArmed = true;
    this.#options.setTimer(delayMs, () => this.#fire());
  }

  #fire(): void {
    const nowMs = this.#options.now();
    const due: (() => void)[] = [];
    for (let at = this.#first; at < this.#waiting.length; at++) {
      const timeout = this.#waiting[at]!;
      if (timeout.atMs > nowMs) break;
      if (timeout.run) due.push(timeout.run);
      timeout.run = undefined;
    }
    this.#passCleared();
    this.#isArmed = false;
    const next = this.#waiting[this.#first];
    if (next) this.#arm(Math.max(1, next.atMs - nowMs));
    for (const run of due) run();
  }
}
