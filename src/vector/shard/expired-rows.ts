// Rows that retention took from a shard and that are kept, by `archiveOnExpire`: in blobs of their own, which no search sees and no memory holds,
// in the form of a snapshot's rows (wire/vector-snapshot.ts). ColdBlobs moves full ones to the blob store.
// Guarantees: a row is here in the commit in which it leaves the shard; what is read fits its checksum (CorruptSegment). Call what changes it
// within one turn. Must not: know the rows' shard.
import { drain, firstOf } from "../../storage/drain.ts";
import type { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { SqlStorage } from "../../storage/types.ts";
import { ByteWriter } from "../../wire/bytes.ts";
import { writeSnapshotRow } from "../../wire/vector-snapshot.ts";
import { CorruptSegment, type Crc32c } from "../segment/directory.ts";
import type { VectorRow } from "../segment/row.ts";
import { EXPIRED_PART_BYTES } from "./limits.ts";

export interface ExpiredInfo {
  /** What comes later is in parts behind this one; 0 = there are none. */
  readonly lastPart: number;
  readonly parts: number;
  readonly rows: number;
  readonly bytes: number;
  /** When the first and the last of them were last written. Ms; null = there are none. */
  readonly oldestMs: number | null;
  readonly newestMs: number | null;
}

export interface ExpiredPage {
  /** Of the next page: what is behind it. */
  readonly part: number;
  /** As writeSnapshotRow wrote them. */
  readonly rows: Uint8Array;
  readonly count: number;
}

interface Part {
  readonly part: number;
  readonly name: string;
  readonly count: number;
  readonly bytes: number;
  readonly oldestMs: number;
  readonly newestMs: number;
  readonly bodyCrc: number;
  readonly crc: number;
}

export interface ExpiredRowsOptions {
  readonly sql: SqlStorage;
  readonly local: SqliteBlobStore;
  readonly crc32c: Crc32c;
  /** First part of the blobs' names. */
  readonly prefix: string;
  readonly random: (byteCount: number) => Uint8Array;
}

const encoder = new TextEncoder();

export class ExpiredRows {
  readonly #options: ExpiredRowsOptions;

  constructor(options: ExpiredRowsOptions) {
    this.#options = options;
  }

  /**
   * Small parts grow, so that a database from which few rows go at a time does not have as many blobs. One that has grown has another
   * number: nobody who saved what there was before deletes it unsaved.
   */
  keep(rows: Iterable<VectorRow>): void {
    const { sql } = this.#options;
    const writer = new ByteWriter(EXPIRED_PART_BYTES);
    sql.transactionSync(() => {
      let open = this.#reopened(writer);
      for (const { id, values, metadata, stamp } of rows) {
        const { version, createdMs, updatedMs } = stamp;
        writeSnapshotRow(writer, { id, values, metadata, before: { version, createdMs, updatedMs } });
        open = {
          count: open.count + 1,
          oldestMs: Math.min(open.oldestMs, updatedMs),
          newestMs: Math.max(open.newestMs, updatedMs),
        };
        if (writer.length < EXPIRED_PART_BYTES) continue;
        this.#add(writer.take(), open);
        writer.reset();
        open = NOTHING;
      }
      if (open.count > 0) this.#add(writer.take(), open);
    });
  }

  /** Takes the last part back into the writer, if it is small and here. */
  #reopened(writer: ByteWriter): Open {
    const { sql, local } = this.#options;
    const last = firstOf(sql.exec<Part>("SELECT * FROM vector_expired ORDER BY part DESC LIMIT 1"));
    if (!last || last.bytes >= EXPIRED_PART_BYTES) return NOTHING;
    if (firstOf(sql.exec<{ name: string }>("SELECT name FROM vector_cold WHERE name = ?", last.name))) return NOTHING;
    const whole = local.wholeSync(last.name);
    // A damaged one stays as it is, to be named when it is read.
    if (!whole || !this.#fits(last, whole.bytes)) return NOTHING;
    writer.raw(whole.bytes);
    local.deleteSync(last.name);
    drain(sql.exec("DELETE FROM vector_expired WHERE part = ?", last.part));
    const { count, oldestMs, newestMs } = last;
    return { count, oldestMs, newestMs };
  }

  #add(body: Uint8Array, { count, oldestMs, newestMs }: Open): void {
    const { sql, local, crc32c, prefix, random } = this.#options;
    const nonce = Array.from(random(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const name = `${prefix}/expired.${nonce}`;
    const bodyCrc = crc32c(body);
    const stamp = { name, count, bytes: body.length, oldestMs, newestMs, bodyCrc };
    const insert =
      "INSERT INTO vector_expired (name, count, bytes, oldestMs, newestMs, bodyCrc, crc) VALUES (?, ?, ?, ?, ?, ?, ?)";
    drain(sql.exec(insert, name, count, body.length, oldestMs, newestMs, bodyCrc, this.#rowCrc(stamp)));
    local.putSync(name, body);
  }

  #rowCrc({ name, count, bytes, oldestMs, newestMs, bodyCrc }: Omit<Part, "part" | "crc">): number {
    return this.#options.crc32c(encoder.encode(JSON.stringify([name, count, bytes, oldestMs, newestMs, bodyCrc])));
  }

  #fits(part: Part, body: Uint8Array): boolean {
    return part.crc === this.#rowCrc(part) && this.#options.crc32c(body) === part.bodyCrc;
  }

  /** Of the parts up to this one. */
  info(through = Number.MAX_SAFE_INTEGER): ExpiredInfo {
    const { sql } = this.#options;
    const query =
      "SELECT coalesce(max(part), 0) AS lastPart, count(*) AS parts, coalesce(sum(count), 0) AS rows, coalesce(sum(bytes), 0) AS bytes, min(oldestMs) AS oldestMs, max(newestMs) AS newestMs FROM vector_expired WHERE part <= ?";
    return firstOf(sql.exec<ExpiredInfo>(query, through))!;
  }

  /** The page behind `after`; `cold`: bytes of a blob that is not here. Null = these were all. @throws CorruptSegment */
  async page(after: number, cold: (name: string) => Promise<Uint8Array | undefined>): Promise<ExpiredPage | null> {
    const { sql, local } = this.#options;
    const next = firstOf(sql.exec<Part>("SELECT * FROM vector_expired WHERE part > ? ORDER BY part LIMIT 1", after));
    if (!next) return null;
    const rows = local.wholeSync(next.name)?.bytes ?? (await cold(next.name));
    if (!rows || !this.#fits(next, rows))
      throw new CorruptSegment(`the expired rows in the blob ${next.name} are damaged or missing`);
    return { part: next.part, rows, count: next.count };
  }

  /** The parts up to this one. `coldToo`: a blob may be in the blob store. */
  drop(through: number, coldToo: (name: string) => void): void {
    const { sql, local } = this.#options;
    sql.transactionSync(() => {
      for (const { name } of [
        ...sql.exec<{ name: string }>("SELECT name FROM vector_expired WHERE part <= ?", through),
      ]) {
        local.deleteSync(name);
        coldToo(name);
      }
      drain(sql.exec("DELETE FROM vector_expired WHERE part <= ?", through));
    });
  }
}

type Open = Pick<Part, "count" | "oldestMs" | "newestMs">;
const NOTHING: Open = { count: 0, oldestMs: Number.POSITIVE_INFINITY, newestMs: Number.NEGATIVE_INFINITY };
