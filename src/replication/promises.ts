// First attempts that a replica has promised to refuse: a retry asked for the write, which was not remembered here, and may be stamped
// elsewhere by now. Guarantees: a promise is kept for at least `lifeMs`; where there is no room the retry is refused, not the promise
// dropped. Must not: outlive the process; no frame that was under way before a restart is delivered after it (spec RP-140).
import { hex } from "./hex.ts";

export interface PromisesOptions {
  readonly lifeMs: number;
  /** Of each of the two generations. */
  readonly maxCount: number;
}

export class Promises {
  readonly #options: PromisesOptions;
  #young = new Set<string>();
  #old = new Set<string>();
  #youngSinceMs = 0;

  constructor(options: PromisesOptions) {
    this.#options = options;
  }

  /** False = there is no room for it. */
  add(tenant: number, writeId: Uint8Array, nowMs: number): boolean {
    this.#age(nowMs);
    const name = nameOf(tenant, writeId);
    if (this.#young.size >= this.#options.maxCount && !this.#young.has(name)) return false;
    this.#young.add(name);
    return true;
  }

  has(tenant: number, writeId: Uint8Array): boolean {
    if (this.#young.size === 0 && this.#old.size === 0) return false;
    const name = nameOf(tenant, writeId);
    return this.#young.has(name) || this.#old.has(name);
  }

  #age(nowMs: number): void {
    const { lifeMs } = this.#options;
    const ageMs = nowMs - this.#youngSinceMs;
    if (ageMs < lifeMs) return;
    this.#old = ageMs < 2 * lifeMs ? this.#young : new Set();
    this.#young = new Set();
    this.#youngSinceMs = nowMs;
  }
}

function nameOf(tenant: number, writeId: Uint8Array): string {
  return `${tenant}/${hex(writeId)}`;
}
