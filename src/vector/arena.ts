// The memory of the vector kernels: one WASM memory, given out in extents of bytes.
// Guarantees: extents are 64-byte aligned and never overlap; freed ones are joined and given out again; beyond the budget
// `ArenaFull` before anything changed. Must not: move an extent; hold a view across an allocation (growth detaches it: ask again).

/** A byte address in the arena. */
export type Pointer = number;

/** The budget does not hold this extent: the caller answers 507 and goes on. */
export class ArenaFull extends Error {
  override readonly name = "ArenaFull";
  readonly askedBytes: number;
  readonly usedBytes: number;
  readonly budgetBytes: number;

  constructor(askedBytes: number, usedBytes: number, budgetBytes: number) {
    super(`${askedBytes} bytes do not fit: ${usedBytes} of ${budgetBytes} bytes of vector memory are in use`);
    this.askedBytes = askedBytes;
    this.usedBytes = usedBytes;
    this.budgetBytes = budgetBytes;
  }
}

const PAGE_BYTES = 65_536;
/** A cache line: rows and link lists of 64 or 128 bytes do not straddle one more than they must. */
const ALIGN = 64;
/** Most a 32-bit memory can hold: one page less than 4 GiB, so that no end address wraps to zero. */
export const MAX_ARENA_BYTES = 2 ** 32 - PAGE_BYTES;
/** Memory grows by at least this share of itself, so that filling it copies no page too often. */
const GROWTH_SHARE = 1 / 8;

interface Extent {
  start: Pointer;
  end: Pointer;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGN) * ALIGN;
}

export interface ArenaOptions {
  readonly memory: WebAssembly.Memory;
  /** First address that the module leaves to the host (`heapBase()`). */
  readonly base: Pointer;
  /** Most bytes given out at a time. */
  readonly budgetBytes: number;
}

export class Arena {
  readonly #memory: WebAssembly.Memory;
  readonly budgetBytes: number;
  /** Free extents below `#top`, by address, never touching one another. */
  readonly #free: Extent[] = [];
  readonly #sizes = new Map<Pointer, number>();
  #top: Pointer;
  #usedBytes = 0;
  #isBudgeted = true;
  #u8: Uint8Array;
  #u32: Uint32Array;
  #f32: Float32Array;

  constructor({ memory, base, budgetBytes }: ArenaOptions) {
    this.#memory = memory;
    this.budgetBytes = Math.min(budgetBytes, MAX_ARENA_BYTES - aligned(base));
    this.#top = aligned(base);
    this.#u8 = new Uint8Array(memory.buffer);
    this.#u32 = new Uint32Array(memory.buffer);
    this.#f32 = new Float32Array(memory.buffer);
  }

  /** Bytes given out now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Bytes that the memory has taken from the process; it never shrinks. */
  get reservedBytes(): number {
    return this.u8.length;
  }

  /** Runs what must not be refused: what is stored already, and what a read needs. Only the platform's own bound holds for it. */
  withoutBudget<T>(run: () => T): T {
    const before = this.#isBudgeted;
    this.#isBudgeted = false;
    try {
      return run();
    } finally {
      this.#isBudgeted = before;
    }
  }

  /** True if `allocate(bytes)` would not exceed the budget (it may still have to grow the memory). */
  fits(bytes: number): boolean {
    return this.#usedBytes + aligned(Math.max(1, bytes)) <= this.budgetBytes;
  }

