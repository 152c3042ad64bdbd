// Vectors for the benchmarks: .fvecs, .bvecs and .ivecs files (little-endian, each row after its int32 length), or seeded clusters.

import { readFileSync } from "node:fs";
import { seededRandom } from "../../lib/seeded.mjs";

/** At most `most` rows of a file as one Float32Array. */
export function readVectors(path, most = Number.POSITIVE_INFINITY) {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isBytes = path.endsWith(".bvecs");
  const dimension = view.getInt32(0, true);
  const stride = 4 + dimension * (isBytes ? 1 : 4);
  const count = Math.min(most, bytes.length / stride);
  const values = new Float32Array(count * dimension);
  for (let row = 0; row < count; row++)
    for (let i = 0; i < dimension; i++)
      values[row * dimension + i] = isBytes
        ? bytes[row * stride + 4 + i]
        : view.getFloat32(row * stride + 4 + i * 4, true);
  return { dimension, count, values };
}

/** Rows of an .ivecs file. */
export function readTruth(path) {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getInt32(0, true);
  const stride = 4 + length * 4;
  return Array.from({ length: bytes.length / stride }, (_, row) =>
    Uint32Array.from({ length }, (_, i) => view.getUint32(row * stride + 4 + i * 4, true)),
  );
}

/** The same rows as real numbers: each value moved by less than half, scaled and shifted. No code holds them exactly. */
export function asFloats({ dimension, count, values }, seed) {
  const random = seededRandom(seed);
  return { dimension, count, values: values.map((value) => (value + random() - 0.5) * 0.0137 - 1.7) };
}
