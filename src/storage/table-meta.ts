// What a table keeps in memory: sparse index, bloom filter, tenants. Stored behind the data blocks, guarded by its own CRC.
// Guarantees: blockFor names the only block that can hold a row; decode refuses what it does not understand.
// Must not: do I/O.

import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import type { CacheEntry } from "./clock-cache.ts";
import type { Probe } from "./row-format.ts";

const META_VERSION = 1;

/** Where one block is, its CRC and its first row. */
export interface BlockInfo {
  readonly offset: number;
  readonly lengthBytes: number;
  readonly crc: number;
  readonly hi: number;
  readonly lo: number;
  readonly tenant: number;
  readonly key: Uint8Array;
}

/** A row's place in the order. */
export type FirstRow = Pick<BlockInfo, "hi" | "lo" | "tenant" | "key">;

/** Content of the meta section. */
export interface TableMetaContent {
  readonly blocks: readonly BlockInfo[];
  readonly hashCount: number;
  readonly filter: Uint8Array;
  /** Tenants with rows in the table, ascending. */
  readonly tenants: readonly number[];
}

/** The meta section's bytes. */
export function encodeTableMeta(content: TableMetaContent): Uint8Array {
  const writer = new ByteWriter(content.filter.length + content.blocks.length * 64 + 64);
  writer.u8(META_VERSION);
  writer.u32(content.blocks.length);
  for (const block of content.blocks) {
    writer.u32(block.offset);
    writer.u32(block.lengthBytes);
    writer.u32(block.crc);
    writer.u32(block.hi);
    writer.u32(block.lo);
    writer.u32(block.tenant);
    writer.bytes(block.key);
  }
  writer.u8(content.hashCount);
  writer.bytes(content.filter);
  writer.varint(content.tenants.length);
  for (const tenant of content.tenants) writer.u32(tenant);
  return writer.take();
}

export class TableMeta implements CacheEntry {
  readonly blockCount: number;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
  readonly crcs: Uint32Array;
  readonly #his: Uint32Array;
  readonly #los: Uint32Array;
  readonly #tenantsOfFirst: Uint32Array;
  readonly #keys: Uint8Array[] = [];
  readonly hashCount: number;
  readonly filter: Uint8Array;
  readonly tenants: Uint32Array;
  readonly sizeBytes: number;
  readonly #forget: () => void;
  touched = false;
  pinnedUntilMs = 0;
  cacheIndex = -1;

  /** Throws MalformedBytes. `bytes` must have passed its CRC. */
  constructor(bytes: Uint8Array, forget: () => void) {
    const reader = new ByteReader(bytes);
    const version = reader.u8();
    if (version !== META_VERSION)
      throw new MalformedBytes(`table meta version ${version}, this build reads ${META_VERSION}`);
    const count = bounded(reader.u32(), bytes);
    this.blockCount = count;
    this.offsets = new Uint32Array(count);
    this.lengths = new Uint32Array(count);
    this.crcs = new Uint32Array(count);
    this.#his = new Uint32Array(count);
    this.#los = new Uint32Array(count);
    this.#tenantsOfFirst = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      this.offsets[i] = reader.u32();
      this.lengths[i] = reader.u32();
      this.crcs[i] = reader.u32();
      this.#his[i] = reader.u32();
      this.#los[i] = reader.u32();
      this.#tenantsOfFirst[i] = reader.u32();
      this.#keys.push(reader.bytes());
    }
    this.hashCount = reader.u8();
    this.filter = reader.bytes();
    this.tenants = new Uint32Array(bounded(reader.varint(), bytes));
    for (let i = 0; i < this.tenants.length; i++) this.tenants[i] = reader.u32();
    this.sizeBytes = bytes.length + count * 100 + this.tenants.length * 4;
    this.#forget = forget;
  }

  evicted(): void {
    this.#forget();
  }

  /** First row of a block. */
  firstOf(block: number): FirstRow {
    return {
      hi: this.#his[block]!,
      lo: this.#los[block]!,
      tenant: this.#tenantsOfFirst[block]!,
      key: this.#keys[block]!,
    };
  }

  /** The last block whose first row is not after the probe; -1 when the probe is before the table. */
  blockFor(probe: Probe): number {
    let low = 0;
    let high = this.blockCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#firstIsAfter(middle, probe)) high = middle;
      else low = middle + 1;
    }
    return low - 1;
  }

  #firstIsAfter(block: number, probe: Probe): boolean {
    const hi = this.#his[block]!;
    if (hi !== probe.hi) return hi > probe.hi;
    const lo = this.#los[block]!;
    if (lo !== probe.lo) return lo > probe.lo;
    const tenant = this.#tenantsOfFirst[block]!;
    if (tenant !== probe.tenant) return tenant > probe.tenant;
    return compareKeyToProbe(this.#keys[block]!, probe) > 0;
  }

  holdsTenant(tenant: number): boolean {
    let low = 0;
    let high = this.tenants.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.tenants[middle]! < tenant) low = middle + 1;
      else high = middle;
    }
    return this.tenants[low] === tenant;
  }
}

/** A count of things that take at least a byte each. */
function bounded(count: number, bytes: Uint8Array): number {
  if (count > bytes.length)
    throw new MalformedBytes(`table meta of ${bytes.length} bytes says it lists ${count} things`);
  return count;
}

/** Order of key bytes against the probe's key. */
export function compareKeyToProbe(key: Uint8Array, probe: Probe): number {
  const shared = Math.min(key.length, probe.keyBytes);
  for (let i = 0; i < shared; i++) {
    const difference = key[i]! - probe.key[i]!;
    if (difference !== 0) return difference;
  }
  return key.length - probe.keyBytes;
}
