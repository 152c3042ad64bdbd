// Circuit breaker of one replica: after some failures in a row it is not asked for a while, then one call may try.
// Must not: read clocks; `now` is passed in.

export interface BreakerLimits {
  readonly failures: number;
  readonly openMs: number;
}

export class Breaker {
  readonly #limits: BreakerLimits;
  #failuresInRow = 0;
  #openUntilMs = 0;

  constructor(limits: BreakerLimits) {
    this.#limits = limits;
  }

  /** False = it has not been open since the last success: no clock need be asked. */
  get isTripped(): boolean {
    return this.#openUntilMs > 0;
  }

  /** True when a call should not even be tried. */
  isOpen(nowMs: number): boolean {
    return nowMs < this.#openUntilMs;
  }

  succeeded(): void {
    this.#failuresInRow = 0;
    this.#openUntilMs = 0;
  }

  failed(nowMs: number): void {
    this.#failuresInRow++;
    if (this.#failuresInRow >= this.#limits.failures) this.#openUntilMs = nowMs + this.#limits.openMs;
  }
}
