// Seeded vectors for the benchmarks where no real set is given. Runs in the Worker too.

import { seededRandom } from "../../lib/seeded.mjs";

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
