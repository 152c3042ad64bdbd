// What a segment consists of: its sections, their blocks, and the blobs these lie in. Byte by byte in docs/vector-segments.md.
// Guarantees: a directory carries its own CRC32C; one that does not hold together throws CorruptSegment. Must not: do I/O.
import { ByteReader, ByteWriter, MalformedBytes } from "../../wire/bytes.ts";
import { MAX_SECTIONS } from "./limits.ts";

export type Crc32c = (bytes: Uint8Array, seed?: number) => number;

/** Stored bytes that are not what was written: never served; the message says where. */
export class CorruptSegment extends Error {
  override readonly name = "CorruptSegment";
  /** Where it is a block of a blob: another copy may have it. */
  readonly block: DamagedBlock | undefined;

  constructor(message: string, block?: DamagedBlock) {
    super(message);
    this.block = block;
  }
}

export interface DamagedBlock {
  readonly blob: string;
  readonly section: string;
  /** Its number in the section. */
  readonly number: number;
  readonly block: Block;
}

/** 0: as it is. 1: packed as lz.ts does. */
export type Codec = 0 | 1;

export interface Block {
  /** Bytes when decoded. */
  readonly rawBytes: number;
  /** Where it is stored: part number, offset and bytes within it. */
  readonly part: number;
  readonly offset: number;
  readonly storedBytes: number;
  readonly codec: Codec;
  /** CRC32C of the stored bytes, seeded with the place (section, block number). */
  readonly crc: number;
  /** The first row of the block, in sections of rows; else 0. */
  readonly firstRow: number;
}

export interface Section {
  readonly name: string;
  readonly rawBytes: number;
  readonly blocks: readonly Block[];
  /** Blob names, in order. */
  readonly parts: readonly string[];
}

export interface Directory {
  readonly rowCount: number;
  readonly dimension: number;
  readonly sections: ReadonlyMap<string, Section>;
}

const MAGIC = 0x3153_564a; // "JVS1"
const VERSION = 1;

export function writeDirectory({ rowCount, dimension, sections }: Directory, crc32c: Crc32c): Uint8Array {
  const writer = new ByteWriter(64 * 1024);
  writer.u32(MAGIC);
  writer.u32(VERSION);
  writer.varint(rowCount);
  writer.varint(dimension);
  writer.varint(sections.size);
  for (const { name, rawBytes, blocks, parts } of sections.values()) {
    writer.string(name);
    writer.varint(rawBytes);
    writer.varint(parts.length);
    for (const part of parts) writer.string(part);
    writer.varint(blocks.length);
    for (const block of blocks) {
      writer.varint(block.rawBytes);
      writer.varint(block.part);
      writer.varint(block.offset);
      writer.varint(block.storedBytes);
      writer.u8(block.codec);
      writer.u32(block.crc);
      writer.varint(block.firstRow);
    }
  }
  writer.u32(crc32c(writer.view()));
  return writer.take();
}

export function readDirectory(bytes: Uint8Array, crc32c: Crc32c): Directory {
  const end = bytes.length - 4;
  if (end < 8 || crc32c(bytes.subarray(0, end)) !== new DataView(bytes.buffer, bytes.byteOffset).getUint32(end, true))
    throw new CorruptSegment("a segment's directory fails its CRC32C");
  try {
    return parse(new ByteReader(bytes.subarray(0, end)), end);
  } catch (error) {
    if (error instanceof MalformedBytes)
      throw new CorruptSegment(`a segment's directory is malformed: ${error.message}`);
    throw error;
  }
}

/** `mostEntries`: no list can be longer than the directory itself. */
function parse(reader: ByteReader, mostEntries: number): Directory {
  if (reader.u32() !== MAGIC) throw new MalformedBytes("no directory");
  const version = reader.u32();
  if (version !== VERSION) throw new MalformedBytes(`version ${version}; this build reads ${VERSION}`);
  const rowCount = reader.varint();
  const dimension = reader.varint();
  const sections = new Map<string, Section>();
  const sectionCount = bounded(reader.varint(), MAX_SECTIONS);
  for (let at = 0; at < sectionCount; at++) {
    const section = parseSection(reader, mostEntries);
    sections.set(section.name, section);
  }
  return { rowCount, dimension, sections };
}

function parseSection(reader: ByteReader, mostEntries: number): Section {
  const name = reader.string();
  const rawBytes = reader.varint();
  const parts = Array.from({ length: bounded(reader.varint(), mostEntries) }, () => reader.string());
  const blocks = Array.from({ length: bounded(reader.varint(), mostEntries) }, () => parseBlock(reader, parts.length));
  return { name, rawBytes, blocks, parts };
}

function parseBlock(reader: ByteReader, partCount: number): Block {
  const rawBytes = reader.varint();
  const part = reader.varint();
  if (part >= partCount) throw new MalformedBytes(`part ${part} of ${partCount}`);
  const offset = reader.varint();
  const storedBytes = reader.varint();
  const codec = reader.u8();
  if (codec !== 0 && codec !== 1) throw new MalformedBytes(`codec ${codec}`);
  return { rawBytes, part, offset, storedBytes, codec, crc: reader.u32(), firstRow: reader.varint() };
}

function bounded(count: number, most: number): number {
  if (count > most) throw new MalformedBytes(`${count} entries; at most ${most}`);
  return count;
}
