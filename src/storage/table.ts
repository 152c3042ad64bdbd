// One immutable table and how its blocks are read: cache, CRC check, one retry, report.
// Guarantees: a block is handed out only after its CRC32C matched; otherwise CorruptBlock, counted and reported once per block.
// Must not: cache what merges and scans read (they would push out what readers use).

import { MalformedBytes } from "../wire/bytes.ts";
import { Block } from "./block.ts";
import { bloomMayHold } from "./bloom.ts";
import { ClockCache } from "./clock-cache.ts";
import type { Counters } from "./counters.ts";
import { type EngineLimits, PREPARED_PIN_MS } from "./limits.ts";
import { decodeKey, type Probe, rowValue } from "./row-format.ts";
import { TableMeta } from "./table-meta.ts";
import {
  type BlobStore,
  CorruptBlock,
  type CorruptRange,
  type Kernels,
  NotResident,
  type SyncBlobStore,
} from "./types.ts";

/** Stands for the meta section where a block number is asked for. */
export const META_SECTION = -1;

/** A manifest row. */
export interface TableInfo {
  readonly kind: "row" | "record";
  readonly name: string;
  /** Age of the run: the highest log row in it. Newer runs are higher. */
  readonly runOrder: number;
  readonly position: number;
  readonly sizeBytes: number;
  readonly rowCount: number;
  readonly metaOffset: number;
  readonly metaBytes: number;
  readonly metaCrc: number;
  /** First row that counts: what a merge has taken out of the table lies before it. */
  readonly firstHi: number;
  readonly firstLo: number;
  readonly firstTenant: number;
  readonly firstKey: Uint8Array;
  readonly lastHi: number;
  readonly lastLo: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/** A table of the manifest, and when all of it was last read and found whole or written. */
export interface StoredTable {
  readonly info: TableInfo;
  readonly scrubbedMs: number;
}

/** What is in memory and known of one blob; shared by the tables that are the same blob, clipped ever further. */
class TableBlob {
  meta: TableMeta | undefined;
  readonly blocks: (Block | undefined)[] = [];
  readonly corrupt = new Set<number>();
  readonly reported = new Map<number, CorruptRange>();
  readonly discarded = new Set<number>();
  readonly loading = new Map<number, Promise<void>>();
  retired = false;
  seenFrom = 0;
  scrubbedMs: number;

  constructor(scrubbedMs: number) {
    this.scrubbedMs = scrubbedMs;
  }
}

export class Table {
  readonly info: TableInfo;
  readonly #blob: TableBlob;

  /** `known`: when all of it was last read or written, or the table that is the same blob. */
  constructor(info: TableInfo, known: number | Table) {
    this.info = info;
    this.#blob = known instanceof Table ? known.#blob : new TableBlob(known);
  }

  /** The same blob without the rows before the first of `info`. Who reads this one goes on to see them. */
  clippedTo(info: TableInfo): Table {
    return new Table(info, this);
  }

  /** Where its rows begin. */
  get first(): Probe {
    const { firstHi: hi, firstLo: lo, firstTenant: tenant, firstKey: key } = this.info;
    return { hi, lo, tenant, key, keyBytes: key.length };
  }

  get meta(): TableMeta | undefined {
    return this.#blob.meta;
  }

  set meta(meta: TableMeta | undefined) {
    this.#blob.meta = meta;
  }

  get blocks(): (Block | undefined)[] {
    return this.#blob.blocks;
  }

  /** Sections found corrupt (asynchronous stores) and not loaded again since. */
  get corrupt(): Set<number> {
    return this.#blob.corrupt;
  }

  /** Sections reported, so that one bad block counts once, with the rows each held. */
  get reported(): Map<number, CorruptRange> {
    return this.#blob.reported;
  }

  /** Sections given up by the owner: their rows read as absent. */
  get discarded(): Set<number> {
    return this.#blob.discarded;
  }

  get loading(): Map<number, Promise<void>> {
    return this.#blob.loading;
  }

  /** True when no manifest row names the blob any more. */
  get retired(): boolean {
    return this.#blob.retired;
  }

  set retired(retired: boolean) {
    this.#blob.retired = retired;
  }

  /** Since when all it holds is in the engine's filter of what was written; 0 = it is not. See {@link SeenFilter}. */
  get seenFrom(): number {
    return this.#blob.seenFrom;
  }

