// A StorageEngine that is a Map: the simulator's disk. What was not committed is gone after a crash.

import { hex } from "../../src/replication/hex.ts";
import { compareRows } from "../../src/replication/scan-frames.ts";
import {
  CorruptBlock,
  type EngineStats,
  type RecordPage,
  type RecordScanOptions,
  type RowKey,
  type ScanOptions,
  type ScanPage,
  type StorageEngine,
} from "../../src/storage/types.ts";

export interface MemoryEngineOptions {
  readonly onPut?: (row: RowKey, before: Uint8Array | undefined, after: Uint8Array) => void;
  /** A planted mistake: nothing is remembered. */
  readonly forgetsRecords?: boolean;
}

interface Stored {
  readonly row: RowKey;
  readonly value: Uint8Array;
}

export class MemoryEngine implements StorageEngine {
  readonly #rows = new Map<string, Stored>();
  readonly #records = new Map<string, Uint8Array>();
  #undo: (() => void)[] = [];
  #uncommitted: (() => void)[] = [];
  readonly #options: MemoryEngineOptions;
  readonly maintenanceDue = false;
  overloaded = false;
  readonly #unreadable = new Set<string>();
  /** The next commit throws: the process dies before it. */
  failsCommit = false;
  /** When the newest of the damaged rows was written. */
  newestMs = 0;

  constructor(options: MemoryEngineOptions = {}) {
    this.#options = options;
  }

  /** What is remembered, for streaming to a rebuilt node: where this one remembers something else, `choose` says what it will. */
  copyRecordsTo(other: MemoryEngine, choose: (held: Uint8Array, incoming: Uint8Array) => Uint8Array): void {
    for (const [key, value] of this.#records) {
      const held = other.#records.get(key);
      other.#records.set(key, held ? choose(held, value) : value);
    }
  }

  /** Rows are gone for good, as after a merge of tables. Returns how many. */
  drop(shouldDrop: (state: Uint8Array) => boolean): number {
    const gone = [...this.#rows].filter(([, { value }]) => shouldDrop(value));
    for (const [name] of gone) this.#rows.delete(name);
    return gone.length;
  }

  rows(): RowKey[] {
    return [...this.#rows.values()].map(({ row }) => row);
  }

  #set<T>(map: Map<string, T>, key: string, value: T): void {
    const before = map.get(key);
    this.#undo.push(() => (before ? map.set(key, before) : map.delete(key)));
    map.set(key, value);
  }

  /** Loses what the turn wrote, as a crash before its commit does. */
  rollback(): void {
    for (const step of this.#undo.reverse()) step();
    this.#undo = [];
    this.#uncommitted = [];
  }

  prepare(): undefined {
    return undefined;
  }

  /** From now on the row's stored copy fails its checksum, until it is put again. */
  damage(row: RowKey): void {
    this.#unreadable.add(`${row.tenant}/${row.key}`);
  }

  isReadable(row: RowKey): boolean {
    return !this.#unreadable.has(`${row.tenant}/${row.key}`);
  }

  get(row: RowKey): Uint8Array | undefined {
    if (!this.isReadable(row)) throw new CorruptBlock(`the block of ${row.key} fails its CRC32C`, this.newestMs);
    return this.#rows.get(`${row.tenant}/${row.key}`)?.value;
  }

  put(row: RowKey, value: Uint8Array): void {
    const place = `${row.tenant}/${row.key}`;
    if (this.#unreadable.delete(place)) this.#undo.push(() => this.#unreadable.add(place));
    const before = this.get(row);
    const after = value.slice();
    this.#uncommitted.push(() => this.#options.onPut?.(row, before, after));
    this.#set(this.#rows, `${row.tenant}/${row.key}`, { row, value: after });
  }

  findRecord(tenant: number, writeId: Uint8Array): Uint8Array | undefined {
    return this.#records.get(`${tenant}/${hex(writeId)}`);
  }

  addRecord(tenant: number, writeId: Uint8Array, answer: Uint8Array): void {
    if (this.#options.forgetsRecords) return;
    this.#set(this.#records, `${tenant}/${hex(writeId)}`, answer.slice());
  }

  commit(): void {
    if (this.failsCommit) throw new Error("died before the commit");
    for (const tell of this.#uncommitted) tell();
    this.#uncommitted = [];
    this.#undo = [];
  }

  async runMaintenance(): Promise<boolean> {
    return false;
  }

  eraseTenant(tenant: number): void {
    for (const map of [this.#rows, this.#records]) {
      for (const key of map.keys()) if (key.startsWith(`${tenant}/`)) map.delete(key);
    }
  }

  erasuresPending(): readonly number[] {
    return [];
  }

  async probe(): Promise<void> {
    // A Map does not fail.
  }

  async scan(options: ScanOptions): Promise<ScanPage> {
    const { tenant, after, fromTokenHi = 0, toTokenHi = 0xffff_ffff, limitRows } = options;
    const rows = [...this.#rows.values()]
      .filter(({ row }) => tenant === undefined || row.tenant === tenant)
      .filter(({ row }) => row.token.hi >= fromTokenHi && row.token.hi <= toTokenHi)
      .filter(({ row }) => !after || compareRows(row, after) > 0)
      .sort((a, b) => compareRows(a.row, b.row));
    return { rows: rows.slice(0, limitRows), done: rows.length <= limitRows };
  }

  async scanRecords({ after, fromHash, toHash, limitRows }: RecordScanOptions): Promise<RecordPage> {
    const from = after ? `${after.tenant}/${hex(after.writeId)}` : "";
    const names = [...this.#records.keys()].sort().filter((name) => {
      const hash = Number.parseInt(name.slice(name.indexOf("/") + 1, name.indexOf("/") + 9), 16);
      return name > from && hash >= fromHash && hash <= toHash;
    });
    const records = names.slice(0, limitRows).map((name) => {
      const [tenant, id] = name.split("/") as [string, string];
      const writeId = Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(id.slice(i * 2, i * 2 + 2), 16));
      return { key: { tenant: Number(tenant), writeId }, answer: this.#records.get(name)! };
    });
    return { records, done: names.length <= limitRows };
  }

  stats(): EngineStats {
    throw new Error("the simulator has no storage numbers");
  }
}
