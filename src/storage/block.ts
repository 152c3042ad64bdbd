// A data block: rows back to back, then where each begins. Verified against its CRC32C before anyone sees it.
//   row … row | offset u32 × rowCount | rowCount u32
// Guarantee: search finds the row or its successor by binary search. Must not: be built from unverified bytes.

import type { CacheEntry } from "./clock-cache.ts";
import { type Buffer, compareToProbe, type Probe } from "./row-format.ts";

/** Bytes of the offsets and the count after the rows. */
export function blockTrailerBytes(rowCount: number): number {
  return rowCount * 4 + 4;
}

export class Block implements Buffer, CacheEntry {
  readonly u8: Uint8Array;
  readonly view: DataView;
  readonly rowCount: number;
  readonly #offsetsAt: number;
  readonly #forget: () => void;
  touched = false;
  pinnedUntilMs = 0;
  cacheIndex = -1;

  constructor(bytes: Uint8Array, forget: () => void) {
    this.u8 = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.rowCount = this.view.getUint32(bytes.length - 4, true);
    this.#offsetsAt = bytes.length - blockTrailerBytes(this.rowCount);
    this.#forget = forget;
  }

  get sizeBytes(): number {
    return this.u8.length;
  }

  evicted(): void {
    this.#forget();
  }

  offsetAt(row: number): number {
    return this.view.getUint32(this.#offsetsAt + row * 4, true);
  }

  /** First row that is not before the probe; `rowCount` when there is none. */
  lowerBound(probe: Probe): number {
    let low = 0;
    let high = this.rowCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareToProbe(this, this.offsetAt(middle), probe) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Offset of the probed row, -1 when absent. */
  find(probe: Probe): number {
    const row = this.lowerBound(probe);
    if (row >= this.rowCount) return -1;
    const offset = this.offsetAt(row);
    return compareToProbe(this, offset, probe) === 0 ? offset : -1;
  }
}
