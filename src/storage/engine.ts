// The storage engine: one LSM store over a commit log in SQL and tables in a blob store.
// Guarantees: what commit() wrote is found after any crash; reads of a turn see its writes; a corrupt block is an error, never a
// value. Must not: know what values mean, read a clock or randomness of its own, or wait inside get/put.

import { CommitLog } from "./commit-log.ts";
import { type Counters, createCounters } from "./counters.ts";
import {
  assertLimits,
  type EngineLimits,
  MAX_KEY_BYTES,
  MAX_READ_ROUNDS,
  MAX_RECORD_ANSWER_BYTES,
  MAX_TENANT,
  MAX_VALUE_BYTES,
  SERVER_LIMITS,
} from "./limits.ts";
import { freezeActive, Maintenance } from "./maintenance.ts";
import { Manifest } from "./manifest.ts";
import { Memtable } from "./memtable.ts";
import { recordHi, recordLo, WRITE_ID_BYTES } from "./record-index.ts";
import { RowCache } from "./row-cache.ts";
import { aim, createProbe, FLAG_PURGEABLE, type Probe } from "./row-format.ts";
import { RunSet } from "./run-set.ts";
import { scanPage } from "./scan.ts";
import { recordPage } from "./scan-records.ts";
import { SeenFilter } from "./seen-filter.ts";
import type { AtFailPoint, EngineState, ShouldDrop } from "./state.ts";
import { asSync, type MissingSection, Table, TableReader } from "./table.ts";
import {
  type BlobStore,
  CorruptBlock,
  type CorruptRange,
  type EngineStats,
  type Kernels,
  type RecordKey,
  type RecordPage,
  type RecordScanOptions,
  type RepairableEngine,
  type RowKey,
  type ScanOptions,
  type ScanPage,
  type SqlStorage,
  type SyncBlobStore,
} from "./types.ts";

export interface EngineOptions {
  readonly sql: SqlStorage;
  readonly blobs: BlobStore | SyncBlobStore;
  readonly kernels: Kernels;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly random: (byteCount: number) => Uint8Array;
  /** Bounds that differ from {@link SERVER_LIMITS}. */
  readonly limits?: Partial<EngineLimits>;
  /** First part of blob names: unique per object within the blob store; [A-Za-z0-9._-]. */
  readonly objectName: string;
  /** Asked about purgeable rows; see StorageEngine.put. */
  readonly shouldDrop?: ShouldDrop;
  readonly onCorrupt?: (range: CorruptRange) => void;
  /** Resolves when all writes so far are durable. Only needed where nothing like the output gate holds blob writes back. */
  readonly durable?: () => Promise<void>;
  /** Tests that kill the process; see fail-points.ts. */
  readonly atFailPoint?: AtFailPoint | undefined;
}

/**
 * Opens the store: reads the manifest, replays the log. The tables of migrations/storage.ts must exist.
 * @throws CorruptLog, CorruptManifest
 */
export function openEngine(options: EngineOptions): RepairableEngine {
  return new LsmEngine(options);
}

function createState(options: EngineOptions): EngineState {
  const { sql, blobs, kernels, clock } = options;
  const limits: EngineLimits = { ...SERVER_LIMITS, ...options.limits };
  assertLimits(limits);
  const counters: Counters = createCounters();
  const manifest = new Manifest(options);
  const reader = new TableReader({ blobs, kernels, limits, clock, counters, onCorrupt: options.onCorrupt });
  const tables = manifest.tables().map(({ info, scrubbedMs }) => new Table(info, scrubbedMs));
  const erased = manifest.erased();
  const secret = new DataView(options.random(4).buffer).getInt32(0);
  return {
    limits,
    kernels,
    clock,
    blobs,
    sync: asSync(blobs),
    durable: options.durable,
    atFailPoint: options.atFailPoint,
    shouldDrop: options.shouldDrop,
    counters,
    log: new CommitLog(sql, kernels),
    manifest,
    reader,
    rows: new RunSet(
      reader,
      tables.filter((table) => table.info.kind === "row"),
    ),
    records: new RunSet(
      reader,
      tables.filter((table) => table.info.kind === "record"),
    ),
    rowCache: new RowCache(limits.rowCacheBytes, clock),
    seenRows: new SeenFilter(limits.seenFilterBytes),
    seenRecords: new SeenFilter(limits.seenFilterBytes),
    erased: {
      all: new Set(erased.keys()),
      pending: new Set([...erased].filter(([, done]) => !done).map(([tenant]) => tenant)),
    },
    secret,
    active: new Memtable(secret),
    frozen: [],
    kept: [],
    freezeRequested: false,
  };
}

