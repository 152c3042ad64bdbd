// CRC32C by the storage kernels, for objects that use nothing else of them.
import storageModule from "../dist/wasm/storage.wasm";
import { createKernels } from "../src/storage/kernels.ts";

const kernels = createKernels(storageModule);

export function crc32c(bytes: Uint8Array, seed?: number): number {
  return kernels.crc32c(bytes, seed);
}
