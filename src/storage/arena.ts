// Append-only memory of one memtable: every log entry of it, in chunks that are also what the commit log writes.
// Guarantees: a position names an entry for the arena's life (views stay valid); entries never straddle chunks; the regions of
// a turn come out in write order. Must not: know entry contents. One copy per put serves the log, the memtable and the flush.

import { type Buffer, bufferOf } from "./row-format.ts";

const CHUNK_SHIFT = 19;
const CHUNK_BYTES = 1 << CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_BYTES - 1;
/** Entries above this get a chunk of their own, so that at most a quarter of a chunk is left unused. */
const OWN_CHUNK_BYTES = CHUNK_BYTES / 4;
/** Chunks a position can name within 30 bits, which stay small integers in every V8 build. */
const MAX_CHUNKS = 1 << 11;

/** Bytes of one chunk written since the last {@link Arena.takeRegions}. */
export interface Region {
  readonly buffer: Buffer;
  readonly start: number;
  end: number;
}

export class Arena {
  readonly #chunks: Buffer[] = [];
  #current: Buffer;
  #currentIndex: number;
  #used = 0;
  #regions: Region[] = [];
  #region: Region | undefined;
  /** Bytes of entries written. */
  bytes = 0;

  constructor() {
    this.#current = bufferOf(new Uint8Array(CHUNK_BYTES));
    this.#currentIndex = this.#chunks.push(this.#current) - 1;
  }

  /** Position of a free stretch of at least `maxBytes`; write there, then call {@link commit} with what was used. */
  reserve(maxBytes: number): number {
    if (maxBytes > OWN_CHUNK_BYTES) return this.#ownChunk(maxBytes);
    if (this.#used + maxBytes > CHUNK_BYTES) {
      this.#current = bufferOf(new Uint8Array(CHUNK_BYTES));
      this.#currentIndex = this.#push(this.#current);
      this.#used = 0;
    }
    return (this.#currentIndex << CHUNK_SHIFT) | this.#used;
  }

  #ownChunk(maxBytes: number): number {
    return this.#push(bufferOf(new Uint8Array(maxBytes))) << CHUNK_SHIFT;
  }

  #push(chunk: Buffer): number {
    if (this.#chunks.length >= MAX_CHUNKS) throw new RangeError(`one memtable holds at most ${MAX_CHUNKS} chunks`);
    return this.#chunks.push(chunk) - 1;
  }

  /** Takes `usedBytes` at the position that `reserve` gave. */
  commit(position: number, usedBytes: number): void {
    const chunkIndex = position >> CHUNK_SHIFT;
    const start = position & CHUNK_MASK;
    this.bytes += usedBytes;
    const buffer = this.#chunks[chunkIndex]!;
    if (chunkIndex === this.#currentIndex) this.#used = start + usedBytes;
    const region = this.#region;
    if (region !== undefined && region.buffer === buffer && region.end === start) {
      region.end = start + usedBytes;
      return;
    }
    this.#region = { buffer, start, end: start + usedBytes };
    this.#regions.push(this.#region);
  }

  /** The chunk of a position. */
  bufferAt(position: number): Buffer {
    return this.#chunks[position >> CHUNK_SHIFT]!;
  }

  /** The offset of a position in its chunk. */
  offsetAt(position: number): number {
    return position & CHUNK_MASK;
  }

  /** True when something was written since the last `takeRegions`. */
  get dirty(): boolean {
    return this.#regions.length > 0;
  }

  /** What was written since the last call, in order. */
  takeRegions(): readonly Region[] {
    const regions = this.#regions;
    this.#regions = [];
    this.#region = undefined;
    return regions;
  }

  /** Copies `bytes` (whole entries, at most one chunk unless a single entry) in; returns the position. Used by recovery. */
  append(bytes: Uint8Array): number {
    const position = this.reserve(bytes.length);
    this.bufferAt(position).u8.set(bytes, position & CHUNK_MASK);
    this.commit(position, bytes.length);
    return position;
  }
}