class LsmEngine implements RepairableEngine {
  readonly #state: EngineState;
  readonly #maintenance: Maintenance;
  readonly #probe: Probe = createProbe(MAX_KEY_BYTES * 3);

  constructor(options: EngineOptions) {
    this.#state = createState(options);
    this.#recover();
    this.#maintenance = new Maintenance(this.#state);
  }

  #recover(): void {
    const state = this.#state;
    const isErased = (tenant: number): boolean => state.erased.all.has(tenant);
    state.log.replay(state.manifest.logThrough, ({ bytes, lastSeq, atMs }) => {
      const { active } = state;
      active.seenRowsFrom = 0;
      active.seenRecordsFrom = 0;
      active.replay(bytes, isErased);
      active.arena.takeRegions();
      this.#committed(lastSeq, atMs);
    });
  }

  /** The active memtable is durable up to `lastSeq`; freezes it when full. */
  #committed(lastSeq: number, atMs: number): void {
    const { active, limits } = this.#state;
    active.lastSeq = lastSeq;
    active.minMs = Math.min(active.minMs, atMs);
    active.maxMs = Math.max(active.maxMs, atMs);
    // An erasure waits for the flush before it: many small frozen memtables would make the engine overloaded.
    const isAskedFor = this.#state.freezeRequested && this.#state.frozen.length === 0;
    if (active.arena.bytes >= limits.memtableBytes || isAskedFor) freezeActive(this.#state);
  }

  prepare(rows: readonly RowKey[], records: readonly RecordKey[] = []): Promise<void> | undefined {
    if (this.#state.sync !== undefined) return undefined;
    const { reader } = this.#state;
    reader.retryCorrupt = true;
    const missing = this.#missing(rows, records);
    reader.retryCorrupt = false;
    return missing.length === 0 ? undefined : this.#load(missing, rows, records);
  }

  async #load(first: MissingSection[], rows: readonly RowKey[], records: readonly RecordKey[]): Promise<void> {
    let missing = first;
    for (let round = 0; missing.length > 0; round++) {
      if (round === MAX_READ_ROUNDS) throw new Error(`tables changed ${MAX_READ_ROUNDS} times under one prepare`);
      await Promise.all(missing.map((section) => this.#state.reader.load(section)));
      missing = this.#missing(rows, records);
    }
  }

  #missing(rows: readonly RowKey[], records: readonly RecordKey[]): MissingSection[] {
    const missing: MissingSection[] = [];
    for (const row of rows) {
      const probe = this.#aim(row);
      const before = this.#state.seenRows.before(probe.hi, probe.lo);
      if (this.#inMemory(probe, before) === undefined) this.#state.rows.find(probe, before, missing);
    }
    for (const { tenant, writeId } of records) {
      const probe = this.#aimRecord(tenant, writeId);
      this.#state.records.find(probe, this.#state.seenRecords.before(probe.hi, probe.lo), missing);
    }
    return missing;
  }

  #inMemory(probe: Probe, before: number): Uint8Array | undefined {
    const { active, frozen, kept, rowCache, rows } = this.#state;
    const newest = (active.seenRowsFrom < before ? active.get(probe) : undefined) ?? newestOf(frozen, probe, before);
    if (newest !== undefined || rows.runs.length === 0) return newest;
    const flushed = newestOf(kept, probe, before);
    if (flushed !== undefined) {
      rowCache.hits++;
      return flushed;
    }
    if (rowCache.bytes !== 0) return rowCache.get(probe);
    rowCache.misses++;
    return undefined;
  }

  get(row: RowKey, willPut = false): Uint8Array | undefined {
    const { erased, rows, rowCache, seenRows } = this.#state;
    if (erased.all.size !== 0 && erased.all.has(row.tenant)) return undefined;
    const before = seenRows.before(row.token.hi, row.token.lo);
    if (before !== Number.POSITIVE_INFINITY && this.#allRowsSince(before)) return undefined;
    const probe = this.#aim(row);
    const resident = this.#inMemory(probe, before);
    if (resident !== undefined || rows.runs.length === 0) return resident;
    const found = rows.find(probe, before);
    return found === undefined || willPut ? found : rowCache.add(probe, found);
  }

  /** No place holds a row from before this generation: what is not in the filter is nowhere. */
  #allRowsSince(generation: number): boolean {
    const { active, frozen, kept, rows } = this.#state;
    if (active.seenRowsFrom < generation || rows.seenFrom < generation) return false;
    for (const memtable of frozen) if (memtable.seenRowsFrom < generation) return false;
    for (const memtable of kept) if (memtable.seenRowsFrom < generation) return false;
    return true;
  }

  #aim(row: RowKey): Probe {
    return aim(this.#probe, row);
  }

  #aimRecord(tenant: number, writeId: Uint8Array): Probe {
    const probe = this.#probe;
    probe.hi = recordHi(writeId);
    probe.lo = recordLo(writeId);
    probe.tenant = tenant;
    probe.key.set(writeId);
    probe.keyBytes = WRITE_ID_BYTES;
    return probe;
  }

  put(row: RowKey, value: Uint8Array, purgeable = false): void {
    const { erased, active, rowCache, rows, seenRows } = this.#state;
    assertRow(row, value);
    // A late hint or repair must not bring an erased tenant back; its number is never used again.
    if (erased.all.size !== 0 && erased.all.has(row.tenant)) return;
    active.put(row, value, purgeable ? FLAG_PURGEABLE : 0);
    seenRows.add(row.token.hi, row.token.lo);
    if (rows.runs.length !== 0 && rowCache.bytes !== 0) rowCache.remove(row.token);
  }

  findRecord(tenant: number, writeId: Uint8Array): Uint8Array | undefined {
    const { erased, active, frozen, records, seenRecords } = this.#state;
    assertWriteId(tenant, writeId);
    if (erased.all.size !== 0 && erased.all.has(tenant)) return undefined;
    const before = seenRecords.before(recordHi(writeId), recordLo(writeId));
    const newest = active.seenRecordsFrom < before ? active.records.find(tenant, writeId) : undefined;
    if (newest !== undefined) return newest;
    for (let i = frozen.length - 1; i >= 0; i--) {
      if (frozen[i]!.seenRecordsFrom >= before) continue;
      const answer = frozen[i]!.records.find(tenant, writeId);
      if (answer !== undefined) return answer;
    }
    if (records.seenFrom >= before) return undefined;
    return records.find(this.#aimRecord(tenant, writeId), before)?.slice();
  }

  addRecord(tenant: number, writeId: Uint8Array, answer: Uint8Array): void {
    const { erased, active, seenRecords } = this.#state;
    assertWriteId(tenant, writeId);
    if (answer.length > MAX_RECORD_ANSWER_BYTES) {
      throw new RangeError(`a record's answer of ${answer.length} bytes is over ${MAX_RECORD_ANSWER_BYTES}`);
    }
    if (erased.all.size !== 0 && erased.all.has(tenant)) return;
    active.records.add(tenant, writeId, answer);
    seenRecords.add(recordHi(writeId), recordLo(writeId));
  }

  commit(): void {
    const { active, log, counters, clock } = this.#state;
    if (!active.arena.dirty) return;
    const atMs = clock();
    counters.commitBytes += log.append(active.arena.takeRegions(), atMs);
    counters.commits++;
    this.#committed(log.lastSeq, atMs);
  }

  get overloaded(): boolean {
    return this.#state.frozen.length >= this.#state.limits.maxFrozenMemtables;
  }

  get maintenanceDue(): boolean {
    return this.#maintenance.due;
  }

  get nextScrubMs(): number | undefined {
    return this.#maintenance.scrub.nextMs;
  }

  runMaintenance(): Promise<boolean> {
    return this.#maintenance.run();
  }

  purge(): void {
    this.#maintenance.purge();
  }

  get purgePending(): boolean {
    return this.#maintenance.purgePending;
  }

  eraseTenant(tenant: number): void {
    const { erased, manifest, active, frozen, kept, rowCache } = this.#state;
    assertTenant(tenant);
    if (erased.all.has(tenant)) return;
    manifest.setErased(tenant, false);
    erased.all.add(tenant);
    erased.pending.add(tenant);
    active.erase(tenant);
    for (const memtable of [...frozen, ...kept]) memtable.erase(tenant);
    rowCache.removeTenant(tenant);
    this.#maintenance.erase();
  }

  erasuresPending(): readonly number[] {
    return [...this.#state.erased.pending];
  }

  discardCorrupt({ blob, section, kind }: CorruptRange): void {
    const { runs } = kind === "row" ? this.#state.rows : this.#state.records;
    for (const run of runs) {
      const table = run.tables.find(({ info }) => info.name === blob);
      if (table === undefined) continue;
      table.discarded.add(section);
      run.quarantined = false;
      this.#maintenance.rewrite();
    }
  }

  corruptRanges(): readonly CorruptRange[] {
    const ranges: CorruptRange[] = [];
    for (const { runs } of [this.#state.rows, this.#state.records]) {
      for (const { tables } of runs) {
        for (const { reported, discarded } of tables) {
          for (const [section, range] of reported) if (!discarded.has(section)) ranges.push(range);
        }
      }
    }
    return ranges;
  }

  async scan(options: ScanOptions): Promise<ScanPage> {
    const start = this.#scanStart(options);
    for (let round = 0; ; round++) {
      const { runs } = this.#state.rows;
      try {
        const page = await scanPage(this.#state, options, start);
        // What was passed over as unreadable may have been deleted while the page waited.
        if (options.pastCorrupt !== true || this.#state.rows.runs === runs || round === MAX_READ_ROUNDS) return page;
      } catch (error) {
        // A compaction may have replaced and deleted tables while the page waited: begin it again with the tables of now.
        const replaced = error instanceof CorruptBlock && this.#state.rows.runs !== runs;
        if (!replaced || round === MAX_READ_ROUNDS) throw error;
      }
    }
  }

  async scanRecords(options: RecordScanOptions): Promise<RecordPage> {
    for (let round = 0; ; round++) {
      const { runs } = this.#state.records;
      try {
        return await recordPage(this.#state, options);
      } catch (error) {
        const replaced = error instanceof CorruptBlock && this.#state.records.runs !== runs;
        if (!replaced || round === MAX_READ_ROUNDS) throw error;
      }
    }
  }

  #scanStart({ after, fromTokenHi = 0 }: ScanOptions): { from: Probe; inclusive: boolean } {
    const from = createProbe(after === undefined ? 0 : after.key.length * 3);
    if (after === undefined || after.token.hi < fromTokenHi) {
      from.hi = fromTokenHi;
      return { from, inclusive: true };
    }
    return { from: aim(from, after), inclusive: false };
  }

  stats(): EngineStats {
    const { active, frozen, kept, log, rows, records, reader, rowCache, counters } = this.#state;
    const memtables = [active, ...frozen];
    return {
      memtableBytes: memtables.reduce((sum, memtable) => sum + memtable.arena.bytes, 0),
      memtableRows: memtables.reduce((sum, memtable) => sum + memtable.rowCount, 0),
      logBytes: log.bytes,
      tableCount: rows.tableCount,
      tableBytes: rows.sizeBytes,
      tableRows: rows.rowCount,
      recordSegmentCount: records.tableCount,
      recordSegmentBytes: records.sizeBytes,
      blockCacheBytes: reader.blockCache.bytes,
      rowCacheBytes: kept.reduce((sum, memtable) => sum + memtable.arena.bytes, rowCache.bytes),
      blockCacheHitsTotal: counters.blockCacheHits,
      blockCacheMissesTotal: counters.blockCacheMisses,
      rowCacheHitsTotal: rowCache.hits,
      rowCacheMissesTotal: rowCache.misses,
      bloomSkipsTotal: counters.bloomSkips,
      commitsTotal: counters.commits,
      commitBytesTotal: counters.commitBytes,
      flushesTotal: counters.flushes,
      flushBytesTotal: counters.flushBytes,
      compactionsTotal: counters.compactions,
      compactionBytesReadTotal: counters.compactionBytesRead,
      compactionBytesWrittenTotal: counters.compactionBytesWritten,
      corruptBlocksTotal: counters.corruptBlocks,
      purgedRowsTotal: counters.purgedRows,
      corruptRanges: this.corruptRanges().length,
      scrubbedBlocksTotal: counters.scrubbedBlocks,
      scrubbedBytesTotal: counters.scrubbedBytes,
      scrubOldestAgeSeconds: Math.round(this.#maintenance.scrub.oldestAgeMs / 1000),
    };
  }
}

function newestOf(memtables: readonly Memtable[], probe: Probe, before: number): Uint8Array | undefined {
  for (let i = memtables.length - 1; i >= 0; i--) {
    if (memtables[i]!.seenRowsFrom >= before) continue;
    const value = memtables[i]!.get(probe);
    if (value !== undefined) return value;
  }
  return undefined;
}

function assertTenant(tenant: number): void {
  if (!(Number.isInteger(tenant) && tenant >= 0 && tenant <= MAX_TENANT)) {
    throw new RangeError(`tenant number ${tenant} is not an unsigned 32-bit integer`);
  }
}

function assertWriteId(tenant: number, writeId: Uint8Array): void {
  assertTenant(tenant);
  if (writeId.length !== WRITE_ID_BYTES)
    throw new RangeError(`a write id has ${WRITE_ID_BYTES} bytes, not ${writeId.length}`);
}

function assertRow(row: RowKey, value: Uint8Array): void {
  assertTenant(row.tenant);
  const length = row.encoded?.length ?? row.key.length;
  if (length > MAX_KEY_BYTES || (row.encoded === undefined && !row.key.isWellFormed())) {
    throw new RangeError(`a key of ${length} UTF-16 units is over ${MAX_KEY_BYTES} bytes or not well-formed`);
  }
  if (value.length > MAX_VALUE_BYTES)
    throw new RangeError(`a value of ${value.length} bytes is over ${MAX_VALUE_BYTES}`);
}
