// The binary snapshot of a configuration keyspace: the state of one revision, in blocks.
// Guarantees: a changed, missing, repeated or moved byte is found, at the latest at the end, and a snapshot without its end is none;
// a reader holds one block. Must not: do I/O.
//
// file  = "JADECFG1", blocks: one head, leases, keys in ascending order, one end
// block = u8 kind, u32 bytes of the payload, payload, u32 CRC32C of all of these
// head  = varint format, revision, term, compacted revision, time in ms; namespace
// lease = id, varint granted ms, varint left ms          key = key, varint create, mod, version; lease, value
// end   = varint keys, leases, revision; u32 CRC32C of everything before this block but for the blocks' own CRCs: over bytes that end in
//         their CRC it would say nothing of them, and blocks of one length could change places
import { ByteReader, ByteWriter, MalformedBytes } from "./bytes.ts";
import type { BinaryKey, KeyValue, LeaseId } from "./config.ts";
import { crc32c } from "./crc32c.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const MAGIC = new TextEncoder().encode("JADECFG1");
const FORMAT = 1;
const KIND = { head: 1, leases: 2, keys: 3, end: 4 } as const;
const FRAME_BYTES = 5;
const CRC_BYTES = 4;

/** A writer ends a block with the entry that passes this. Bytes. */
export const SNAPSHOT_BLOCK_BYTES = MIB;
/** Of a reader: a block and one greatest entry behind it. Bytes of a payload. */
export const MAX_SNAPSHOT_BLOCK_BYTES = SNAPSHOT_BLOCK_BYTES + MIB + 64 * KIB;
/** Leases of one block. */
export const SNAPSHOT_LEASES_PER_BLOCK = 10_000;
/** Media type of a snapshot. */
export const SNAPSHOT_TYPE = "application/vnd.jade-db.config-snapshot";

export interface SnapshotHead {
  readonly revision: number;
  readonly term: number;
  readonly compactedRevision: number;
  readonly takenAtMs: number;
  readonly namespace: string;
}

export interface SnapshotLease {
  readonly id: LeaseId;
  readonly grantedTtlMs: number;
  readonly leftMs: number;
}

export interface SnapshotEnd {
  readonly keys: number;
  readonly leases: number;
  readonly revision: number;
  readonly checksum: number;
}

export type SnapshotBlock =
  | { readonly kind: "head"; readonly head: SnapshotHead }
  | { readonly kind: "leases" | "keys"; readonly payload: Uint8Array }
  | { readonly kind: "end"; readonly end: SnapshotEnd };

/** Thrown for what is no whole and undamaged snapshot. */
export class DamagedSnapshot extends Error {
  override readonly name = "DamagedSnapshot";
}

export function writeSnapshotKey(writer: ByteWriter, kv: KeyValue): void {
  writer.binary(kv.key);
  writer.varint(kv.createRevision);
  writer.varint(kv.modRevision);
  writer.varint(kv.version);
  writer.string(kv.lease);
  writer.bytes(kv.value);
}

/** Values are views into `payload`. Throws MalformedBytes. */
export function* readSnapshotKeys(payload: Uint8Array): Generator<KeyValue> {
  const reader = new ByteReader(payload);
  while (!reader.done) {
    const key: BinaryKey = reader.binary();
    const [createRevision, modRevision, version] = [reader.varint(), reader.varint(), reader.varint()];
    yield { key, createRevision, modRevision, version, lease: reader.string(), value: reader.bytes() };
  }
}

function writeLeases(leases: readonly SnapshotLease[]): Uint8Array {
  const writer = new ByteWriter(32 * leases.length);
  for (const { id, grantedTtlMs, leftMs } of leases) {
    writer.string(id);
    writer.varint(grantedTtlMs);
    writer.varint(leftMs);
  }
  return writer.take();
}

/** Throws MalformedBytes. */
export function readSnapshotLeases(payload: Uint8Array): readonly SnapshotLease[] {
  const reader = new ByteReader(payload);
  const leases: SnapshotLease[] = [];
  while (!reader.done) leases.push({ id: reader.string(), grantedTtlMs: reader.varint(), leftMs: reader.varint() });
  return leases;
}

/** Gives a snapshot's bytes, piece by piece, in the order of its methods. */
export class SnapshotWriter {
  #checksum = 0;
  #revision = 0;
  #keys = 0;
  #leases = 0;

  head(head: SnapshotHead): Uint8Array {
    this.#revision = head.revision;
    this.#checksum = crc32c(MAGIC);
    const payload = new ByteWriter(128);
    for (const field of [FORMAT, head.revision, head.term, head.compactedRevision, head.takenAtMs])
      payload.varint(field);
    payload.string(head.namespace);
    const block = this.#block(KIND.head, payload.view());
    const bytes = new Uint8Array(MAGIC.length + block.length);
    bytes.set(MAGIC);
    bytes.set(block, MAGIC.length);
    return bytes;
  }

  leases(leases: readonly SnapshotLease[]): Uint8Array {
    this.#leases += leases.length;
    return this.#block(KIND.leases, writeLeases(leases));
  }

  /** `payload`: of writeSnapshotKey. */
  keys(payload: Uint8Array, count: number): Uint8Array {
    this.#keys += count;
    return this.#block(KIND.keys, payload);
  }