  set seenFrom(generation: number) {
    this.#blob.seenFrom = generation;
  }

  /** When all of it was last read and checked, or written. Ms. */
  get scrubbedMs(): number {
    return this.#blob.scrubbedMs;
  }

  set scrubbedMs(atMs: number) {
    this.#blob.scrubbedMs = atMs;
  }
}

/** A section a read needs and that is not in memory. */
export interface MissingSection {
  readonly table: Table;
  readonly section: number;
}

/** Where to read on: a block, and bytes that are worth one request. */
export interface ReadAhead {
  readonly from: number;
  readonly lengthBytes: number;
}

export interface TableReaderOptions {
  readonly blobs: BlobStore | SyncBlobStore;
  readonly kernels: Kernels;
  readonly limits: EngineLimits;
  readonly clock: () => number;
  readonly counters: Counters;
  readonly onCorrupt: ((range: CorruptRange) => void) | undefined;
}

/** The store as a synchronous one, if it is. */
export function asSync(blobs: BlobStore | SyncBlobStore): SyncBlobStore | undefined {
  return "getSync" in blobs ? blobs : undefined;
}

export class TableReader {
  readonly #options: TableReaderOptions;
  readonly #sync: SyncBlobStore | undefined;
  readonly blockCache: ClockCache<Block>;
  readonly metaCache: ClockCache<TableMeta>;
  /** While set, sections found corrupt before are listed as missing, so that they are loaded once more. */
  retryCorrupt = false;
  /** Reading costs a request. */
  readonly isRemote: boolean;

  constructor(options: TableReaderOptions) {
    this.#options = options;
    this.#sync = asSync(options.blobs);
    this.isRemote = this.#sync === undefined;
    this.blockCache = new ClockCache(options.limits.blockCacheBytes, options.clock);
    this.metaCache = new ClockCache(options.limits.tableMetaCacheBytes, options.clock);
  }

  /**
   * Value of the probed row in this table, or undefined. With an asynchronous store a missing section is pushed to `missing`
   * (and undefined returned), or NotResident thrown where no list is given.
   */
  find(table: Table, probe: Probe, missing?: MissingSection[]): Uint8Array | undefined {
    const meta = table.meta ?? this.#meta(table, missing);
    if (meta === undefined) return undefined;
    if (!meta.touched) meta.touched = true;
    if (!bloomMayHold(meta.filter, meta.hashCount, probe.hi, probe.lo)) {
      this.#options.counters.bloomSkips++;
      return undefined;
    }
    const index = meta.blockFor(probe);
    if (index < 0) return undefined;
    if (table.discarded.size > 0 && (table.discarded.has(META_SECTION) || table.discarded.has(index))) return undefined;
    const block = this.#block(table, index, meta, missing);
    if (block === undefined) return undefined;
    const offset = block.find(probe);
    return offset < 0 ? undefined : rowValue(block, offset);
  }

  #meta(table: Table, missing: MissingSection[] | undefined): TableMeta | undefined {
    if (table.discarded.has(META_SECTION)) return undefined;
    if (this.#sync === undefined) {
      this.#notResident(table, META_SECTION, missing);
      return undefined;
    }
    const meta = this.#readMetaSync(this.#sync, table);
    table.meta = meta;
    this.metaCache.add(meta);
    return meta;
  }

