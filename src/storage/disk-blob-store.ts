// Blobs as files behind workerd's `disk` service (PUT, GET with Range, HEAD, DELETE over a Fetcher).
// Guarantees: a file appears whole (the service renames into place); get gives exactly the range or undefined.
// Must not: be used where acknowledged data must survive a power cut, unless fsync is proven: the service never calls it (DESIGN 1).

import type { BlobStore } from "./types.ts";

/** The part of a service binding that is used. */
export interface BlobFetcher {
  fetch(
    url: string,
    init?: { method?: string; headers?: Record<string, string>; body?: Uint8Array },
  ): Promise<Response>;
}

export class DiskBlobStore implements BlobStore {
  readonly #fetcher: BlobFetcher;

  constructor(fetcher: BlobFetcher) {
    this.#fetcher = fetcher;
  }

  #url(name: string): string {
    return `http://disk/${name.split("/").map(encodeURIComponent).join("/")}`;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    const response = await this.#fetcher.fetch(this.#url(name), { method: "PUT", body: bytes });
    await done(response);
    if (!response.ok) throw new Error(`disk service answered ${response.status} to PUT ${name}`);
  }

  async get(name: string, offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    if (lengthBytes === 0) return (await this.size(name)) === undefined ? undefined : new Uint8Array(0);
    const headers = { range: `bytes=${offset}-${offset + lengthBytes - 1}` };
    const response = await this.#fetcher.fetch(this.#url(name), { headers });
    if (response.status === 404 || response.status === 416) {
      await done(response);
      return undefined;
    }
    if (!response.ok) {
      await done(response);
      throw new Error(`disk service answered ${response.status} to GET ${name}`);
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    // A server may answer the whole file (200) instead of the range (206).
    const exact = response.status === 200 ? bytes.subarray(offset, offset + lengthBytes) : bytes;
    return exact.length === lengthBytes ? exact : undefined;
  }

  async size(name: string): Promise<number | undefined> {
    const response = await this.#fetcher.fetch(this.#url(name), { method: "HEAD" });
    await done(response);
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`disk service answered ${response.status} to HEAD ${name}`);
    return Number(response.headers.get("content-length"));
  }

  async delete(name: string): Promise<void> {
    const response = await this.#fetcher.fetch(this.#url(name), { method: "DELETE" });
    await done(response);
    if (!response.ok && response.status !== 404) {
      throw new Error(`disk service answered ${response.status} to DELETE ${name}`);
    }
  }
}

/** Reads the rest of a body: workerd keeps a connection busy until then. */
async function done(response: Response): Promise<void> {
  await response.arrayBuffer();
}
