// The durable truth about a shard's segments: which there are, which of their rows are deleted, how far they cover the log.
// Guarantees: everything is under a CRC32C and compared when read. Call what changes it within one transaction.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { BitSet } from "../metadata/bit-set.ts";
import { CorruptSegment, type Crc32c, type Directory, readDirectory, writeDirectory } from "../segment/directory.ts";
import { DELETED_PAGE_WORDS, DIRECTORY_PART_BYTES } from "./limits.ts";

export interface StoredSegment {
  readonly number: number;
  readonly directory: Directory;
  readonly deleted: BitSet;
}

// chain: of the commit `revision`.
const NUMBERS = [
  ...["term", "logThrough", "revision", "chain", "nextSegment", "segmentCount"],
  // Of copies: the leader's start; what must have been applied before anything is shown.
  ...["start", "asOf"],
] as const;
export type ManifestNumber = (typeof NUMBERS)[number];

const encoder = new TextEncoder();

export class Manifest {
  readonly #sql: SqlStorage;
  readonly #crc32c: Crc32c;
  readonly #numbers = new Map<ManifestNumber, number>();

  /** @throws CorruptSegment */
  constructor(sql: SqlStorage, crc32c: Crc32c) {
    this.#sql = sql;
    this.#crc32c = crc32c;
    const rows = sql.exec<{ name: ManifestNumber; value: number; crc: number }>("SELECT * FROM vector_numbers");
    for (const { name, value, crc } of rows) {
      if (crc !== this.#numberCrc(name, value))
        throw new CorruptSegment(`the manifest's number ${name} fails its CRC32C`);
      this.#numbers.set(name, value);
    }
  }

  #numberCrc(name: string, value: number): number {
    return this.#crc32c(encoder.encode(`${name}=${value}`));
  }

  get(name: ManifestNumber): number {
    return this.#numbers.get(name) ?? 0;
  }

  set(name: ManifestNumber, value: number): void {
    this.#numbers.set(name, value);
    const crc = this.#numberCrc(name, value);
    drain(
      this.#sql.exec("INSERT OR REPLACE INTO vector_numbers (name, value, crc) VALUES (?, ?, ?)", name, value, crc),
    );
  }

  /** @throws CorruptSegment */
  segments(): readonly StoredSegment[] {
    const rows = [
      ...this.#sql.exec<{ number: number; directory: ArrayBuffer }>(
        "SELECT number, directory FROM vector_segments ORDER BY number",
      ),
    ];
    if (rows.length !== this.get("segmentCount"))
      throw new CorruptSegment(`the manifest has ${rows.length} segments; ${this.get("segmentCount")} were written`);
    return rows.map(({ number, directory: bytes }) => {
      const directory = readDirectory(this.#wholeDirectory(number, new Uint8Array(bytes)), this.#crc32c);
      return { number, directory, deleted: this.#deletedOf(number, directory.rowCount) };
    });
  }

  /** A missing part fails the directory's own checksum. */
  #wholeDirectory(segment: number, first: Uint8Array): Uint8Array {
    const query = "SELECT bytes FROM vector_directory_parts WHERE segment = ? ORDER BY part";
    const rest = [...this.#sql.exec<{ bytes: ArrayBuffer }>(query, segment)].map(({ bytes }) => new Uint8Array(bytes));
    if (rest.length === 0) return first;
    const whole = new Uint8Array(rest.reduce((sum, { length }) => sum + length, first.length));
    let at = 0;
    for (const part of [first, ...rest]) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  /** Large directories in several rows: one of a million rows of 768 values has nine megabytes, on Cloudflare a row holds two. */
  #storeDirectory(segment: number, directory: Directory): void {
    const bytes = writeDirectory(directory, this.#crc32c);
    const query = "INSERT OR REPLACE INTO vector_segments (number, directory) VALUES (?, ?)";
    drain(this.#sql.exec(query, segment, bytes.subarray(0, DIRECTORY_PART_BYTES)));
    drain(this.#sql.exec("DELETE FROM vector_directory_parts WHERE segment = ?", segment));
    for (let from = DIRECTORY_PART_BYTES; from < bytes.length; from += DIRECTORY_PART_BYTES) {
      const part = bytes.subarray(from, from + DIRECTORY_PART_BYTES);
      const insert = "INSERT INTO vector_directory_parts (segment, part, bytes) VALUES (?, ?, ?)";
      drain(this.#sql.exec(insert, segment, from / DIRECTORY_PART_BYTES, part));
    }
  }

  #deletedOf(segment: number, rowCount: number): BitSet {
    const deleted = new BitSet(rowCount);
    const rows = this.#sql.exec<{ page: number; crc: number; words: ArrayBuffer }>(
      "SELECT page, crc, words FROM vector_deleted WHERE segment = ? ORDER BY page",
      segment,
    );
    for (const { page, crc, words } of rows) {
      const bytes = new Uint8Array(words);
      const at = page * DELETED_PAGE_WORDS;
      if (crc !== this.#pageCrc(segment, page, bytes) || at + bytes.length / 4 > deleted.words.length)
        throw new CorruptSegment(`page ${page} of the deleted rows of segment ${segment} fails its CRC32C`);
      deleted.words.set(new Uint32Array(words), at);
    }
    return deleted;
  }

  #pageCrc(segment: number, page: number, bytes: Uint8Array): number {
    return this.#crc32c(bytes, this.#crc32c(encoder.encode(`${segment}/${page}`)));
  }

  /** A number that no segment had. */
  nextNumber(): number {
    const number = this.get("nextSegment") + 1;
    this.set("nextSegment", number);
    return number;
  }

  add(number: number, directory: Directory): void {
    this.#storeDirectory(number, directory);
    this.set("segmentCount", this.get("segmentCount") + 1);
  }

  /** The same segment with other indexes. */
  replace(number: number, directory: Directory): void {
    this.#storeDirectory(number, directory);
  }

  remove(number: number): void {
    drain(this.#sql.exec("DELETE FROM vector_segments WHERE number = ?", number));
    drain(this.#sql.exec("DELETE FROM vector_directory_parts WHERE segment = ?", number));
    drain(this.#sql.exec("DELETE FROM vector_deleted WHERE segment = ?", number));
    this.set("segmentCount", this.get("segmentCount") - 1);
  }

  /** Writes one page of a segment's deleted rows. */
  storeDeleted(segment: number, page: number, deleted: BitSet): void {
    const from = page * DELETED_PAGE_WORDS;
    const words = deleted.words.slice(from, from + DELETED_PAGE_WORDS);
    const bytes = new Uint8Array(words.buffer);
    const crc = this.#pageCrc(segment, page, bytes);
    drain(
      this.#sql.exec(
        "INSERT OR REPLACE INTO vector_deleted (segment, page, crc, words) VALUES (?, ?, ?, ?)",
        segment,
        page,
        crc,
        bytes,
      ),
    );
  }
}
