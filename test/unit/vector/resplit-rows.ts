// Rows of the tests with shards that place them, and how they may be placed. Test only.
import type { Sharding } from "../../../src/vector/database/resharding.ts";

export const SHARDINGS: readonly Sharding[] = [
  { strategy: "range", key: "n", numShards: 3, splitPoints: [30, 60] },
  { strategy: "centroid", numShards: 3, learnRows: 64 },
  { strategy: "hash", numShards: 2 },
];

export function metadataOf(n: number): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ n }));
}

export function valuesOf(n: number): Uint8Array {
  return new Uint8Array(Float32Array.of(n, (n * 7) % 5).buffer);
}

export function nOf({ metadata = new Uint8Array(0) }: { readonly metadata?: Uint8Array | undefined }): number {
  return (JSON.parse(new TextDecoder().decode(metadata)) as { n: number }).n;
}
