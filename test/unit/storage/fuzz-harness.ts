// Random operations on an engine against a Map model, with crashes at any turn boundary or blob operation. Deterministic by seed.
// Guarantees: a process that "died" can no longer touch SQL or blobs; the model knows what must have survived. Test only.

import { seededWords } from "../../../scripts/lib/seeded.mjs";
import { openEngine } from "../../../src/storage/engine.ts";
import { referenceKernels } from "../../../src/storage/kernels.reference.ts";
import { MemoryBlobStore } from "../../../src/storage/memory-blob-store.ts";
import { SqliteBlobStore } from "../../../src/storage/sqlite-blob-store.ts";
import type { BlobStore, Kernels, SqlStorage, StorageEngine } from "../../../src/storage/types.ts";
import { FailingBlobStore } from "./failing-blob-store.ts";
import { bytesOf, rowKey, TINY_LIMITS, textOf, writeId } from "./fixture.ts";
import { NodeSql } from "./node-sql.ts";

class Died extends Error {}

/** What the engine should show. Keys are "tenant/key". */
interface Model {
  readonly rows: Map<string, string>;
  readonly records: Map<string, string>;
  readonly erased: Set<number>;
  /** Newest values of rows that a merge may drop. */
  readonly purgeable: Map<string, string>;
}

function emptyModel(): Model {
  return { rows: new Map(), records: new Map(), erased: new Set(), purgeable: new Map() };
}

function clone(model: Model): Model {
  return {
    rows: new Map(model.rows),
    records: new Map(model.records),
    erased: new Set(model.erased),
    purgeable: new Map(model.purgeable),
  };
}

export interface FuzzOptions {
  readonly seed: number;
  readonly asynchronous: boolean;
  readonly steps: number;
  readonly kernels?: Kernels;
}

export class FuzzRun {
  readonly #random: () => number;
  readonly #options: FuzzOptions;
  readonly #sql = new NodeSql();
  readonly #blobs = new MemoryBlobStore();
  #alive = { value: true };
  #engine!: StorageEngine;
  #live: Model = emptyModel();
  #committed: Model = clone(this.#live);
  #durable: Model = clone(this.#live);
  #tenants = [1, 2, 3];
  #nextTenant = 4;
  #counter = 0;
  #nowMs = 1_000_000;
  /** Blob operations until the process dies in one; -1 = it does not. */
  #fuse = -1;
  #maintenance: Promise<unknown> | undefined;
  /** No more writes. */
  #finishing = false;
  crashes = 0;

  constructor(options: FuzzOptions) {
    this.#options = options;
    this.#random = seededWords(options.seed);
  }

