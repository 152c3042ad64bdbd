// Checksums of the rows that are not records: index rows and facts.
// Guarantees: a changed field, or a row under another key, does not match. Must not: read or write storage.
import { ByteReader, ByteWriter } from "../wire/bytes.ts";
import type { BinaryKey } from "../wire/config.ts";
import { bytesOfKey, keyOfText } from "../wire/config-keys.ts";
import { CorruptRecord, type Crc32c } from "./record.ts";

interface IndexRow {
  readonly seq: number;
  readonly modRevision: number;
  readonly createRevision: number;
  readonly version: number;
  readonly lease: string;
}

/** Living versions have no end. */
const ALIVE = 0;

export class IndexCheck {
  readonly #crc32c: Crc32c;
  readonly #writer = new ByteWriter(64);

  constructor(crc32c: Crc32c) {
    this.#crc32c = crc32c;
  }

  /** In the order of VERSION_COLUMNS (index-rows.ts). */
  rowOf(version: IndexRow & { readonly key: BinaryKey }, ended = ALIVE) {
    const key = bytesOfKey(version.key);
    const { seq, modRevision, createRevision, version: count, lease } = version;
    return [key, seq, modRevision, createRevision, count, lease, this.crcOf(key, version, ended)] as const;
  }

  /** `ended`: the revision that ended the version. */
  crcOf(key: Uint8Array, row: IndexRow, ended = ALIVE): number {
    const writer = this.#writer;
    writer.reset();
    writer.varint(row.seq);
    writer.varint(row.modRevision);
    writer.varint(row.createRevision);
    writer.varint(row.version);
    writer.string(row.lease);
    writer.varint(ended);
    return this.#crc32c(key, this.#crc32c(writer.view()));
  }

  factBytes(name: string, value: number): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    writer.u32(0);
    writer.varint(value);
    writer.u32At(0, this.#factCrc(name, writer.view().subarray(4)));
    return writer.take();
  }

  factOf(name: string, bytes: Uint8Array): number {
    const reader = new ByteReader(bytes);
    if (reader.u32() !== this.#factCrc(name, bytes.subarray(4))) {
      throw new CorruptRecord(`the fact ${name} fails its checksum`);
    }
    return reader.varint();
  }

  #factCrc(name: string, value: Uint8Array): number {
    return this.#crc32c(value, this.#crc32c(bytesOfKey(keyOfText(name))));
  }
}
