// Names of blobs: never used twice; recorded before the blob is written, so that what a crash leaves behind is found and deleted.
import { drain } from "../../storage/drain.ts";
import type { SqlStorage } from "../../storage/types.ts";

export interface BlobNamesOptions {
  readonly sql: SqlStorage;
  /** First part of every name. */
  readonly prefix: string;
  readonly term: number;
  readonly random: (byteCount: number) => Uint8Array;
  /** Blobs that snapshots name. */
  readonly pinned?: Iterable<string> | undefined;
}

export class BlobNames {
  readonly #options: BlobNamesOptions;
  readonly #dead: Set<string>;
  /** Blobs that a snapshot names: they stay, whatever else needs them no more. */
  #pinned: ReadonlySet<string>;
  #sequence = 0;

  /** A start has no writer yet: every intent is an orphan of the one before. */
  constructor(options: BlobNamesOptions) {
    this.#options = options;
    const { sql, pinned = [] } = options;
    this.#pinned = new Set(pinned);
    sql.transactionSync(() => {
      drain(sql.exec("INSERT OR IGNORE INTO storage_dead (name) SELECT name FROM storage_intents"));
      drain(sql.exec("DELETE FROM storage_intents"));
    });
    this.#dead = new Set([...sql.exec<{ name: string }>("SELECT name FROM storage_dead")].map((row) => row.name));
  }

  get deadCount(): number {
    return this.#dead.size;
  }

  /** Term, sequence and 128 random bits: a late write of an owner that was replaced harms nothing. */
  next(): string {
    const { prefix, term, random, sql } = this.#options;
    const nonce = Array.from(random(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const name = `${prefix}/${term}.${++this.#sequence}.${nonce}`;
    drain(sql.exec("INSERT INTO storage_intents (name) VALUES (?)", name));
    return name;
  }

  /** In the transaction that names them in the manifest. */
  used(names: Iterable<string>): void {
    for (const name of names) drain(this.#options.sql.exec("DELETE FROM storage_intents WHERE name = ?", name));
  }

  /** In the transaction after which the manifest no longer names them; or for blobs of work that was given up. */
  bury(names: Iterable<string>): void {
    for (const name of names) {
      if (this.#pinned.has(name)) {
        drain(this.#options.sql.exec("INSERT OR IGNORE INTO vector_held (name) VALUES (?)", name));
        continue;
      }
      drain(this.#options.sql.exec("INSERT OR IGNORE INTO storage_dead (name) VALUES (?)", name));
      drain(this.#options.sql.exec("DELETE FROM storage_intents WHERE name = ?", name));
      this.#dead.add(name);
    }
  }

  /** What snapshots name from now on; what only they needed, and no longer do, is dead. Call in the turn of the change. */
  pin(names: Iterable<string>): void {
    this.#pinned = new Set(names);
    const held = [...this.#options.sql.exec<{ name: string }>("SELECT name FROM vector_held")].map(({ name }) => name);
    const free = held.filter((name) => !this.#pinned.has(name));
    for (const name of free) drain(this.#options.sql.exec("DELETE FROM vector_held WHERE name = ?", name));
    this.bury(free);
  }

  /** The manifest names these again: in the transaction in which it does. */
  takeBack(names: Iterable<string>): void {
    for (const name of names) drain(this.#options.sql.exec("DELETE FROM vector_held WHERE name = ?", name));
  }

  /** A blob of this name is written again: what is left of the one before must be deleted, and not the new one later. True = there may be some. */
  revive(name: string): boolean {
    drain(this.#options.sql.exec("DELETE FROM storage_dead WHERE name = ?", name));
    return this.#dead.delete(name);
  }

  /** Deletes up to `most` dead blobs by `erase`. */
  sweep(most: number, erase: (name: string) => void): void {
    for (const name of [...this.#dead].slice(0, most)) {
      erase(name);
      drain(this.#options.sql.exec("DELETE FROM storage_dead WHERE name = ?", name));
      this.#dead.delete(name);
    }
  }
}
