// The binary snapshot of a vector database: its record, then rows of every shard at one revision each, in blocks.
// Guarantees: a changed, missing, repeated or moved byte is found with its block, and a snapshot without its end is none; a reader holds one
// block. Must not: do I/O.
//
// file  = "JADEVEC1", blocks: one head, rows, one end
// block = u8 kind (1 head, 2 rows, 3 end), u32 bytes of the payload, payload, u32 CRC32C of these, seeded with that of the block before
// head  = JSON: SnapshotHead          rows = row…          end = varint rows
// row   = id, varint version, created ms, updated ms; values (bytes: float32), metadata (bytes: JSON text)
import { ByteReader, ByteWriter, MalformedBytes } from "./bytes.ts";
import { crc32c } from "./crc32c.ts";
import type { VectorInput } from "./vector.ts";

const MIB = 1024 * 1024;
const MAGIC = new TextEncoder().encode("JADEVEC1");
const KIND = { head: 1, rows: 2, end: 3 } as const;
const FRAME_BYTES = 5;
const CRC_BYTES = 4;
/** A writer ends a block with the row that passes this. Bytes. */
export const VECTOR_SNAPSHOT_BLOCK_BYTES = MIB;
const MAX_BLOCK_BYTES = 2 * MIB;
/** Media type of a snapshot. */
export const VECTOR_SNAPSHOT_TYPE = "application/vnd.jade-db.vector-snapshot";

export interface VectorSnapshotHead {
  readonly snapshotId: string;
  readonly databaseId: string;
  readonly createdAtMs: number;
  readonly rows: number;
  readonly vectorDimension: number;
  readonly metric: string;
  /** Of each shard: what the snapshot holds of it, and at which revision. */
  readonly shards: readonly { readonly shard: number; readonly revision: number; readonly rows: number }[];
}

export type VectorSnapshotBlock =
  | { readonly kind: "head"; readonly head: VectorSnapshotHead }
  | { readonly kind: "rows"; readonly rows: readonly VectorInput[] }
  | { readonly kind: "end"; readonly rows: number };

/** Thrown for what is no whole and undamaged snapshot. */
export class DamagedVectorSnapshot extends Error {
  override readonly name = "DamagedVectorSnapshot";
}

/** A row of a block; `before` has the version and times that it keeps. */
export function writeSnapshotRow(writer: ByteWriter, { id, values, metadata, before }: VectorInput): void {
  writer.string(id);
  for (const number of [before!.version, before!.createdMs, before!.updatedMs]) writer.varint(number);
  writer.bytes(values);
  writer.bytes(metadata);
}

export function readSnapshotRow(reader: ByteReader): VectorInput {
  const id = reader.string();
  const before = { version: reader.varint(), createdMs: reader.varint(), updatedMs: reader.varint() };
  return { id, values: reader.bytes(), metadata: reader.bytes(), before };
}

export class VectorSnapshotWriter {
  #crc = crc32c(MAGIC);
  #rows = 0;

  head(head: VectorSnapshotHead): Uint8Array {
    const block = this.#block(KIND.head, new TextEncoder().encode(JSON.stringify(head)));
    const bytes = new Uint8Array(MAGIC.length + block.length);
    bytes.set(MAGIC);
    bytes.set(block, MAGIC.length);
    return bytes;
  }

  /** `rows`: as {@link writeSnapshotRow} wrote them. */
  rows(rows: Uint8Array, count: number): Uint8Array {
    this.#rows += count;
    return this.#block(KIND.rows, rows);
  }

  end(): Uint8Array {
    const writer = new ByteWriter(16);
    writer.varint(this.#rows);
    return this.#block(KIND.end, writer.take());
  }

  #block(kind: number, payload: Uint8Array): Uint8Array {
    const writer = new ByteWriter(payload.length + FRAME_BYTES + CRC_BYTES);
    writer.u8(kind);
    writer.u32(payload.length);
    writer.raw(payload);
    this.#crc = crc32c(writer.view(), this.#crc);
    writer.u32(this.#crc);
    return writer.take();
  }
}

/** Takes pieces of any size; gives blocks as they are whole. */
export class VectorSnapshotReader {
  #held = new Uint8Array(0);
  #crc = crc32c(MAGIC);
  #hasMagic = false;
  #hasHead = false;
  #rows = 0;
  #isEnded = false;

  /** @throws DamagedVectorSnapshot */
  *take(piece: Uint8Array): Generator<VectorSnapshotBlock, void> {
    const joined = new Uint8Array(this.#held.length + piece.length);
    joined.set(this.#held);
    joined.set(piece, this.#held.length);
    let at = 0;
    if (!this.#hasMagic && joined.length >= MAGIC.length) {
      if (!MAGIC.every((byte, index) => joined[index] === byte))
        throw new DamagedVectorSnapshot("is no vector snapshot");
      this.#hasMagic = true;
      at = MAGIC.length;
    }
    while (this.#hasMagic) {
      const length = this.#blockBytes(joined, at);
      if (length === undefined || at + length > joined.length) break;
      yield this.#open(joined.subarray(at, at + length));
      at += length;
    }
    this.#held = joined.slice(at);
  }

  #blockBytes(bytes: Uint8Array, at: number): number | undefined {
    if (bytes.length < at + FRAME_BYTES) return undefined;
    const payload = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 1, true);
    if (payload > MAX_BLOCK_BYTES) throw new DamagedVectorSnapshot(`has a block of ${payload} bytes`);
    return FRAME_BYTES + payload + CRC_BYTES;
  }

  #open(block: Uint8Array): VectorSnapshotBlock {
    if (this.#isEnded) throw new DamagedVectorSnapshot("goes on after its end");
    const body = block.subarray(0, -CRC_BYTES);
    this.#crc = crc32c(body, this.#crc);
    if (new ByteReader(block.subarray(-CRC_BYTES)).u32() !== this.#crc)
      throw new DamagedVectorSnapshot("fails a block's checksum");
    try {
      return this.#parse(body[0]!, body.subarray(FRAME_BYTES));
    } catch (error) {
      if (error instanceof MalformedBytes || error instanceof SyntaxError)
        throw new DamagedVectorSnapshot(`has a malformed block: ${error.message}`);
      throw error;
    }
  }

  #parse(kind: number, payload: Uint8Array): VectorSnapshotBlock {
    if ((kind === KIND.head) === this.#hasHead) throw new DamagedVectorSnapshot("does not begin with its head");
    if (kind === KIND.head) {
      this.#hasHead = true;
      return { kind: "head", head: JSON.parse(new TextDecoder().decode(payload)) as VectorSnapshotHead };
    }
    const reader = new ByteReader(payload);
    if (kind === KIND.rows) {
      const rows: VectorInput[] = [];
      while (!reader.done) rows.push(readSnapshotRow(reader));
      this.#rows += rows.length;
      return { kind: "rows", rows };
    }
    if (kind !== KIND.end) throw new MalformedBytes(`kind ${kind}`);
    const rows = reader.varint();
    if (rows !== this.#rows) throw new DamagedVectorSnapshot(`has ${this.#rows} rows of ${rows}`);
    this.#isEnded = true;
    return { kind: "end", rows };
  }

  /** @throws DamagedVectorSnapshot where the end is missing */
  finish(): number {
    if (!this.#isEnded || this.#held.length > 0) throw new DamagedVectorSnapshot("is cut off");
    return this.#rows;
  }
}
