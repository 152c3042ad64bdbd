// The blobs of an archived shard, moved to the blob store of the deployment and back, one at a time.
// Guarantees: at any moment a blob is whole in one of the two places, and rows say in which; it leaves its place only after its bytes were read
// back from the other and compared; a name is used there once, and what a crash leaves behind is deleted. Must not: run beside an open store.
import { drain, firstOf } from "../../storage/drain.ts";
import type { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { BlobStore, SqlStorage } from "../../storage/types.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import { CorruptSegment, type Crc32c } from "../segment/directory.ts";
import { MOST_PACKED_SHARE } from "../segment/limits.ts";
import { pack, unpack } from "../segment/lz.ts";

/** Between two durable steps: what is durable then (docs/vectors.md). */
export const COLD_POINTS = {
  "cold.intended": "the name that a blob will have in the blob store; nothing is there",
  "cold.written": "the blob in the blob store; the shard still reads its own",
  "cold.moved": "the blob in the blob store only",
  "cold.returned": "the blob in the shard again; the other is still in the blob store",
  "cold.swept": "what is dead was deleted in the blob store; the row that says so is still there",
} as const;
export type ColdPoint = keyof typeof COLD_POINTS;

export interface ColdBlobsOptions {
  readonly sql: SqlStorage;
  readonly local: SqliteBlobStore;
  readonly cold: BlobStore;
  readonly crc32c: Crc32c;
  readonly random: (byteCount: number) => Uint8Array;
  /** Until what was written is durable. */
  readonly durable: () => Promise<void>;
  /** Fail points, for tests. */
  readonly at?: ((point: ColdPoint) => Promise<void>) | undefined;
}

interface ColdRow {
  readonly name: string;
  readonly cold: string;
  readonly state: "going" | "there";
  readonly codec: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly rawCrc: number;
  readonly crc: number;
  readonly cuts: ArrayBuffer;
}

interface Local {
  readonly id: number;
  readonly name: string;
}

/** 0: as it is. 1: packed (lz.ts). 2: packed, its bytes first ordered by their place in a word of four, as columns of float32 values want it. */
type Codec = 0 | 1 | 2;

const encoder = new TextEncoder();

export class ColdBlobs {
  readonly #options: ColdBlobsOptions;
  /** Of the blob that was looked at last. */
  #after = 0;

  constructor(options: ColdBlobsOptions) {
    this.#options = options;
  }

  /** Anything in the blob store, or on its way there. */
  get isAny(): boolean {
    return firstOf(this.#options.sql.exec<{ cold: string }>(ANY)) !== undefined;
  }

  /** Moves the next blob there; false = none is left here. */
  async coolNext(): Promise<boolean> {
    const { sql, local, cold, durable } = this.#options;
    const next = firstOf(sql.exec<Local>(NEXT, this.#after));
    if (!next) return false;
    const { name } = next;
    this.#after = next.id;
    const whole = local.wholeSync(name);
    // What is damaged stays where it may be repaired.
    if (!whole) return true;
    const { codec, stored } = encoded(whole.bytes);
    const to = this.#nameFor(name);
    sql.transactionSync(() => {
      this.#giveUp(name);
      this.#insert({ name, cold: to, codec, raw: whole.bytes, stored, cuts: whole.cuts });
    });
    await durable();
    await this.#at("cold.intended");
    await cold.put(to, stored);
    await this.#at("cold.written");
    const row = this.#row(name);
    if (!row) throw new Error(`the blob ${name} was given up on its way to the blob store`);
    await this.#read(row);
    sql.transactionSync(() => {
      this.#setState(row, "there");
      local.deleteSync(name);
    });
    await durable();
    await this.#at("cold.moved");
    return true;
  }

  /** Brings everything back. @throws CorruptSegment */
  async thaw(): Promise<void> {
    const { sql, local, durable } = this.#options;
    for (const { name } of this.#names("there")) {
      const row = this.#row(name)!;
      const raw = await this.#read(row);
      sql.transactionSync(() => {
        local.deleteSync(name);
        local.putSync(name, raw, [...new Uint32Array(row.cuts)]);
        this.#giveUp(name);
      });
      await durable();
      await this.#at("cold.returned");
    }
    sql.transactionSync(() => {
      for (const { name } of this.#names("going")) this.#giveUp(name);
    });
    await this.sweep();
  }

  /** Deletes what is dead in the blob store. */
  async sweep(): Promise<void> {
    const { sql, cold, durable } = this.#options;
    await durable();
    for (const { cold: dead } of [...sql.exec<{ cold: string }>("SELECT cold FROM vector_cold_dead")]) {
      await cold.delete(dead);
      await this.#at("cold.swept");
      drain(sql.exec("DELETE FROM vector_cold_dead WHERE cold = ?", dead));
    }
  }

  /** Nothing of the shard is left in the blob store. */
  async erase(): Promise<void> {
    const { sql } = this.#options;
    sql.transactionSync(() => {
      for (const state of ["going", "there"] as const) for (const { name } of this.#names(state)) this.#giveUp(name);
    });
    await this.sweep();
  }

  #at(point: ColdPoint): Promise<void> | undefined {
    return this.#options.at?.(point);
  }

  #nameFor(name: string): string {
    const nonce = Array.from(this.#options.random(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `cold/${name}.${nonce}`;
  }

  #names(state: ColdRow["state"]): readonly { readonly name: string }[] {
    return [...this.#options.sql.exec<{ name: string }>("SELECT name FROM vector_cold WHERE state = ?", state)];
  }

  /** The one in the blob store is needed no more. In a transaction. */
  #giveUp(name: string): void {
    const { sql } = this.#options;
    drain(sql.exec("INSERT OR IGNORE INTO vector_cold_dead (cold) SELECT cold FROM vector_cold WHERE name = ?", name));
    drain(sql.exec("DELETE FROM vector_cold WHERE name = ?", name));
  }

  #insert(of: {
    readonly name: string;
    readonly cold: string;
    readonly codec: Codec;
    readonly raw: Uint8Array;
    readonly stored: Uint8Array;
    readonly cuts: readonly number[];
  }): void {
    const { sql, crc32c } = this.#options;
    const { name, cold, codec, raw, stored } = of;
    const cuts = new Uint8Array(Uint32Array.from(of.cuts).buffer);
    const rawCrc = crc32c(raw);
    const row = { name, cold, codec, rawBytes: raw.length, storedBytes: stored.length, rawCrc, cuts: cuts.buffer };
    const insert =
      "INSERT INTO vector_cold (name, cold, state, codec, rawBytes, storedBytes, rawCrc, crc, cuts) VALUES (?, ?, 'going', ?, ?, ?, ?, ?, ?)";
    drain(sql.exec(insert, name, cold, codec, raw.length, stored.length, rawCrc, this.#rowCrc(row), cuts));
  }

  #setState({ name }: ColdRow, state: ColdRow["state"]): void {
    drain(this.#options.sql.exec("UPDATE vector_cold SET state = ? WHERE name = ?", state, name));
  }

  #row(name: string): ColdRow | undefined {
    const row = firstOf(this.#options.sql.exec<ColdRow>("SELECT * FROM vector_cold WHERE name = ?", name));
    if (row && row.crc !== this.#rowCrc(row)) throw new CorruptSegment(`where the blob ${name} is fails its CRC32C`);
    return row;
  }

  #rowCrc(row: Pick<ColdRow, "name" | "cold" | "codec" | "rawBytes" | "storedBytes" | "rawCrc" | "cuts">): number {
    const { name, cold, codec, rawBytes, storedBytes, rawCrc, cuts } = row;
    const text = JSON.stringify([name, cold, codec, rawBytes, storedBytes, rawCrc]);
    return this.#options.crc32c(new Uint8Array(cuts), this.#options.crc32c(encoder.encode(text)));
  }

  /** The bytes of a blob as they were here. @throws CorruptSegment */
  async #read({ name, cold: at, codec, rawBytes, storedBytes, rawCrc }: ColdRow): Promise<Uint8Array> {
    const stored = await this.#options.cold.get(at, 0, storedBytes);
    if (!stored) throw new CorruptSegment(`the blob ${name} is not in the blob store as ${at}`);
    let raw: Uint8Array;
    try {
      raw = decoded(stored, codec as Codec, rawBytes);
    } catch (error) {
      if (error instanceof MalformedBytes) throw new CorruptSegment(`the blob ${at}: ${error.message}`);
      throw error;
    }
    if (raw.length !== rawBytes || this.#options.crc32c(raw) !== rawCrc)
      throw new CorruptSegment(`the blob ${at} fails its CRC32C`);
    return raw;
  }
}

const NEXT = "SELECT id, name FROM storage_blobs WHERE id > ? ORDER BY id LIMIT 1";
const ANY = "SELECT cold FROM (SELECT cold FROM vector_cold UNION ALL SELECT cold FROM vector_cold_dead) LIMIT 1";

function encoded(raw: Uint8Array): { readonly codec: Codec; readonly stored: Uint8Array } {
  let best: { readonly codec: Codec; readonly stored: Uint8Array } = { codec: 0, stored: raw };
  for (const codec of [1, 2] as const) {
    const packed = pack(codec === 2 ? byPlace(raw) : raw);
    if (packed && packed.length < Math.min(best.stored.length, raw.length * MOST_PACKED_SHARE))
      best = { codec, stored: packed };
  }
  return best;
}

function decoded(stored: Uint8Array, codec: Codec, rawBytes: number): Uint8Array {
  if (codec === 0) return stored;
  const raw = unpack(stored, rawBytes);
  return codec === 2 ? fromPlaces(raw) : raw;
}

/** First byte 0 of every word, then byte 1, …; what is behind the last whole word stays. */
function byPlace(raw: Uint8Array): Uint8Array {
  const out = raw.slice();
  const words = raw.length >>> 2;
  for (let word = 0; word < words; word++)
    for (let place = 0; place < 4; place++) out[place * words + word] = raw[word * 4 + place]!;
  return out;
}

function fromPlaces(ordered: Uint8Array): Uint8Array {
  const out = ordered.slice();
  const words = ordered.length >>> 2;
  for (let word = 0; word < words; word++)
    for (let place = 0; place < 4; place++) out[word * 4 + place] = ordered[place * words + word]!;
  return out;
}
