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

/** Two numbers of a normal distribution. */
function normalPair(random) {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  const angle = 2 * Math.PI * random();
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/** Seeded rows around `clusters` centres, in the byte range as SIFT's are: what is measured where no real set is given. */
export function clusteredVectors({ count, dimension, clusters, seed }) {
  const random = seededRandom(seed);
  const centres = Float32Array.from({ length: clusters * dimension }, () => random() * 200);
  const values = new Float32Array(count * dimension);
  for (let row = 0; row < count; row++) {
    const centre = Math.floor(random() * clusters) * dimension;
    for (let i = 0; i < dimension; i += 2) {
      const [a, b] = normalPair(random);
      values[row * dimension + i] = byte(centres[centre + i] + a * 28);
      if (i + 1 < dimension) values[row * dimension + i + 1] = byte(centres[centre + i + 1] + b * 28);
    }
  }
  return { dimension, count, values };
}

const byte = (value) => Math.min(255, Math.max(0, Math.round(value)));

/** The same rows as real numbers: each value moved by less than half, scaled and shifted. No code holds them exactly. */
export function asFloats({ dimension, count, values }, seed) {
  const random = seededRandom(seed);
  return { dimension, count, values: values.map((value) => (value + random() - 0.5) * 0.0137 - 1.7) };
}
