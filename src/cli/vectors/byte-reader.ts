// Takes pieces of known length from a stream of bytes.
// Guarantees: holds one chunk of the stream and the piece that was asked for, no more.

const EMPTY = new Uint8Array(0);

export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = EMPTY;
  #at = 0;
  /** Bytes taken so far. */
  offset = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** So many bytes, in memory of their own; fewer where the stream ends before. */
  async take(byteCount: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(byteCount);
    let filled = 0;
    while (filled < byteCount && (await this.#hasMore())) {
      const part = this.#chunk.subarray(this.#at, this.#at + byteCount - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.#at += part.length;
    }
    this.offset += filled;
    return filled === byteCount ? bytes : bytes.subarray(0, filled);
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #hasMore(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      const next = await this.#source.next();
      if (next.done) return false;
      this.#chunk = next.value;
      this.#at = 0;
    }
    return true;
  }
}
