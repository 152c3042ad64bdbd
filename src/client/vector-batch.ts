// The binary form of a batch of vectors (docs/vectors.md): float32 values as they are, no numbers to write and to parse.
// Guarantees: a chunk has vectors of one dimension and stays below the server's bounds.
import type { NewVector } from "./vector-types.ts";

export const BINARY_TYPE = "application/octet-stream";
/** Far below what the server takes (32 MiB), so that a chunk that fails costs little. Bytes. */
const MAX_CHUNK_BYTES = 4 * 1024 * 1024;
/** The server's bound, and what is sent at once by default. */
const MAX_CHUNK_VECTORS = 10_000;
const DEFAULT_CHUNK_VECTORS = 1000;
const HEADER_BYTES = 20;
const encoder = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

export function metadataTextOf({
  metadata,
  metadataJson,
}: Pick<NewVector, "metadata" | "metadataJson">): string | undefined {
  if (metadata !== undefined && metadataJson !== undefined)
    throw new TypeError("give a vector's metadata or its metadataJson");
  return metadataJson ?? (metadata && JSON.stringify(metadata));
}

/** Upper bound, but for characters that take several bytes. */
function sizeOf({ id = "", values, metadata, metadataJson }: NewVector): number {
  const own = metadataJson?.length ?? (metadata ? JSON.stringify(metadata).length : 0);
  return 6 + id.length + 4 * values.length + own;
}

/** Texts of one request: each is worked on, unlike a vector. */
export const DEFAULT_CHUNK_TEXTS = 200;

/** As they came, so many at a time. */
export async function* groupsOf<T>(
  items: Iterable<T> | AsyncIterable<T>,
  most: number,
): AsyncGenerator<readonly T[], void, undefined> {
  if (!Number.isInteger(most) || most < 1 || most > MAX_CHUNK_VECTORS)
    throw new TypeError(`chunkVectors must be a whole number from 1 to ${MAX_CHUNK_VECTORS}, got ${String(most)}`);
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < most) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** Vectors in the order they came, in chunks. */
export async function* chunksOf<T extends NewVector>(
  vectors: Iterable<T> | AsyncIterable<T>,
  chunkVectors = DEFAULT_CHUNK_VECTORS,
): AsyncGenerator<readonly T[], void, undefined> {
  if (!Number.isInteger(chunkVectors) || chunkVectors < 1 || chunkVectors > MAX_CHUNK_VECTORS)
    throw new TypeError(
      `chunkVectors must be a whole number from 1 to ${MAX_CHUNK_VECTORS}, got ${String(chunkVectors)}`,
    );
  let chunk: T[] = [];
  let bytes = 0;
  for await (const vector of vectors) {
    const size = sizeOf(vector);
    if (chunk[0] && (bytes + size > MAX_CHUNK_BYTES || chunk[0].values.length !== vector.values.length)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(vector);
    bytes += size;
    if (chunk.length < chunkVectors) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
  if (chunk.length > 0) yield chunk;
}

/** One chunk: all of its vectors have the dimension of the first. */
export function binaryBatch(vectors: readonly NewVector[]): Uint8Array {
  const dimension = vectors[0]!.values.length;
  const rows = vectors.map((vector) => {
    const text = metadataTextOf(vector);
    return { id: encoder.encode(vector.id ?? ""), metadata: text === undefined ? NO_BYTES : encoder.encode(text) };
  });
  const namedBytes = rows.reduce((sum, { id, metadata }) => sum + 6 + id.length + metadata.length, 0);
  const bytes = new Uint8Array(HEADER_BYTES + 4 * dimension * vectors.length + namedBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(encoder.encode("JVB1"));
  view.setUint32(8, vectors.length, true);
  view.setUint32(12, dimension, true);
  let at = HEADER_BYTES;
  for (const { values } of vectors)
    for (let place = 0; place < dimension; place++, at += 4) view.setFloat32(at, values[place]!, true);
  for (const { id, metadata } of rows) {
    if (id.length > 0xffff) throw new TypeError(`a vector's id has ${id.length} bytes`);
    view.setUint16(at, id.length, true);
    bytes.set(id, at + 2);
    at += 2 + id.length;
    view.setUint32(at, metadata.length, true);
    bytes.set(metadata, at + 4);
    at += 4 + metadata.length;
  }
  return bytes;
}
