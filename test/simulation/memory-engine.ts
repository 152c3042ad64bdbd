// A StorageEngine that is a Map: the simulator's disk. What was not committed is gone after a crash.
import type { EngineStats, RowKey, ScanPage, StorageEngine } from "../../src/storage/types.ts";
import { hex } from "../../src/replication/hex.ts";

export class MemoryEngine implements StorageEngine {
  readonly #rows = new Map<string, Uint8Array>();
  readonly #records = new Map<string, Uint8Array>();
  #undo: (() => void)[] = [];
  readonly maintenanceDue = false;

  #set(map: Map<string, Uint8Array>, key: string, value: Uint8Array): void {
    const before = map.get(key);
    this.#undo.push(() => (before ? map.set(key, before) : map.delete(key)));
    map.set(key, value.slice());
  }

  /** Loses what the turn wrote, as a crash before its commit does. */
  rollback(): void {
    for (const step of this.#undo.reverse()) step();
    this.#undo = [];
  }

  prepare(): undefined {
    return undefined;
  }

  get(row: RowKey): Uint8Array | undefined {
    return this.#rows.get(`${row.tenant}/${row.key}`);
  }

  put(row: RowKey, value: Uint8Array): void {
    this.#set(this.#rows, `${row.tenant}/${row.key}`, value);
  }

  findRecord(tenant: number, writeId: Uint8Array): Uint8Array | undefined {
    return this.#records.get(`${tenant}/${hex(writeId)}`);
  }

  addRecord(tenant: number, writeId: Uint8Array, answer: Uint8Array): void {
    this.#set(this.#records, `${tenant}/${hex(writeId)}`, answer);
  }

  commit(): void {
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