  #pick(count: number): number {
    return this.#random() % count;
  }

  #open(): void {
    const alive = { value: true };
    this.#alive = alive;
    const check = () => {
      if (!alive.value) throw new Died("the process is dead");
    };
    const sql: SqlStorage = {
      exec: (query, ...bindings) => {
        check();
        return this.#sql.exec(query, ...bindings);
      },
      transactionSync: (run) => {
        check();
        return this.#sql.transactionSync(run);
      },
    };
    this.#engine = openEngine({
      sql,
      blobs: this.#options.asynchronous ? this.#remoteBlobs(check) : new SqliteBlobStore(sql),
      kernels: this.#options.kernels ?? referenceKernels,
      clock: () => this.#nowMs,
      random: (count) => Uint8Array.from({ length: count }, () => this.#random() & 0xff),
      limits: {
        ...TINY_LIMITS,
        keptMemtables: this.#options.seed % 3,
        seenFilterBytes: 64 << ((this.#options.seed % 4) * 3),
        recordRetentionMs: 1_000_000_000,
        scrubPeriodMs: (this.#options.seed % 4) * 3000,
      },
      objectName: "fuzz",
      shouldDrop: (row) => row.key.startsWith("purge"),
      durable: async () => {
        check();
        this.#endTurn();
      },
    });
  }

  #remoteBlobs(check: () => void): BlobStore {
    const blobs = new FailingBlobStore(this.#blobs);
    blobs.before = (operation, name) => {
      check();
      if (this.#fuse >= 0 && this.#fuse-- === 0) {
        // Half of the time the operation takes effect before the process dies.
        if (operation === "put" && this.#random() % 2 === 0) this.#blobs.blobs.set(name, new Uint8Array(10));
        this.#alive.value = false;
        throw new Died("the process dies in a blob operation");
      }
      if (operation !== "get" && this.#random() % 40 === 0) throw new Error("the blob store fails once");
    };
    return blobs;
  }

  #endTurn(): void {
    this.#sql.endTurn();
    this.#durable = clone(this.#committed);
  }

  async #crash(): Promise<void> {
    this.crashes++;
    this.#alive.value = false;
    await this.#maintenance?.catch(() => undefined);
    this.#maintenance = undefined;
    this.#fuse = -1;
    this.#sql.crash();
    this.#live = clone(this.#durable);
    this.#committed = clone(this.#durable);
    this.#open();
  }

  async run(): Promise<void> {
    this.#open();
    this.#endTurn();
    for (let step = 0; step < this.#options.steps; step++) {
      try {
        await this.#step();
      } catch (error) {
        if (!(error instanceof Died)) throw error;
        await this.#crash();
      }
      if (!this.#alive.value) await this.#crash();
    }
    await this.#finish();
  }

  async #step(): Promise<void> {
    const choice = this.#pick(100);
    if (choice < 45) this.#write();
    else if (choice < 60) this.#commit();
    else if (choice < 70) await this.#checkSome();
    else if (choice < 92) await this.#maintain();
    else if (choice < 94) await this.#checkScan();
    else if (choice < 96) this.#erase();
    else if (choice < 98) await this.#crash();
    else if (this.#options.asynchronous) this.#fuse = this.#pick(6);
  }

  #write(): void {
    const tenant = this.#tenants[this.#pick(this.#tenants.length)]!;
    const count = 1 + this.#pick(8);
    for (let i = 0; i < count; i++) {
      const number = ++this.#counter;
      const big = this.#pick(60) === 0 ? this.#pick(6000) : this.#pick(80);
      const value = `T${tenant}!${number}:${"v".repeat(big)}`;
      const key = `key-${this.#pick(60)}${this.#pick(4) === 0 ? "-ключ" : ""}`;
      this.#engine.put(rowKey(tenant, key), bytesOf(value));
      this.#live.rows.set(`${tenant}/${key}`, value);
      if (this.#pick(2) === 0) continue;
      const id = this.#pick(200);
      this.#engine.addRecord(tenant, writeId(id), bytesOf(value.slice(0, 30)));
      this.#live.records.set(`${tenant}/${id}`, value.slice(0, 30));
    }
    if (this.#pick(4) > 0) return;
    const key = `purge-${this.#pick(20)}`;
    const value = `T${tenant}!${++this.#counter}`;
    this.#engine.put(rowKey(tenant, key), bytesOf(value), true);
    this.#live.purgeable.set(`${tenant}/${key}`, value);
  }

  #commit(): void {
    this.#nowMs += this.#pick(1000);
    this.#engine.commit();
    this.#committed = clone(this.#live);
    if (this.#pick(5) > 0) this.#endTurn();
  }

  async #maintain(): Promise<void> {
    const slice = this.#engine.runMaintenance().catch((error: unknown) => {
      if (String(error).includes("fails once")) return true;
      throw error;
    });
    this.#maintenance = slice;
    slice.catch(() => undefined);
    if (this.#options.asynchronous && !this.#finishing && this.#pick(2) === 0) this.#write();
    await slice;
    if (this.#pick(3) > 0) this.#endTurn();
  }

  #erase(): void {
    const slot = this.#pick(this.#tenants.length);
    const tenant = this.#tenants[slot]!;
    this.#tenants[slot] = this.#nextTenant++;
    this.#engine.eraseTenant(tenant);
    this.#forget(tenant);
    this.#engine.put(rowKey(tenant, "late"), bytesOf("late write of an erased tenant"));
  }

  #forget(tenant: number): void {
    for (const model of [this.#live, this.#committed]) {
      model.erased.add(tenant);
      for (const map of [model.rows, model.records, model.purgeable]) {
        for (const key of [...map.keys()]) if (key.startsWith(`${tenant}/`)) map.delete(key);
      }
    }
  }

  async #checkSome(): Promise<void> {
    for (let i = 0; i < 10; i++) {
      const tenant = i % 2 === 0 ? this.#tenants[this.#pick(3)]! : 1 + this.#pick(this.#nextTenant);
      // A few rows are read much more often than others, so that caches have something to get wrong.
      await this.#checkRow(tenant, `key-${this.#pick(i % 2 === 0 ? 4 : 60)}`);
      await this.#checkPurged(tenant, `purge-${this.#pick(20)}`);
      await this.#checkRecord(tenant, this.#pick(200));
    }
  }

  async #checkRow(tenant: number, key: string): Promise<void> {
    const row = rowKey(tenant, key);
    const wait = this.#engine.prepare([row]);
    if (wait !== undefined) await wait;
    expectSame(textOf(this.#engine.get(row)), this.#live.rows.get(`${tenant}/${key}`), `row ${tenant}/${key}`);
  }

  /** A dropped row may be gone, but an older version must not come back. */
  async #checkPurged(tenant: number, key: string): Promise<void> {
    const row = rowKey(tenant, key);
    const wait = this.#engine.prepare([row]);
    if (wait !== undefined) await wait;
    const found = textOf(this.#engine.get(row));
    if (found !== undefined)
      expectSame(found, this.#live.purgeable.get(`${tenant}/${key}`), `purgeable ${tenant}/${key}`);
  }

  async #checkRecord(tenant: number, id: number): Promise<void> {
    const wait = this.#engine.prepare([], [{ tenant, writeId: writeId(id) }]);
    if (wait !== undefined) await wait;
    const found = textOf(this.#engine.findRecord(tenant, writeId(id)));
    expectSame(found, this.#live.records.get(`${tenant}/${id}`), `record ${tenant}/${id}`);
  }

  async #checkScan(): Promise<void> {
    const tenant = this.#pick(2) === 0 ? this.#tenants[0] : undefined;
    const found = new Map<string, string>();
    let after: Parameters<StorageEngine["scan"]>[0]["after"];
    let before = "";
    for (;;) {
      const page = await this.#engine.scan({
        ...(tenant === undefined ? {} : { tenant }),
        ...(after === undefined ? {} : { after }),
        limitRows: 1 + this.#pick(40),
        limitBytes: 4000,
      });
      for (const { row, value } of page.rows) {
        const place = [row.token.hi, row.token.lo, row.tenant].map((word) => String(word).padStart(10, "0")).join();
        if (place < before) throw new Error(`scan out of order at ${row.key}`);
        before = place;
        if (!row.key.startsWith("purge")) found.set(`${row.tenant}/${row.key}`, textOf(value)!);
        after = row;
      }
      if (page.done) break;
    }
    const expected = [...this.#live.rows].filter(([key]) => tenant === undefined || key.startsWith(`${tenant}/`));
    expectSame(found.size, expected.length, "rows of a scan");
    for (const [key, value] of expected) expectSame(found.get(key), value, `scanned ${key}`);
  }

  async #finish(): Promise<void> {
    this.#finishing = true;
    this.#fuse = -1;
    await this.#crash();
    for (const place of this.#live.rows.keys()) {
      const slash = place.indexOf("/");
      await this.#checkRow(Number(place.slice(0, slash)), place.slice(slash + 1));
    }
    for (let slices = 0; this.#engine.maintenanceDue; slices++) {
      if (slices > 20_000) throw new Error("maintenance does not come to rest");
      await this.#maintain();
    }
    this.#commit();
    this.#endTurn();
    for (let id = 0; id < 200; id++) for (const tenant of this.#tenants) await this.#checkRecord(tenant, id);
    await this.#checkScan();
    await this.#eraseInDirtyTurn();
    this.#endTurn();
    this.#checkErased();
    this.#checkBlobs();
  }

  /** The hardest moment for an erasure: writes of the tenant are not committed yet and maintenance runs in between. */
  async #eraseInDirtyTurn(): Promise<void> {
    this.#write();
    this.#engine.put(rowKey(this.#tenants[0]!, "last"), bytesOf(`T${this.#tenants[0]}!`));
    this.#live.rows.set(`${this.#tenants[0]}/last`, `T${this.#tenants[0]}!`);
    this.#engine.eraseTenant(this.#tenants[0]!);
    this.#forget(this.#tenants[0]!);
    for (let slice = 0; slice < 40; slice++) await this.#maintain();
    this.#commit();
    while (this.#engine.maintenanceDue) await this.#maintain();
  }

  /** Nothing of an erased tenant is left in blobs or log. */
  #checkErased(): void {
    expectSame(this.#engine.erasuresPending().length, 0, "pending erasures");
    const stored = [...this.#blobs.blobs.values()];
    for (const table of ["storage_log", "storage_pieces"]) {
      for (const row of this.#sql.exec<{ bytes: ArrayBuffer }>(`SELECT bytes FROM ${table}`)) {
        stored.push(new Uint8Array(row.bytes));
      }
    }
    for (const tenant of this.#live.erased) {
      const marker = Buffer.from(`T${tenant}!`);
      if (stored.some((bytes) => Buffer.from(bytes).includes(marker))) {
        throw new Error(`bytes of erased tenant ${tenant} are still stored`);
      }
    }
  }

  /** Every blob is a table of the manifest, and every table has its blob. */
  #checkBlobs(): void {
    const names = (query: string) => [...this.#sql.exec<{ name: string }>(query)].map((row) => row.name).sort();
    const tables = names("SELECT name FROM storage_tables");
    const blobs = this.#options.asynchronous
      ? [...this.#blobs.blobs.keys()].sort()
      : names("SELECT name FROM storage_blobs");
    expectSame(blobs.join(), tables.join(), "blobs and tables");
  }
}

function expectSame<T>(actual: T, expected: T, what: string): void {
  if (actual !== expected) throw new Error(`${what}: expected ${String(expected)}, got ${String(actual)}`);
}
