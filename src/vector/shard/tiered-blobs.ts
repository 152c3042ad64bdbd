// The blobs of an open shard: in its SQLite, or in the blob store (cold-blobs.ts), from where ranges that were asked for are kept for a while.
// Guarantees: a read gives what is here, or throws AwayBlocks; what is kept is bounded. Must not: fetch, or judge what was fetched: readers
// compare checksums with each read.
import type { SqliteBlobStore } from "../../storage/sqlite-blob-store.ts";
import type { PutPartsOptions, SqlStorage, SyncBlobStore } from "../../storage/types.ts";
import { type AwayBlobs, AwayBlocks, type BlobRange, type SegmentBlobs } from "../segment/away.ts";
import { giveUpCold } from "./cold-blobs.ts";
import { FETCHED_BYTES } from "./limits.ts";

interface Fetched {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class TieredBlobs implements SyncBlobStore, SegmentBlobs {
  readonly local: SqliteBlobStore;
  readonly away: AwayBlobs;
  readonly #sql: SqlStorage;
  readonly #budgetBytes: number;
  readonly #away: Set<string>;
  /** By blob, the one that was fetched last at the end. */
  readonly #fetched = new Map<string, readonly Fetched[]>();
  #fetchedBytes = 0;
  readonly #lost = new Set<string>();

  constructor({ local, sql, budgetBytes = FETCHED_BYTES }: TieredBlobsOptions) {
    this.local = local;
    this.#sql = sql;
    this.#budgetBytes = budgetBytes;
    const rows = sql.exec<{ name: string }>("SELECT name FROM vector_cold WHERE state = 'used'");
    this.#away = new Set([...rows].map(({ name }) => name));
    const set = this.#away;
    this.away = {
      get isAny() {
        return set.size > 0;
      },
      has: (blob) => set.has(blob),
      lacks: (range) => set.has(range.blob) && !this.#lost.has(range.blob) && this.#kept(range) === undefined,
    };
  }

  get fetchedBytes(): number {
    return this.#fetchedBytes;
  }

  /** It is in the blob store only. */
  left(name: string): void {
    this.#away.add(name);
  }

  /** It is here again. */
  returned(name: string): void {
    this.#away.delete(name);
    this.forget(name);
  }

  /** Keeps a range until others need its room. */
  keep(blob: string, offset: number, bytes: Uint8Array): void {
    if (!this.#away.has(blob)) return;
    const before = this.#fetched.get(blob) ?? [];
    this.#fetched.delete(blob);
    this.#fetched.set(blob, [...before, { offset, bytes }]);
    this.#fetchedBytes += bytes.length;
    for (const oldest of this.#fetched.keys()) {
      if (this.#fetchedBytes <= this.#budgetBytes || oldest === blob) return;
      this.forget(oldest);
    }
  }

  /** It is not in the blob store, or short: reads say so until it is forgotten. */
  lose(blob: string): void {
    this.#lost.add(blob);
  }

  /** All that was fetched is fetched again. False = there is nothing to fetch. */
  forgetAll(): boolean {
    for (const blob of [...this.#fetched.keys(), ...this.#lost]) this.forget(blob);
    return this.away.isAny;
  }

  /** What was fetched of it is fetched again. */
  forget(blob: string): void {
    this.#lost.delete(blob);
    for (const { bytes } of this.#fetched.get(blob) ?? []) this.#fetchedBytes -= bytes.length;
    this.#fetched.delete(blob);
  }

  #kept({ blob, offset, bytes }: BlobRange): Uint8Array | undefined {
    const found = this.#fetched
      .get(blob)
      ?.find((each) => each.offset <= offset && offset + bytes <= each.offset + each.bytes.length);
    return found?.bytes.subarray(offset - found.offset, offset - found.offset + bytes);
  }

  getSync(name: string, offset: number, lengthBytes: number): Uint8Array | undefined {
    if (!this.#away.has(name)) return this.local.getSync(name, offset, lengthBytes);
    if (this.#lost.has(name)) return undefined;
    const range = { blob: name, offset, bytes: lengthBytes };
    const kept = this.#kept(range);
    if (!kept) throw new AwayBlocks([range]);
    return kept.slice();
  }

  putSync(name: string, bytes: Uint8Array, cuts?: readonly number[]): void {
    this.local.putSync(name, bytes, cuts);
  }

  putParts(name: string, bytes: Uint8Array, options: PutPartsOptions): Generator<void, void, void> {
    return this.local.putParts(name, bytes, options);
  }

  /** What is in the blob store of it is deleted there when the shard next looks. */
  deleteSync(name: string): void {
    this.local.deleteSync(name);
    giveUpCold(this.#sql, name);
    this.returned(name);
  }

  async put(name: string, bytes: Uint8Array, cuts?: readonly number[]): Promise<void> {
    this.putSync(name, bytes, cuts);
  }

  async get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    return this.getSync(name, offset, lengthBytes);
  }

  size(name: string): Promise<number | undefined> {
    return this.local.size(name);
  }

  async delete(name: string): Promise<void> {
    this.deleteSync(name);
  }
}

export interface TieredBlobsOptions {
  readonly local: SqliteBlobStore;
  readonly sql: SqlStorage;
  /** Of what was fetched. */
  readonly budgetBytes?: number | undefined;
}
