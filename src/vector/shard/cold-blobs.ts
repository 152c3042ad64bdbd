// The blobs of an archived shard, and of any shard those of rows that it archived and of values that are not read, moved to the blob store of the
// deployment and back, one at a time.
// Guarantees: at any moment a blob is whole in one of the two places, and rows say in which; it leaves its place only after its bytes were read
// back from the other and compared; a name is used there once, and what a crash leaves behind is deleted. Must not: choose.
import { drain, firstOf } from "../../storage/drain.ts";
import type { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { BlobStore, SqlStorage } from "../../storage/types.ts";
import { MalformedBytes } from "../../wire/bytes.ts";
import { CorruptSegment, type Crc32c } from "../segment/directory.ts";
import { MOST_PACKED_SHARE } from "../segment/limits.ts";
import { pack, unpack } from "../segment/lz.ts";
import { EXPIRED_PART_BYTES, MAX_NAMED_BLOBS, THAW_TRIES } from "./limits.ts";

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
  /** Told in the turn in which a blob is there only, or here again. */
  readonly onMoved?: ((name: string, isAway: boolean) => void) | undefined;
  /** Fail points, for tests. */
  readonly at?: ((point: ColdPoint) => Promise<void>) | undefined;
}

/** Blobs of an archive are damaged or missing in the blob store; what was whole came back. */
export class DamagedArchive extends CorruptSegment {
  constructor(damaged: readonly string[]) {
    const more = damaged.length - MAX_NAMED_BLOBS;
    super(damaged.slice(0, MAX_NAMED_BLOBS).join("; ") + (more > 0 ? `; and ${more} more` : ""));
  }
}

interface ColdRow {
  readonly name: string;
  readonly cold: string;
  /** `used`: an open shard reads it there, by ranges. */
  readonly state: "going" | "there" | "used";
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

