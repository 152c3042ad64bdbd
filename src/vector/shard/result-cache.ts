// Results of the searches that were asked last, of one revision of the rows: another commit, and all of them are forgotten.
// Guarantees: what is given was found among the rows as they are now; bounded in bytes, of which 0 keeps nothing. Least recently used goes first.

interface Kept<V> {
  readonly value: V;
  readonly bytes: number;
}

/** A result that takes more of the budget would push out too many others. */
const LARGEST_SHARE = 1 / 8;
/** What an entry costs beside its key and value. */
const ENTRY_BYTES = 128;

export class ResultCache<V> {
  readonly #budgetBytes: number;
  readonly #kept = new Map<string, Kept<V>>();
  #revision = 0;
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  get isOn(): boolean {
    return this.#budgetBytes > 0;
  }

  get stats(): { readonly hits: number; readonly misses: number; readonly bytes: number } {
    return { hits: this.#hits, misses: this.#misses, bytes: this.#bytes };
  }

  /** `revision`: of the rows as they are now. */
  get(revision: number, key: string): V | undefined {
    if (revision !== this.#revision) this.clear();
    this.#revision = revision;
    const kept = this.#kept.get(key);
    if (!kept) {
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    // Maps keep the order of insertion: what was asked for last goes last.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.value;
  }

  /** After `get` of the same revision gave nothing. `valueBytes`: what the value takes of memory. */
  add(key: string, value: V, valueBytes: number): void {
    const bytes = key.length + valueBytes + ENTRY_BYTES;
    if (bytes > this.#budgetBytes * LARGEST_SHARE) return;
    this.#kept.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= this.#budgetBytes) return;
      this.#kept.delete(oldest);
      this.#bytes -= kept.bytes;
    }
  }

  clear(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }
}