  /** The whole memory as bytes; ask again after any allocation. */
  get u8(): Uint8Array {
    if (this.#u8.length === 0) this.#viewAgain();
    return this.#u8;
  }

  /** The whole memory as u32: index = address / 4. */
  get u32(): Uint32Array {
    if (this.#u8.length === 0) this.#viewAgain();
    return this.#u32;
  }

  /** The whole memory as f32: index = address / 4. */
  get f32(): Float32Array {
    if (this.#u8.length === 0) this.#viewAgain();
    return this.#f32;
  }

  /** A view of `length` bytes; ask again after any allocation. */
  bytes(at: Pointer, length: number): Uint8Array {
    return this.u8.subarray(at, at + length);
  }

  /** A view of `length` u32. */
  words(at: Pointer, length: number): Uint32Array {
    return this.u32.subarray(at / 4, at / 4 + length);
  }

  /** A view of `length` f32. */
  floats(at: Pointer, length: number): Float32Array {
    return this.f32.subarray(at / 4, at / 4 + length);
  }

  /**
   * An extent of at least `bytes`, 64-byte aligned. Its content is what was left there; `zeroed` clears it.
   * @throws ArenaFull beyond the budget, or if the platform gives no more memory.
   */
  allocate(bytes: number, { zeroed = false } = {}): Pointer {
    const size = aligned(Math.max(1, bytes));
    const most = this.#isBudgeted ? this.budgetBytes : MAX_ARENA_BYTES;
    if (!(this.#usedBytes + size <= most)) throw new ArenaFull(bytes, this.#usedBytes, this.budgetBytes);
    const at = this.#takeFree(size) ?? this.#takeTop(size);
    this.#sizes.set(at, size);
    this.#usedBytes += size;
    if (zeroed) this.u8.fill(0, at, at + size);
    return at;
  }

  /** Gives an extent back. @throws Error for an address that is not one. */
  free(at: Pointer): void {
    const size = this.#sizes.get(at);
    if (size === undefined) throw new Error(`no extent of the arena begins at ${at}`);
    this.#sizes.delete(at);
    this.#usedBytes -= size;
    this.#join({ start: at, end: at + size });
  }

  /** The smallest free extent that holds `size`. */
  #takeFree(size: number): Pointer | undefined {
    let best: Extent | undefined;
    for (const extent of this.#free) {
      const length = extent.end - extent.start;
      if (length >= size && (best === undefined || length < best.end - best.start)) best = extent;
    }
    if (best === undefined) return undefined;
    const at = best.start;
    best.start += size;
    if (best.start === best.end) this.#free.splice(this.#free.indexOf(best), 1);
    return at;
  }

  #takeTop(size: number): Pointer {
    const last = this.#free.at(-1);
    const at = last !== undefined && last.end === this.#top ? last.start : this.#top;
    this.#grow(at + size, size);
    if (at !== this.#top) this.#free.pop();
    this.#top = at + size;
    return at;
  }

  #grow(end: Pointer, asked: number): void {
    const now = this.#memory.buffer.byteLength;
    if (end <= now) return;
    const full = new ArenaFull(asked, this.#usedBytes, this.budgetBytes);
    if (end > MAX_ARENA_BYTES) throw full;
    const least = Math.ceil((end - now) / PAGE_BYTES);
    const ample = Math.min(Math.ceil((now * GROWTH_SHARE) / PAGE_BYTES), (MAX_ARENA_BYTES - now) / PAGE_BYTES);
    if (!this.#tryGrow(Math.max(least, ample)) && !this.#tryGrow(least)) throw full;
    this.#viewAgain();
  }

  #tryGrow(pages: number): boolean {
    try {
      this.#memory.grow(pages);
      return true;
    } catch {
      // RangeError: the platform refuses; the caller tries less or reports a full arena.
      return false;
    }
  }

  #viewAgain(): void {
    this.#u8 = new Uint8Array(this.#memory.buffer);
    this.#u32 = new Uint32Array(this.#memory.buffer);
    this.#f32 = new Float32Array(this.#memory.buffer);
  }

  #join(extent: Extent): void {
    const free = this.#free;
    let low = 0;
    let high = free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (free[middle]!.start < extent.start) low = middle + 1;
      else high = middle;
    }
    const before = free[low - 1];
    const after = free[low];
    const joinsBefore = before !== undefined && before.end === extent.start;
    const joinsAfter = after !== undefined && after.start === extent.end;
    if (joinsBefore) {
      before.end = joinsAfter ? after.end : extent.end;
      if (joinsAfter) free.splice(low, 1);
    } else if (joinsAfter) after.start = extent.start;
    else free.splice(low, 0, extent);
  }
}
