// What every blob store does, as a suite that takes a factory. Run on memory and SQLite here, on R2 and disk in test/objects and
// test/e2e. Must not: know an implementation.

import { describe, expect, it } from "vitest";
import type { BlobStore } from "../../../src/storage/types.ts";

/** Declares the suite. `create` gives a store that may hold other blobs; names used here are unique per call. */
export function blobStoreContract(title: string, create: () => BlobStore | Promise<BlobStore>): void {
  let counter = 0;
  const freshName = () => `contract/1-${++counter}-${Math.random().toString(16).slice(2)}`;
  const pattern = (length: number) => new Uint8Array(length).map((_, index) => (index * 7 + (index >> 8)) & 0xff);

  describe(`blob store: ${title}`, () => {
    it("[ST-30] what was put is read back, whole and by range", async () => {
      const store = await create();
      const name = freshName();
      const bytes = pattern(150_000);
      await store.put(name, bytes);
      expect(await store.size(name)).toBe(bytes.length);
      for (const [offset, length] of [
        [0, 150_000],
        [0, 1],
        [149_999, 1],
        [32_760, 16],
        [32_768, 32_768],
        [1000, 100_000],
        [5, 0],
      ] as const) {
        const got = await store.get(name, offset, length);
        expect(got?.length, `${offset}+${length}`).toBe(length);
        expect(
          got?.every((byte, index) => byte === bytes[offset + index]),
          `${offset}+${length}`,
        ).toBe(true);
      }
    });

    it("[ST-31] a range past the end, and a missing blob, are undefined", async () => {
      const store = await create();
      const name = freshName();
      await store.put(name, pattern(100));
      expect(await store.get(name, 50, 51)).toBeUndefined();
      expect(await store.get(name, 200, 1)).toBeUndefined();
      expect(await store.get(freshName(), 0, 1)).toBeUndefined();
      expect(await store.size(freshName())).toBeUndefined();
    });

    it("[ST-32] a deleted blob is gone, and deleting twice is no error", async () => {
      const store = await create();
      const name = freshName();
      const other = freshName();
      await store.put(name, pattern(70_000));
      await store.put(other, pattern(70_000));
      await store.delete(name);
      await store.delete(name);
      expect(await store.get(name, 0, 1)).toBeUndefined();
      expect(await store.size(name)).toBeUndefined();
      expect((await store.get(other, 69_999, 1))?.length).toBe(1);
    });

    it("[ST-33] the store keeps its own copy: neither side sees later changes of the other", async () => {
      const store = await create();
      const name = freshName();
      const bytes = pattern(1000);
      await store.put(name, bytes);
      bytes.fill(0);
      const first = await store.get(name, 0, 1000);
      expect(first?.[1]).toBe(7);
      first?.fill(1);
      expect((await store.get(name, 0, 1000))?.[1]).toBe(7);
    });
  });
}
