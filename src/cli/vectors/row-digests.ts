// Digests of rows by the digests of their ids: what verifications compare, in 16 bytes a row and a table at most three quarters full.
// Guarantees: of rows with one id the last one counts. Two ids with one digest of 64 bits are taken for one: with 10 million rows once in
// 400 000 verifications.
import { createHash } from "node:crypto";
import type { VectorRow } from "./rows.ts";

const EMPTY = 0n;

function first64(hash: ReturnType<typeof createHash>): bigint {
  return hash.digest().readBigUInt64LE() || 1n;
}

export function idDigest(id: string): bigint {
  return first64(createHash("sha256").update(id));
}

/** Of values and metadata; an empty object is none. */
export function rowDigest({ values, metadata = "" }: Pick<VectorRow, "values" | "metadata">): bigint {
  const text = /^\{\s*\}$/.test(metadata) ? "" : metadata;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return first64(createHash("sha256").update(bytes).update(text));
}

export class RowDigests {
  /** Distinct ids. */
  size = 0;
  #ids = new BigUint64Array(1024);
  #rows = new BigUint64Array(1024);
  #isSeen = new Uint8Array(1024);

  set(id: bigint, row: bigint): void {
    if ((this.size + 1) * 4 > this.#ids.length * 3) this.#grow();
    const at = this.#placeOf(id);
    if (this.#ids[at] === EMPTY) this.size++;
    this.#ids[at] = id;
    this.#rows[at] = row;
  }

  get(id: bigint): bigint | undefined {
    const at = this.#placeOf(id);
    return this.#ids[at] === EMPTY ? undefined : this.#rows[at];
  }

  /** False if it was seen before. */
  see(id: bigint): boolean {
    const at = this.#placeOf(id);
    const isNew = this.#isSeen[at] === 0;
    this.#isSeen[at] = 1;
    return isNew;
  }

  #placeOf(id: bigint): number {
    const mask = this.#ids.length - 1;
    let at = Number(id & 0xffffffffn) & mask;
    while (this.#ids[at] !== EMPTY && this.#ids[at] !== id) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const [ids, rows, isSeen] = [this.#ids, this.#rows, this.#isSeen];
    this.#ids = new BigUint64Array(ids.length * 2);
    this.#rows = new BigUint64Array(ids.length * 2);
    this.#isSeen = new Uint8Array(ids.length * 2);
    for (let from = 0; from < ids.length; from++) {
      if (ids[from] === EMPTY) continue;
      const at = this.#placeOf(ids[from]!);
      this.#ids[at] = ids[from]!;
      this.#rows[at] = rows[from]!;
      this.#isSeen[at] = isSeen[from]!;
    }
  }
}
