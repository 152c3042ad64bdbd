// Sections of a segment as blobs of checked blocks: written in slices, read by block.
// Guarantees: a block is served only when its CRC32C, seeded with its section and number, fits; else CorruptSegment names it.
// Must not: know what a section holds.
import type { SyncBlobStore } from "../../storage/types.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import { AwayBlocks, type BlobRange, type SegmentBlobs } from "./away.ts";
import { type Block, type Codec, CorruptSegment, type Crc32c, type Section } from "./directory.ts";
import { BLOCK_CACHE_BYTES, MOST_PACKED_SHARE, PART_BYTES } from "./limits.ts";
import { pack, unpack } from "./lz.ts";

const encoder = new TextEncoder();

/** A block in another's place must not pass for it. */
export function blockCrc(crc32c: Crc32c, section: string, number: number, stored: Uint8Array): number {
  return crc32c(stored, crc32c(encoder.encode(`${section}#${number}`)));
}

export interface SectionWriterOptions {
  readonly name: string;
  readonly blobs: Pick<SyncBlobStore, "putSync">;
  readonly crc32c: Crc32c;
  /** A blob name that was never used, with its intent recorded. */
  readonly nextName: () => string;
  /** Blocks are compressed where that makes them smaller. */
  readonly isPacked?: boolean | undefined;
}

/** Appends blocks; writes a blob whenever one is full, so a call writes at most about PART_BYTES. */
export class SectionWriter {
  readonly #options: SectionWriterOptions;
  readonly #blocks: Block[] = [];
  readonly #parts: string[] = [];
  #pending: Uint8Array[] = [];
  #cuts: number[] = [];
  #pendingBytes = 0;
  #rawBytes = 0;

  constructor(options: SectionWriterOptions) {
    this.#options = options;
  }

  /** Takes `raw` over. */
  block(raw: Uint8Array, firstRow = 0): void {
    const { name, crc32c, isPacked } = this.#options;
    const packed = isPacked ? pack(raw) : undefined;
    const isSmaller = packed !== undefined && packed.length <= raw.length * MOST_PACKED_SHARE;
    const codec: Codec = isSmaller ? 1 : 0;
    const stored = isSmaller ? packed : raw;
    if (this.#pendingBytes > 0 && this.#pendingBytes + stored.length > PART_BYTES) this.#flush();
    this.#blocks.push({
      rawBytes: raw.length,
      part: this.#parts.length,
      offset: this.#pendingBytes,
      storedBytes: stored.length,
      codec,
      crc: blockCrc(crc32c, name, this.#blocks.length, stored),
      firstRow,
    });
    this.#pending.push(stored);
    this.#pendingBytes += stored.length;
    this.#rawBytes += raw.length;
    this.#cuts.push(this.#pendingBytes);
  }

  #flush(): void {
    const whole = new Uint8Array(this.#pendingBytes);
    let at = 0;
    for (const bytes of this.#pending) {
      whole.set(bytes, at);
      at += bytes.length;
    }
    const name = this.#options.nextName();
    this.#options.blobs.putSync(name, whole, this.#cuts.slice(0, -1));
    this.#parts.push(name);
    this.#pending = [];
    this.#cuts = [];
    this.#pendingBytes = 0;
  }

  finish(): Section {
    if (this.#pendingBytes > 0) this.#flush();
    return { name: this.#options.name, rawBytes: this.#rawBytes, blocks: this.#blocks, parts: this.#parts };
  }
}

/** Decoded blocks that were read last, over all segments of a shard. */
export class BlockCache {
  readonly #blocks = new Map<Block, Uint8Array>();
  readonly #budgetBytes: number;
  #bytes = 0;

  constructor(budgetBytes = BLOCK_CACHE_BYTES) {
    this.#budgetBytes = budgetBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(block: Block): Uint8Array | undefined {
    const bytes = this.#blocks.get(block);
    if (bytes) {
      // Maps keep the order of insertion: what was asked for last goes last.
      this.#blocks.delete(block);
      this.#blocks.set(block, bytes);
    }
    return bytes;
  }

  add(block: Block, bytes: Uint8Array): void {
    this.#blocks.set(block, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, old] of this.#blocks) {
      if (this.#bytes <= this.#budgetBytes) return;
      this.#blocks.delete(oldest);
      this.#bytes -= old.length;
    }
  }
}

export interface SectionReaderOptions {
  readonly section: Section;
  readonly blobs: SegmentBlobs;
  readonly crc32c: Crc32c;
  readonly cache: BlockCache;
}

export class SectionReader {
  readonly section: Section;
  readonly #blobs: SegmentBlobs;
  readonly #crc32c: Crc32c;
  readonly #cache: BlockCache;

  constructor({ section, blobs, crc32c, cache }: SectionReaderOptions) {
    this.section = section;
    this.#blobs = blobs;
    this.#crc32c = crc32c;
    this.#cache = cache;
  }

  /** Of the blocks that will be read: all that is in the blob store. @throws AwayBlocks */
  require(numbers: Iterable<number>): void {
    const { away } = this.#blobs;
    if (!away?.isAny) return;
    const ranges: BlobRange[] = [];
    for (const number of new Set(numbers)) {
      const block = this.section.blocks[number]!;
      const range = { blob: this.section.parts[block.part]!, offset: block.offset, bytes: block.storedBytes };
      if (away.lacks(range) && !this.#cache.get(block)) ranges.push(range);
    }
    if (ranges.length > 0) throw new AwayBlocks(ranges);
  }

  /** The decoded block; not to be changed. @throws CorruptSegment, AwayBlocks */
  block(number: number, isKept = true): Uint8Array {
    const block = this.section.blocks[number]!;
    const cached = this.#cache.get(block);
    if (cached) return cached;
    const bytes = this.#read(block, number);
    if (isKept) this.#cache.add(block, bytes);
    return bytes;
  }

  #read(block: Block, number: number): Uint8Array {
    const { name, parts } = this.section;
    const blob = parts[block.part]!;
    const stored = this.#blobs.getSync(blob, block.offset, block.storedBytes);
    const place = `block ${number} of section ${name} (blob ${blob})`;
    const damaged = { blob, section: name, number, block };
    if (!stored) throw new CorruptSegment(`${place} is missing`, damaged);
    if (blockCrc(this.#crc32c, name, number, stored) !== block.crc)
      throw new CorruptSegment(`${place} fails its CRC32C`, damaged);
    if (block.codec === 0) return stored;
    try {
      return unpack(stored, block.rawBytes);
    } catch (error) {
      if (error instanceof MalformedBytes) throw new CorruptSegment(`${place}: ${error.message}`, damaged);
      throw error;
    }
  }

  /** The whole section into `target`, from block to block; past the cache, which it would only empty. */
  *load(target: (offset: number, length: number) => Uint8Array): Generator<void, void> {
    let offset = 0;
    for (const [number, block] of this.section.blocks.entries()) {
      target(offset, block.rawBytes).set(this.#read(block, number));
      offset += block.rawBytes;
      yield;
    }
  }

  /** The whole section, for small ones. */
  all(): Uint8Array {
    const bytes = new Uint8Array(this.section.rawBytes);
    for (const _ of this.load((offset) => bytes.subarray(offset))) {
      // Read to its end.
    }
    return bytes;
  }
}
