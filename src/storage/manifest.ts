// The durable truth about blobs: which are tables, which are being written, which are dead; and about erased tenants.
// Guarantees: a name is used for one blob ever; intent row → blob write → table row; a blob is deleted only after its dead row;
// table rows, erased tenants and numbers are under one checksum, written with them and compared at the start.
// Must not: touch blobs itself.

import { drain, firstOf } from "./drain.ts";
import { MAX_KEY_BYTES } from "./limits.ts";
import { ManifestCheck } from "./manifest-check.ts";
import type { StoredTable, TableInfo } from "./table.ts";
import { CorruptManifest, type Kernels, type SqlStorage } from "./types.ts";

interface TableRow extends Omit<TableInfo, "firstKey"> {
  readonly firstKey: ArrayBuffer | null;
  readonly scrubbedMs: number;
}

export interface ManifestOptions {
  readonly sql: SqlStorage;
  readonly kernels: Pick<Kernels, "crc32c">;
  /** First part of every blob name: the object. */
  readonly objectName: string;
  readonly random: (byteCount: number) => Uint8Array;
  readonly clock: () => number;
}

export interface ClippedTable {
  readonly before: TableInfo;
  readonly after: TableInfo;
}

/** Tables to add, to remove and to clip in one step. */
export interface ManifestChange {
  readonly added: readonly TableInfo[];
  readonly removed: readonly TableInfo[];
  /** Tables whose first rows are in the added tables now, with the first row that is not. */
  readonly clipped?: readonly ClippedTable[];
  /** Log rows up to this are covered by the added tables. */
  readonly logThrough?: number;
}

const NUMBERS = ["logThrough", "term"] as const;
type ManifestNumber = (typeof NUMBERS)[number];

export class Manifest {
  readonly #sql: SqlStorage;
  readonly #objectName: string;
  readonly #random: (byteCount: number) => Uint8Array;
  readonly #clock: () => number;
  readonly #check: ManifestCheck;
  #term = 0;
  #sequence = 0;
  logThrough: number;
  /** Names to delete from the blob store. */
  readonly dead: Set<string>;

  /** Throws CorruptManifest. */
  constructor({ sql, kernels, objectName, random, clock }: ManifestOptions) {
    if (!/^[A-Za-z0-9][A-Za-z0-9@._-]{0,127}$/.test(objectName))
      throw new RangeError(`object name ${objectName} is not a safe blob prefix`);
    this.#sql = sql;
    this.#objectName = objectName;
    this.#random = random;
    this.#clock = clock;
    this.#check = new ManifestCheck(kernels);
    this.#verify();
    this.logThrough = this.#number("logThrough");
    this.#sweepIntents();
    this.dead = new Set([...sql.exec<{ name: string }>("SELECT name FROM storage_dead")].map((row) => row.name));
  }

  #verify(): void {
    for (const { info } of this.tables()) {
      if (info.firstKey.length > MAX_KEY_BYTES * 3)
        throw new CorruptManifest(`a table row has a key of ${info.firstKey.length} bytes`);
      this.#check.toggleTable(info);
    }
    for (const [tenant, done] of this.erased()) this.#check.toggle("erased", tenant, done ? 1 : 0);
    for (const name of NUMBERS) this.#check.toggle("number", name, this.#number(name));
    const stored = firstOf(this.#sql.exec<{ value: number }>("SELECT value FROM storage_numbers WHERE name = 'check'"));
    // A store of before the checksum gets it now.
    if (stored === undefined) this.#storeCheck();
    else if (stored.value !== this.#check.value)
      throw new CorruptManifest("the manifest does not match its checksum: its tables are not those that were written");
  }

  /** Call in the turn (or transaction) of the change. */
  #storeCheck(): void {
    const { value } = this.#check;
    drain(this.#sql.exec("INSERT OR REPLACE INTO storage_numbers (name, value) VALUES ('check', ?)", value));
  }

  #number(name: ManifestNumber): number {
    const rows = this.#sql.exec<{ value: number }>("SELECT value FROM storage_numbers WHERE name = ?", name);
    return firstOf(rows)?.value ?? 0;
  }

  #setNumber(name: ManifestNumber, value: number): void {
    this.#check.toggle("number", name, this.#number(name));
    this.#check.toggle("number", name, value);
    drain(this.#sql.exec("INSERT OR REPLACE INTO storage_numbers (name, value) VALUES (?, ?)", name, value));
  }

  /** A start has no writer yet, so every intent is an orphan of the one before. */
  #sweepIntents(): void {
    const orphans = [...this.#sql.exec<{ name: string }>("SELECT name FROM storage_intents")].map((row) => row.name);
    if (orphans.length > 0) this.#sql.transactionSync(() => this.#bury(orphans));
  }

