// Random ids by the dozen: the system is asked for randomness once in 4 KiB.
// Guarantees: no byte is given twice. Must not: be filled while the module loads (workerd forbids it).
import { hexOf } from "../access/api-key.ts";
import { RANDOM_POOL_BYTES } from "./limits.ts";

export class RandomPool {
  #pool = new Uint8Array(0);
  #offset = 0;

  /** A view that nobody else holds; `count` ≤ the pool. */
  bytes(count: number): Uint8Array {
    if (this.#offset + count > this.#pool.length) {
      // A new array: ids handed out are views into the old one.
      this.#pool = crypto.getRandomValues(new Uint8Array(RANDOM_POOL_BYTES));
      this.#offset = 0;
    }
    this.#offset += count;
    return this.#pool.subarray(this.#offset - count, this.#offset);
  }

  hex(byteCount: number): string {
    return hexOf(this.bytes(byteCount));
  }
}
