// One checksum over all that the manifest says, kept up to date by difference.
// Guarantees: any one changed, missing or added row changes it; two sets of rows have the same one whatever the order of changes.
// Must not: cost more than the rows that change (a store may have many thousand tables).

import type { TableInfo } from "./table.ts";
import type { Kernels } from "./types.ts";

const encoder = new TextEncoder();

/** CRCs are linear: without mixing, the same change in two rows would cancel. (The finalizer of murmur3.) */
function mixed(crc: number): number {
  const a = Math.imul(crc ^ (crc >>> 16), 0x85ebca6b);
  const b = Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (b ^ (b >>> 16)) >>> 0;
}

export class ManifestCheck {
  readonly #kernels: Pick<Kernels, "crc32c">;
  /** Exclusive or of the mixed CRC-32C of every row. */
  value = 0;

  constructor(kernels: Pick<Kernels, "crc32c">) {
    this.#kernels = kernels;
  }

  /** Adds a row that is not in, or takes out one that is. */
  toggle(...row: readonly (string | number)[]): void {
    this.value = (this.value ^ mixed(this.#kernels.crc32c(encoder.encode(JSON.stringify(row))))) >>> 0;
  }

  toggleTable(info: TableInfo): void {
    const { kind, name, runOrder, position, sizeBytes, rowCount, metaOffset, metaBytes, metaCrc } = info;
    const { firstHi, firstLo, firstTenant, firstKey, lastHi, lastLo, minMs, maxMs } = info;
    const place = [kind, name, runOrder, position, sizeBytes, rowCount, metaOffset, metaBytes, metaCrc];
    this.toggle("table", ...place, firstHi, firstLo, firstTenant, firstKey.join(), lastHi, lastLo, minMs, maxMs);
  }
}
