// Counts and times operations of one phase: warm-up first, then only what starts and ends inside the window.

export class Recorder {
  #latenciesMs = new Float64Array(1 << 16);
  #count = 0;
  errors = 0;
  firstError;
  #startMs;
  #endMs;

  constructor({ warmupSeconds, seconds }) {
    this.#startMs = performance.now() + warmupSeconds * 1000;
    this.#endMs = this.#startMs + seconds * 1000;
    this.seconds = seconds;
  }

  get isOver() {
    return performance.now() >= this.#endMs;
  }

  get endMs() {
    return this.#endMs;
  }

  get startMs() {
    return this.#startMs;
  }

  /** One operation that began at `beganMs` and ends now. */
  done(beganMs, nowMs) {
    if (nowMs < this.#startMs || nowMs >= this.#endMs) return;
    if (this.#count === this.#latenciesMs.length) {
      const grown = new Float64Array(this.#latenciesMs.length * 2);
      grown.set(this.#latenciesMs);
      this.#latenciesMs = grown;
    }
    this.#latenciesMs[this.#count++] = nowMs - beganMs;
  }

  failed(what) {
    this.errors++;
    this.firstError ??= String(what).slice(0, 300);
  }

  /** `perOperation`: keys that one operation handles. */
  result(perOperation = 1) {
    const sorted = this.#latenciesMs.slice(0, this.#count).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    return {
      perSecond: (this.#count * perOperation) / this.seconds,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      count: this.#count,
      errors: this.errors,
      firstError: this.firstError,
    };
  }
}
