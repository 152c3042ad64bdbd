// A StorageEngine that is a Map: the simulator's disk. What was not committed is gone after a crash.

import { hex } from "../../src/replication/hex.ts";
import type { EngineStats, RowKey, ScanPage, StorageEngine } from "../../src/storage/types.ts";

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
  /** The next commit throws: the process dies before it. */
  failsCommit = false;

  constructor(options: MemoryEngineOptions = {}) {
    this.#options = options;
  }

  /** What is remembered, for streaming to a rebuilt node. */
  copyRecordsTo(other: MemoryEngine): void {
    for (const [key, value] of this.#records) if (!other.#records.has(key)) other.#records.set(key, value);
  }

  dropRows(isDue: (state: Uint8Array) => boolean): void {
    for (const [key, { value }] of this.#rows) if (isDue(value)) this.#rows.delete(key);
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

  get(row: RowKey): Uint8Array | undefined {
    return this.#rows.get(`${row.tenant}/${row.key}`)?.value;
  }

  put(row: RowKey, value: Uint8Array): void {
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

  async scan(): Promise<ScanPage> {
    throw new Error("the simulator does not scan");
  }

  stats(): EngineStats {
    throw new Error("the simulator has no storage numbers");
  }
}
