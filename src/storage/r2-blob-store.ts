// Blobs in an R2 bucket: cheap and large, asynchronous. For Cloudflare, and anything with R2's interface.
// Guarantees: put resolves when R2 has the object durably; get gives exactly the range or undefined. Must not: retry (the
// maintenance that failed is run again) or list.

import type { BlobStore } from "./types.ts";

/** The part of R2Bucket that is used. */
export interface BlobBucket {
  put(key: string, value: Uint8Array): Promise<unknown>;
  get(
    key: string,
    options: { range: { offset: number; length: number } },
  ): Promise<{ readonly size: number; arrayBuffer(): Promise<ArrayBuffer> } | null>;
  head(key: string): Promise<{ readonly size: number } | null>;
  delete(key: string): Promise<void>;
}

export class R2BlobStore implements BlobStore {
  readonly #bucket: BlobBucket;
  readonly #prefix: string;

  constructor(bucket: BlobBucket, prefix = "storage/") {
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#bucket.put(this.#prefix + name, bytes);
  }

  async get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    if (lengthBytes === 0) return (await this.size(name)) === undefined ? undefined : new Uint8Array(0);
    const range = { offset, length: lengthBytes };
    let object: Awaited<ReturnType<BlobBucket["get"]>>;
    try {
      object = await this.#bucket.get(this.#prefix + name, { range });
    } catch (error) {
      // R2 refuses a range that begins past the end (code 10039); every other error is the caller's to judge.
      if (String(error).includes("10039")) return undefined;
      throw error;
    }
    if (object === null) return undefined;
    const bytes = new Uint8Array(await object.arrayBuffer());
    return bytes.length === lengthBytes ? bytes : undefined;
  }

  async size(name: string): Promise<number | undefined> {
    return (await this.#bucket.head(this.#prefix + name))?.size;
  }

  async delete(name: string): Promise<void> {
    await this.#bucket.delete(this.#prefix + name);
  }
}