  end(): Uint8Array {
    const payload = new ByteWriter(64);
    for (const field of [this.#keys, this.#leases, this.#revision]) payload.varint(field);
    payload.u32(this.#checksum);
    return this.#block(KIND.end, payload.view());
  }

  #block(kind: number, payload: Uint8Array): Uint8Array {
    const writer = new ByteWriter(payload.length + FRAME_BYTES + CRC_BYTES);
    writer.u8(kind);
    writer.u32(payload.length);
    writer.raw(payload);
    writer.u32(crc32c(writer.view()));
    const block = writer.take();
    this.#checksum = crc32c(block.subarray(0, -CRC_BYTES), this.#checksum);
    return block;
  }
}

/** Takes a snapshot's bytes in pieces of any size; gives its blocks, each checked. */
export class SnapshotReader {
  #pieces: Uint8Array[] = [];
  #held = 0;
  /** Fewer bytes hold nothing new. */
  #needed = 1;
  #passed = 0;
  #checksum = 0;
  #hasMagic = false;
  #last: SnapshotBlock["kind"] | undefined;
  head: SnapshotHead | undefined;
  end: SnapshotEnd | undefined;

  /** Throws DamagedSnapshot. Payloads are their taker's. */
  *take(chunk: Uint8Array): Generator<SnapshotBlock> {
    this.#pieces.push(chunk);
    this.#held += chunk.length;
    // Joined once a block is whole: a piece may be small.
    if (this.#held < this.#needed) return;
    const bytes = this.#joined();
    let at = 0;
    for (;;) {
      const used = this.#hasMagic ? this.#frameAt(bytes, at) : this.#magicAt(bytes);
      if (used === 0) break;
      const frame = bytes.subarray(at, at + used);
      at += used;
      if (!this.#hasMagic) {
        this.#hasMagic = true;
        this.#checksum = crc32c(frame);
      } else yield this.#read(frame);
      this.#passed += used;
    }
    const rest = bytes.slice(at);
    this.#pieces = [rest];
    this.#held = rest.length;
    this.#needed = this.#hasMagic && rest.length >= FRAME_BYTES ? this.#frameBytes(rest, 0) : rest.length + 1;
  }

  /** Throws DamagedSnapshot where the snapshot has not ended. */
  finish(): SnapshotEnd {
    if (this.end && this.#held === 0) return this.end;
    throw this.#damaged(this.end ? "has bytes behind its end" : "is cut off");
  }

  #magicAt(bytes: Uint8Array): number {
    const seen = bytes.subarray(0, MAGIC.length);
    if (seen.some((byte, at) => byte !== MAGIC[at]))
      throw this.#damaged("is not a snapshot of a configuration keyspace");
    return seen.length === MAGIC.length ? seen.length : 0;
  }

  /** The length of the block that begins at `at`; 0 = there is more to come. */
  #frameAt(bytes: Uint8Array, at: number): number {
    if (this.end && at < bytes.length) throw this.#damaged("has bytes behind its end");
    if (bytes.length - at < FRAME_BYTES) return 0;
    const used = this.#frameBytes(bytes, at);
    return bytes.length - at < used ? 0 : used;
  }

  #frameBytes(bytes: Uint8Array, at: number): number {
    const length = new ByteReader(bytes, at + 1).u32();
    if (length > MAX_SNAPSHOT_BLOCK_BYTES) throw this.#damaged(`has a block of ${length} bytes`);
    return FRAME_BYTES + length + CRC_BYTES;
  }

  #joined(): Uint8Array {
    if (this.#pieces.length === 1) return this.#pieces[0]!;
    const bytes = new Uint8Array(this.#held);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  #read(frame: Uint8Array): SnapshotBlock {
    const body = frame.subarray(0, frame.length - CRC_BYTES);
    if (new ByteReader(frame, body.length).u32() !== crc32c(body)) throw this.#damaged("fails a block's checksum");
    const block = this.#blockOf(frame[0]!, body.slice(FRAME_BYTES));
    const isFirst = this.#last === undefined;
    if (isFirst !== (block.kind === "head")) throw this.#damaged("has its blocks in another order");
    if (block.kind === "leases" && this.#last === "keys") throw this.#damaged("has its blocks in another order");
    if (block.kind === "head") this.head = block.head;
    if (block.kind === "end") this.#checkEnd(block.end);
    this.#last = block.kind;
    this.#checksum = crc32c(body, this.#checksum);
    return block;
  }

  #blockOf(kind: number, payload: Uint8Array): SnapshotBlock {
    const reader = new ByteReader(payload);
    try {
      switch (kind) {
        case KIND.head: {
          const format = reader.varint();
          if (format !== FORMAT) throw this.#damaged(`has format ${format}; this version reads ${FORMAT}`);
          const [revision, term, compactedRevision, takenAtMs] = [0, 0, 0, 0].map(() => reader.varint()) as Four;
          const head = { revision, term, compactedRevision, takenAtMs, namespace: reader.string() };
          return { kind: "head", head };
        }
        case KIND.leases:
          return { kind: "leases", payload };
        case KIND.keys:
          return { kind: "keys", payload };
        case KIND.end: {
          const [keys, leases, revision] = [reader.varint(), reader.varint(), reader.varint()];
          return { kind: "end", end: { keys, leases, revision, checksum: reader.u32() } };
        }
        default:
          throw this.#damaged(`has a block of the unknown kind ${kind}`);
      }
    } catch (error) {
      if (error instanceof MalformedBytes) throw this.#damaged(`has a malformed block: ${error.message}`);
      throw error;
    }
  }

  #checkEnd(end: SnapshotEnd): void {
    if (end.checksum !== this.#checksum)
      throw this.#damaged("fails its checksum: a block is missing, repeated or moved");
    if (end.revision !== this.head?.revision) throw this.#damaged("ends at another revision than it begins with");
    this.end = end;
  }

  #damaged(what: string): DamagedSnapshot {
    return new DamagedSnapshot(`the snapshot ${what} (at byte ${this.#passed})`);
  }
}

type Four = [number, number, number, number];