  /** There are blobs here of rows that were archived, and that no more rows come into. */
  get hasExpired(): boolean {
    return firstOf(this.#options.sql.exec<Local>(NEXT_EXPIRED, 0)) !== undefined;
  }

  /** Moves the next blob there; false = none is left here. `which`: of a shard that is open only those of rows that it archived. */
  async coolNext(which: "all" | "expired" = "all"): Promise<boolean> {
    const next = firstOf(this.#options.sql.exec<Local>(which === "all" ? NEXT : NEXT_EXPIRED, this.#after));
    if (!next) return false;
    this.#after = next.id;
    await this.#move(next.name, { state: "there", encode: encoded });
    return true;
  }

  /** Moves a blob there that goes on being read. `mayLeave` is asked again before it leaves. True = it is there only. */
  async lend(name: string, mayLeave: () => boolean): Promise<boolean> {
    return await this.#move(name, { state: "used", encode: asItIs, mayLeave });
  }

  async #move(
    name: string,
    to: {
      readonly state: "there" | "used";
      readonly encode: typeof encoded;
      readonly mayLeave?: () => boolean;
    },
  ): Promise<boolean> {
    const { sql, local, cold, durable } = this.#options;
    const whole = local.wholeSync(name);
    // What is damaged stays where it may be repaired.
    if (!whole) return false;
    const { codec, stored } = to.encode(whole.bytes);
    const coldName = this.#nameFor(name);
    sql.transactionSync(() => {
      this.giveUp(name);
      this.#insert({ name, cold: coldName, codec, raw: whole.bytes, stored, cuts: whole.cuts });
    });
    await durable();
    await this.#at("cold.intended");
    await cold.put(coldName, stored);
    await this.#at("cold.written");
    const row = this.#row(name);
    if (row) await this.#read(row);
    // An open shard may have deleted it meanwhile, or need it.
    if (this.#row(name)?.cold !== coldName) return false;
    if (to.mayLeave?.() === false) {
      sql.transactionSync(() => this.giveUp(name));
      return false;
    }
    sql.transactionSync(() => {
      this.#setState(row!, to.state);
      local.deleteSync(name);
    });
    this.#options.onMoved?.(name, true);
    await durable();
    await this.#at("cold.moved");
    return true;
  }

  /** A range of a blob that is read there; not compared with anything. Undefined = it is not there. @throws CorruptSegment */
  async range(name: string, from: number, to: number): Promise<Uint8Array | undefined> {
    const row = this.#row(name);
    return row?.state === "used" ? await this.#options.cold.get(row.cold, from, to - from) : undefined;
  }

  /** Brings one back. @throws CorruptSegment: it is damaged there */
  async bringBack(name: string): Promise<void> {
    if (!this.#row(name)) return;
    const found = await this.#readAgain(name);
    if (typeof found === "string") throw new CorruptSegment(found);
    // Deleted meanwhile.
    if (this.#row(name)?.cold !== found.row.cold) return;
    await this.#keepHere(found);
  }

  async #keepHere({ row, raw }: { readonly row: ColdRow; readonly raw: Uint8Array }): Promise<void> {
    const { sql, local, durable, onMoved } = this.#options;
    const { name } = row;
    sql.transactionSync(() => {
      local.deleteSync(name);
      local.putSync(name, raw, [...new Uint32Array(row.cuts)]);
      this.giveUp(name);
    });
    onMoved?.(name, false);
    await durable();
    await this.#at("cold.returned");
  }

  /** The bytes of a blob that is there. @throws CorruptSegment */
  async read(name: string): Promise<Uint8Array | undefined> {
    const row = this.#row(name);
    return row?.state === "there" ? await this.#read(row) : undefined;
  }

  /** Brings everything back but what belongs there, or is read there. @throws DamagedArchive when all that is whole is back */
  async thaw(): Promise<void> {
    const { sql } = this.#options;
    const damaged: string[] = [];
    const expired = new Set([...sql.exec<{ name: string }>("SELECT name FROM vector_expired")].map(({ name }) => name));
    for (const { name } of this.#names("there")) {
      if (expired.has(name)) continue;
      const found = await this.#readAgain(name);
      if (typeof found === "string") {
        damaged.push(found);
        continue;
      }
      await this.#keepHere(found);
    }
    if (damaged.length > 0) throw new DamagedArchive(damaged);
    sql.transactionSync(() => {
      for (const { name } of this.#names("going")) this.giveUp(name);
    });
    await this.sweep();
  }

  /** What does not fit its checksum may have been changed on its way only. Text: what is damaged. */
  async #readAgain(name: string): Promise<{ readonly row: ColdRow; readonly raw: Uint8Array } | string> {
    for (let tries = 1; ; tries++) {
      try {
        const row = this.#row(name)!;
        return { row, raw: await this.#read(row) };
      } catch (error) {
        if (!(error instanceof CorruptSegment)) throw error;
        if (tries === THAW_TRIES) return error.message;
      }
    }
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
      for (const state of ["going", "there", "used"] as const)
        for (const { name } of this.#names(state)) this.giveUp(name);
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
  giveUp(name: string): void {
    giveUpCold(this.#options.sql, name);
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
/** The last part grows until it is full (expired-rows.ts). */
const NEXT_EXPIRED = `SELECT id, name FROM storage_blobs WHERE id > ? AND name IN (SELECT name FROM vector_expired
  WHERE bytes >= ${EXPIRED_PART_BYTES} OR part < (SELECT max(part) FROM vector_expired)) ORDER BY id LIMIT 1`;
const ANY = "SELECT cold FROM (SELECT cold FROM vector_cold UNION ALL SELECT cold FROM vector_cold_dead) LIMIT 1";

/** What is in the blob store of it is dead. In a transaction, or in the turn that deletes it. */
export function giveUpCold(sql: SqlStorage, name: string): void {
  drain(sql.exec("INSERT OR IGNORE INTO vector_cold_dead (cold) SELECT cold FROM vector_cold WHERE name = ?", name));
  drain(sql.exec("DELETE FROM vector_cold WHERE name = ?", name));
}

/** What is read by ranges. */
function asItIs(raw: Uint8Array): { readonly codec: Codec; readonly stored: Uint8Array } {
  return { codec: 0, stored: raw };
}

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