  #block(table: Table, index: number, meta: TableMeta, missing: MissingSection[] | undefined): Block | undefined {
    const { counters } = this.#options;
    const cached = table.blocks[index];
    if (cached !== undefined) {
      counters.blockCacheHits++;
      cached.touched = true;
      if (missing === undefined) cached.pinnedUntilMs = 0;
      return cached;
    }
    counters.blockCacheMisses++;
    if (this.#sync === undefined) {
      this.#notResident(table, index, missing);
      return undefined;
    }
    const block = this.readBlockSync(table, index, meta);
    if (block.sizeBytes <= this.blockCache.maxEntryBytes) this.#keep(table, index, block);
    return block;
  }

  #notResident(table: Table, section: number, missing: MissingSection[] | undefined): void {
    if (table.corrupt.has(section)) {
      // `prepare` has nothing more to load; reads throw, until the next `prepare` tries the blob again.
      if (missing === undefined) throw this.#corruptError(table, section);
      if (!this.retryCorrupt) return;
      table.corrupt.delete(section);
    }
    if (missing === undefined) throw new NotResident(`section ${section} of ${table.info.name} is not in memory`);
    missing.push({ table, section });
  }

  #keep(table: Table, index: number, block: Block): void {
    if (table.retired || table.blocks[index] !== undefined) return;
    table.blocks[index] = block;
    this.blockCache.add(block);
  }

  /** Loads a section into the cache, pinned for the read that waits for it; one load at a time per section. */
  load({ table, section }: MissingSection): Promise<void> {
    const running = table.loading.get(section);
    if (running !== undefined) return running;
    const loading = this.#load(table, section).finally(() => table.loading.delete(section));
    table.loading.set(section, loading);
    return loading;
  }

  async #load(table: Table, section: number): Promise<void> {
    try {
      const pinnedUntilMs = this.#options.clock() + PREPARED_PIN_MS;
      if (section === META_SECTION) {
        const meta = await this.readMeta(table);
        if (table.meta !== undefined) return;
        meta.pinnedUntilMs = pinnedUntilMs;
        table.meta = meta;
        this.metaCache.add(meta);
        return;
      }
      const block = await this.readBlock(table, section);
      block.pinnedUntilMs = pinnedUntilMs;
      this.#keep(table, section, block);
    } catch (error) {
      if (!(error instanceof CorruptBlock)) throw error;
      // A blob of a retired table may be gone already: the caller looks the row up again in the tables of now.
      if (!table.retired) table.corrupt.add(section);
    }
  }

  /** The meta section without caching it (a cached one is used). Throws CorruptBlock. */
  async readMeta(table: Table): Promise<TableMeta> {
    if (table.meta !== undefined) return table.meta;
    if (this.#sync !== undefined) return this.#readMetaSync(this.#sync, table);
    const { name, metaOffset, metaBytes } = table.info;
    for (let attempt = 0; attempt < 2; attempt++) {
      const meta = this.#verifyMeta(table, await this.#options.blobs.get(name, metaOffset, metaBytes));
      if (meta !== undefined) return meta;
    }
    throw this.#reportCorrupt(table, META_SECTION);
  }

  /** Reads the stored index, whatever is in memory. Throws CorruptBlock. */
  async checkMeta(table: Table): Promise<void> {
    const { name, metaOffset, metaBytes } = table.info;
    for (let attempt = 0; attempt < 2; attempt++) {
      if (this.#verifyMeta(table, await this.#options.blobs.get(name, metaOffset, metaBytes)) !== undefined) return;
    }
    throw this.#reportCorrupt(table, META_SECTION);
  }

  /** Reads a stored block, whatever is in memory. Throws CorruptBlock. */
  async checkBlock(table: Table, meta: TableMeta, index: number): Promise<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const bytes = await this.#options.blobs.get(table.info.name, meta.offsets[index]!, meta.lengths[index]!);
      if (bytes !== undefined && this.#options.kernels.crc32c(bytes) === meta.crcs[index]) return;
    }
    throw this.#reportCorrupt(table, index, meta);
  }

  #readMetaSync(sync: SyncBlobStore, table: Table): TableMeta {
    const { name, metaOffset, metaBytes } = table.info;
    for (let attempt = 0; attempt < 2; attempt++) {
      const meta = this.#verifyMeta(table, sync.getSync(name, metaOffset, metaBytes));
      if (meta !== undefined) return meta;
    }
    throw this.#reportCorrupt(table, META_SECTION);
  }

  #verifyMeta(table: Table, bytes: Uint8Array | undefined): TableMeta | undefined {
    if (bytes === undefined || this.#options.kernels.crc32c(bytes) !== table.info.metaCrc) return undefined;
    try {
      return new TableMeta(bytes, () => {
        table.meta = undefined;
      });
    } catch (error) {
      if (error instanceof MalformedBytes) return undefined;
      throw error;
    }
  }

  /** One block, from the cache or read without caching it; `known` saves reading the table's index. Throws CorruptBlock. */
  async readBlock(table: Table, index: number, known?: TableMeta): Promise<Block> {
    if (this.#sync !== undefined) return this.readBlockSync(table, index, known);
    const cached = table.blocks[index];
    if (cached !== undefined) return cached;
    const meta = known ?? (await this.readMeta(table));
    for (let attempt = 0; attempt < 2; attempt++) {
      const bytes = await this.#options.blobs.get(table.info.name, meta.offsets[index]!, meta.lengths[index]!);
      const block = this.#verifyBlock(table, meta, index, bytes);
      if (block !== undefined) return block;
    }
    throw this.#reportCorrupt(table, index, meta);
  }

  /**
   * The blocks from `from` on that `lengthBytes` hold (at least that one), with one request to an asynchronous store; past the cache.
   * Ends before one that fails its CRC32C: reading that alone tells.
   */
  async readAhead(table: Table, meta: TableMeta, { from, lengthBytes }: ReadAhead): Promise<Block[]> {
    const start = meta.offsets[from]!;
    let end = from + 1;
    while (end < meta.blockCount && meta.offsets[end]! + meta.lengths[end]! - start <= lengthBytes) end++;
    const wanted = meta.offsets[end - 1]! + meta.lengths[end - 1]! - start;
    const bytes = await this.#options.blobs.get(table.info.name, start, wanted);
    const blocks: Block[] = [];
    for (let index = from; bytes !== undefined && index < end; index++) {
      const at = meta.offsets[index]! - start;
      const block = this.#verifyBlock(table, meta, index, bytes.slice(at, at + meta.lengths[index]!));
      if (block === undefined) break;
      blocks.push(block);
    }
    return blocks;
  }

  readBlockSync(table: Table, index: number, known?: TableMeta): Block {
    const cached = table.blocks[index];
    if (cached !== undefined) return cached;
    const sync = this.#sync!;
    const meta = known ?? table.meta ?? this.#readMetaSync(sync, table);
    for (let attempt = 0; attempt < 2; attempt++) {
      const bytes = sync.getSync(table.info.name, meta.offsets[index]!, meta.lengths[index]!);
      const block = this.#verifyBlock(table, meta, index, bytes);
      if (block !== undefined) return block;
    }
    throw this.#reportCorrupt(table, index, meta);
  }

  #verifyBlock(table: Table, meta: TableMeta, index: number, bytes: Uint8Array | undefined): Block | undefined {
    if (bytes === undefined || this.#options.kernels.crc32c(bytes) !== meta.crcs[index]) return undefined;
    return new Block(bytes, () => {
      table.blocks[index] = undefined;
    });
  }

  #reportCorrupt(table: Table, section: number, meta?: TableMeta): CorruptBlock {
    if (!table.reported.has(section) && !table.retired) {
      const range = corruptRange(table, section, meta);
      table.reported.set(section, range);
      this.#options.counters.corruptBlocks++;
      this.#options.onCorrupt?.(range);
    }
    return this.#corruptError(table, section);
  }

  #corruptError(table: Table, section: number): CorruptBlock {
    const what = section === META_SECTION ? "the index" : `block ${section}`;
    return new CorruptBlock(`${what} of ${table.info.name} is missing or fails its CRC32C`, table.info.maxMs);
  }

  /** Forgets what is cached of a table that the manifest no longer names. */
  retire(table: Table): void {
    table.retired = true;
    if (table.meta !== undefined) this.metaCache.remove(table.meta);
    table.meta = undefined;
    for (const block of table.blocks) if (block !== undefined) this.blockCache.remove(block);
    table.blocks.length = 0;
  }
}

function corruptRange(table: Table, section: number, meta: TableMeta | undefined): CorruptRange {
  const { name, kind, lastHi, lastLo, maxMs: newestMs } = table.info;
  const lastToken = { hi: lastHi, lo: lastLo };
  const toRowKey = (first: { hi: number; lo: number; tenant: number; key: Uint8Array }) => ({
    token: { hi: first.hi, lo: first.lo },
    tenant: first.tenant,
    key: kind === "row" ? decodeKey(first.key) : "",
  });
  if (meta === undefined || section === META_SECTION) {
    const { firstHi: hi, firstLo: lo, firstTenant: tenant, firstKey: key } = table.info;
    const from = toRowKey({ hi, lo, tenant, key });
    return { blob: name, section, kind, from, to: undefined, lastToken, tenants: undefined, newestMs };
  }
  const next = section + 1 < meta.blockCount ? toRowKey(meta.firstOf(section + 1)) : undefined;
  const from = toRowKey(meta.firstOf(section));
  return { blob: name, section, kind, from, to: next, lastToken, tenants: [...meta.tenants], newestMs };
}
