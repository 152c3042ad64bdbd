// How much one gateway isolate takes on at once: requests under way and the bytes of their bodies.
// Guarantees: beyond a bound a request is refused as `overloaded` before it is read; what a request held is free when it ends. A request
// whose client left may be cut off without ending: when a bound is reached, those under way for too long are forgotten.
// Must not: refuse the probes that tell an operator so.
import { PublicError } from "../wire/error-codes.ts";
import { REQUEST_LOST_AFTER_MS } from "./limits.ts";

const PROBES: ReadonlySet<string> = new Set(["/v1/health", "/v1/ready", "/metrics"]);

/** One request's part. */
export interface Held {
  readonly sinceMs: number;
  bytes: number;
}

export interface LoadOptions {
  readonly maxRequests: number;
  readonly maxBytes: number;
  readonly now: () => number;
  readonly count: (metric: string) => void;
}

export class Load {
  readonly #options: LoadOptions;
  readonly #held = new Set<Held>();
  #bytes = 0;
  #sweptAtMs = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  get requests(): number {
    return this.#held.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Throws `overloaded`. What it gives must be given back to {@link leave}. */
  enter(path: string): Held {
    const { maxRequests, now } = this.#options;
    const held = { sinceMs: now(), bytes: 0 };
    if (this.#held.size >= maxRequests && !PROBES.has(path) && !this.#forgetLost(held.sinceMs)) {
      throw this.#refusal("requests", `${this.#held.size} requests are under way here, the limit is ${maxRequests}`);
    }
    this.#held.add(held);
    return held;
  }

  /** Before so many bytes of a body are read. Throws `overloaded`. */
  hold(held: Held, bytes: number): void {
    const { maxBytes, now } = this.#options;
    if (this.#bytes + bytes > maxBytes && !(this.#forgetLost(now()) && this.#bytes + bytes <= maxBytes)) {
      throw this.#refusal("bodies", `bodies of ${this.#bytes} bytes are under way here, the limit is ${maxBytes}`);
    }
    // One that was forgotten as lost and is not has nothing to give back.
    if (!this.#held.has(held)) return;
    held.bytes += bytes;
    this.#bytes += bytes;
  }

  leave(held: Held): void {
    if (!this.#held.delete(held)) return;
    this.#bytes -= held.bytes;
  }

  /** True when there were some. */
  #forgetLost(nowMs: number): boolean {
    if (nowMs - this.#sweptAtMs < 1000) return false;
    this.#sweptAtMs = nowMs;
    const before = this.#held.size;
    for (const held of this.#held) {
      if (nowMs - held.sinceMs < REQUEST_LOST_AFTER_MS) break; // in the order they came
      this.leave(held);
    }
    return this.#held.size < before;
  }

  #refusal(bound: string, message: string): PublicError {
    this.#options.count(`jade_requests_refused_total{bound="${bound}"}`);
    return new PublicError("overloaded", message);
  }
}
