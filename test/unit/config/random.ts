// Seeded choices for fuzz tests (mulberry32): a failing seed fails again.

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 0x9e3779b1;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** One to four letters of four, the last of them beyond ASCII. */
  key(): string {
    let key = "";
    for (let length = 1 + this.below(4); length > 0; length--) key += this.pick(["a", "b", "/", "\u00ff"]);
    return key;
  }
}