  #bury(names: readonly string[]): void {
    for (const name of names) {
      drain(this.#sql.exec("INSERT OR IGNORE INTO storage_dead (name) VALUES (?)", name));
      drain(this.#sql.exec("DELETE FROM storage_intents WHERE name = ?", name));
    }
  }

  tables(): StoredTable[] {
    const rows = this.#sql.exec<TableRow>(
      `SELECT kind, name, runOrder, position, sizeBytes, rowCount, metaOffset, metaBytes, metaCrc, firstHi, firstLo,
        firstTenant, firstKey, lastHi, lastLo, minMs, maxMs, scrubbedMs FROM storage_tables`,
    );
    return [...rows].map(({ scrubbedMs, ...row }) => {
      const firstKey = new Uint8Array(row.firstKey ?? new ArrayBuffer(0));
      return { info: { ...row, firstKey }, scrubbedMs };
    });
  }

  /** A name never used before, with its intent row. The intent must be durable before the blob is written. */
  beginBlob(): string {
    if (this.#term === 0) {
      this.#term = this.#number("term") + 1;
      this.#setNumber("term", this.#term);
      this.#storeCheck();
    }
    this.#sequence++;
    const nonce = Array.from(this.#random(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const name = `${this.#objectName}/${this.#term}-${this.#sequence}-${nonce}`;
    drain(this.#sql.exec("INSERT INTO storage_intents (name) VALUES (?)", name));
    return name;
  }

  /** Blobs begun but not to be used: their job failed. */
  abandon(names: readonly string[]): void {
    if (names.length === 0) return;
    this.#sql.transactionSync(() => this.#bury(names));
    for (const name of names) this.dead.add(name);
  }

  /** Makes added blobs tables and removed tables dead, in one transaction. */
  apply(change: ManifestChange): void {
    const before = this.#check.value;
    try {
      this.#sql.transactionSync(() => this.#applyWithin(change));
    } catch (error) {
      this.#check.value = before;
      throw error;
    }
    if (change.logThrough !== undefined) this.logThrough = change.logThrough;
    for (const info of change.removed) this.dead.add(info.name);
  }

  #applyWithin({ added, removed, clipped = [], logThrough }: ManifestChange): void {
    for (const info of removed) {
      this.#check.toggleTable(info);
      drain(this.#sql.exec("DELETE FROM storage_tables WHERE name = ?", info.name));
      drain(this.#sql.exec("INSERT INTO storage_dead (name) VALUES (?)", info.name));
    }
    for (const { before, after } of clipped) this.#clip(before, after);
    for (const info of added) {
      this.#insertTable(info);
      drain(this.#sql.exec("DELETE FROM storage_intents WHERE name = ?", info.name));
    }
    if (logThrough !== undefined) this.#setNumber("logThrough", logThrough);
    this.#storeCheck();
  }

  /** All of a table was read and checked. Not under the checksum: a wrong time only changes whose turn it is. */
  scrubbed(name: string, atMs: number): void {
    drain(this.#sql.exec("UPDATE storage_tables SET scrubbedMs = ? WHERE name = ?", atMs, name));
  }

  #clip(before: TableInfo, after: TableInfo): void {
    const { firstHi, firstLo, firstTenant, firstKey, name } = after;
    this.#check.toggleTable(before);
    this.#check.toggleTable(after);
    drain(
      this.#sql.exec(
        "UPDATE storage_tables SET firstHi = ?, firstLo = ?, firstTenant = ?, firstKey = ? WHERE name = ?",
        ...[firstHi, firstLo, firstTenant, firstKey, name],
      ),
    );
  }

  #insertTable(info: TableInfo): void {
    this.#check.toggleTable(info);
    drain(
      this.#sql.exec(
        `INSERT INTO storage_tables (kind, name, runOrder, position, sizeBytes, rowCount, metaOffset, metaBytes, metaCrc,
          firstHi, firstLo, firstTenant, firstKey, lastHi, lastLo, minMs, maxMs, scrubbedMs)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        info.kind,
        info.name,
        info.runOrder,
        info.position,
        info.sizeBytes,
        info.rowCount,
        info.metaOffset,
        info.metaBytes,
        info.metaCrc,
        info.firstHi,
        info.firstLo,
        info.firstTenant,
        info.firstKey,
        info.lastHi,
        info.lastLo,
        info.minMs,
        info.maxMs,
        this.#clock(),
      ),
    );
  }

  /** The blob store holds this blob no more. */
  blobDeleted(name: string): void {
    drain(this.#sql.exec("DELETE FROM storage_dead WHERE name = ?", name));
    this.dead.delete(name);
  }

  /** Erased tenants: number → whether nothing of them is stored any more. */
  erased(): Map<number, boolean> {
    const rows = this.#sql.exec<{ tenant: number; done: number }>("SELECT tenant, done FROM storage_erased");
    return new Map([...rows].map((row) => [row.tenant, row.done !== 0]));
  }

  setErased(tenant: number, done: boolean): void {
    const before = this.erased().get(tenant);
    if (before !== undefined) this.#check.toggle("erased", tenant, before ? 1 : 0);
    this.#check.toggle("erased", tenant, done ? 1 : 0);
    this.#storeCheck();
    drain(this.#sql.exec("INSERT OR REPLACE INTO storage_erased (tenant, done) VALUES (?, ?)", tenant, done ? 1 : 0));
  }
}
