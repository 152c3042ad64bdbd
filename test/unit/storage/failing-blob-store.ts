// An asynchronous blob store over another that fails, delays and corrupts as told. Test only.

import type { BlobStore } from "../../../src/storage/types.ts";

export type BlobOperation = "put" | "get" | "delete";

export class FailingBlobStore implements BlobStore {
  readonly inner: BlobStore;
  /** Called before every operation; a throw is the operation's error. */
  before: (operation: BlobOperation, name: string) => void = () => undefined;
  /** Called with what a get found; what it returns is the answer. */
  onGet: (bytes: Uint8Array, name: string) => Uint8Array | undefined = (bytes) => bytes;

  constructor(inner: BlobStore) {
    this.inner = inner;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await Promise.resolve();
    this.before("put", name);
    await this.inner.put(name, bytes);
  }

  async get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    await Promise.resolve();
    this.before("get", name);
    const bytes = await this.inner.get(name, offset, lengthBytes);
    return bytes === undefined ? undefined : this.onGet(bytes, name);
  }

  async size(name: string): Promise<number | undefined> {
    return this.inner.size(name);
  }

  async delete(name: string): Promise<void> {
    await Promise.resolve();
    this.before("delete", name);
    await this.inner.delete(name);
  }
}
