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
  start: number;
  end: number;
}

/** So many pieces of a turn are worth a log row each; more are copied together. */
const MAX_PIECES = 8;

export class Arena {
  readonly #chunks: Buffer[] = [];
  #current: Buffer;
  #currentIndex: number;
  #used = 0;
  #regions: Region[] = [];
  #region: Region | undefined;
  /** Where the turn's first entry stands. */
  #turnStart = 0;
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
    if (this.#regions.length === 0) this.#turnStart = position;
    const region = this.#region;
    if (region !== undefined && region.buffer === buffer && region.end === start) {
      region.end = start + usedBytes;
      return;
    }
    this.#region = { buffer, start, end: start + usedBytes };
    this.#regions.push(this.#region);
  }

  /**
   * The entry is of no use to a log any more: a later one of the turn takes its place. Its bytes stay, for views of them; entries of
   * earlier turns are left alone.
   */
  supersede(position: number, sizeBytes: number): void {
    if (position < this.#turnStart) return;
    const buffer = this.#chunks[position >> CHUNK_SHIFT]!;
    const start = position & CHUNK_MASK;
    const regions = this.#regions;
    for (let i = regions.length - 1; i >= 0; i--) {
      const region = regions[i]!;
      if (region.buffer !== buffer || region.start > start || region.end <= start) continue;
      const end = start + sizeBytes;
      if (region.start === start) region.start = end;
      else {
        regions.splice(i, 0, { buffer, start: region.start, end: start });
        region.start = end;
      }
      return;
    }
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
    const regions = this.#regions.filter(({ start, end }) => start < end);
    this.#regions = [];
    this.#region = undefined;
    return regions.length <= MAX_PIECES ? regions : together(regions);
  }

  /** Copies `bytes` (whole entries, at most one chunk unless a single entry) in; returns the position. Used by recovery. */
  append(bytes: Uint8Array): number {
    const position = this.reserve(bytes.length);
    this.bufferAt(position).u8.set(bytes, position & CHUNK_MASK);
    this.commit(position, bytes.length);
    return position;
  }
}

/** The same entries in few stretches, each of at most a chunk; one that is larger stays alone. */
function together(regions: readonly Region[]): Region[] {
  const joined: Region[] = [];
  for (let from = 0; from < regions.length; ) {
    let to = from;
    let sizeBytes = 0;
    while (to < regions.length) {
      const next = regions[to]!.end - regions[to]!.start;
      if (to > from && sizeBytes + next > CHUNK_BYTES) break;
      sizeBytes += next;
      to++;
    }
    const bytes = new Uint8Array(sizeBytes);
    let at = 0;
    for (const { buffer, start, end } of regions.slice(from, to)) {
      bytes.set(buffer.u8.subarray(start, end), at);
      at += end - start;
    }
    joined.push({ buffer: bufferOf(bytes), start: 0, end: sizeBytes });
    from = to;
  }
  return joined;
}
