// Blobs in memory, for tests and the simulator. Guarantees: what was put is what is got; an existing name is never overwritten.
// Must not: share memory with callers.

import type { SyncBlobStore } from "./types.ts";

export class MemoryBlobStore implements SyncBlobStore {
  readonly blobs = new Map<string, Uint8Array>();

  putSync(name: string, bytes: Uint8Array): void {
    if (this.blobs.has(name)) throw new Error(`blob ${name} exists: names are never reused`);
    this.blobs.set(name, bytes.slice());
  }

  *putParts(name: string, bytes: Uint8Array): Generator<void, void, void> {
    this.putSync(name, bytes);
    yield;
  }

  getSync(name: string, offset: number, lengthBytes: number): Uint8Array | undefined {
    const blob = this.blobs.get(name);
    if (blob === undefined || offset + lengthBytes > blob.length) return undefined;
    return blob.slice(offset, offset + lengthBytes);
  }

  deleteSync(name: string): void {
    this.blobs.delete(name);
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    this.putSync(name, bytes);
  }

  async get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    return this.getSync(name, offset, lengthBytes);
  }

  async size(name: string): Promise<number | undefined> {
    return this.blobs.get(name)?.length;
  }

  async delete(name: string): Promise<void> {
    this.deleteSync(name);
  }
}
