// Test support: a file in memory that comes in chunks of a given size. Must not: be imported by anything but tests.
import type { VectorFile } from "./rows.ts";

export function memoryFile(name: string, bytes: Uint8Array, chunkBytes = 64 * 1024): VectorFile {
  return {
    name,
    byteCount: bytes.length,
    async *stream() {
      for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
    slice: async (start, end) => bytes.slice(start, end).buffer as ArrayBuffer,
  };
}
