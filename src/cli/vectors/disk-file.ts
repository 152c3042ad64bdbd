// A file on disk as the readers take it.
import { createReadStream, statSync } from "node:fs";
import { open } from "node:fs/promises";
import type { VectorFile } from "./rows.ts";

export function diskFile(path: string): VectorFile {
  return {
    name: path,
    byteCount: statSync(path).size,
    stream: () => createReadStream(path, { highWaterMark: 256 * 1024 }),
    async slice(start, end) {
      const handle = await open(path);
      try {
        const bytes = new Uint8Array(Math.max(0, end - start));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
        return bytes.buffer.slice(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
  };
}
