// What was written lately, as one filter over a whole store: a lookup of what is new asks this once, not every memtable and run.
// Guarantees: never a false "not written since" (spec ST-112); memory is two generations of fixed size, whatever is written (ST-113).
// Must not: know where anything is. Places say since which generation all they hold was added here.

/** Words of a block: its bits lie in half a cache line. */
const BLOCK_WORDS = 8;
/** Bits for each token when a generation is full: with four bits set in a block one lookup in some 200 errs. */
const BITS_PER_TOKEN = 16;

export class SeenFilter {
  readonly #wordCount: number;
  readonly #shift: number;
  readonly #capacity: number;
  #young: Uint32Array;
  #old: Uint32Array | undefined;
  #count = 0;
  /** Number of the generation that is being filled. Rises; 1 is the first. */
  generation = 1;

  /** `sizeBytes` of each of the two generations: a power of two, at least 64. */
  constructor(sizeBytes: number) {
    this.#wordCount = sizeBytes / 4;
    this.#shift = 32 - Math.log2(this.#wordCount / BLOCK_WORDS);
    this.#capacity = Math.floor((sizeBytes * 8) / BITS_PER_TOKEN);
    this.#young = new Uint32Array(this.#wordCount);
  }

  /** The block of a token. A node holds some ranges of high words only, so these are mixed. */
  #blockOf(hi: number): number {
    return (Math.imul(hi, 0x9e3779b1) >>> this.#shift) * BLOCK_WORDS;
  }

  add(hi: number, lo: number): void {
    const words = this.#young;
    const block = this.#blockOf(hi);
    let fresh = 0;
    for (let rest = lo, i = 0; i < 4; i++, rest >>>= 8) {
      const at = block + ((rest >>> 5) & 7);
      const bit = 1 << (rest & 31);
      fresh |= ~words[at]! & bit;
      words[at]! |= bit;
    }
    if (fresh !== 0 && ++this.#count === this.#capacity) this.#turn();
  }

  #turn(): void {
    this.#old = this.#young;
    this.#young = new Uint32Array(this.#wordCount);
    this.#count = 0;
    this.generation++;
  }

  /**
   * The token can only be where something was written before this generation; Infinity = it may be anywhere. To be compared with the
   * generation in which a place began: what began then or later need not be looked into.
   */
  before(hi: number, lo: number): number {
    const block = this.#blockOf(hi);
    if (isIn(this.#young, block, lo)) return Number.POSITIVE_INFINITY;
    if (this.#old === undefined) return this.generation;
    return isIn(this.#old, block, lo) ? Number.POSITIVE_INFINITY : this.generation - 1;
  }
}

function isIn(words: Uint32Array, block: number, lo: number): boolean {
  for (let rest = lo, i = 0; i < 4; i++, rest >>>= 8) {
    if ((words[block + ((rest >>> 5) & 7)]! & (1 << (rest & 31))) === 0) return false;
  }
  return true;
}
