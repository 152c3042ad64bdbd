// Fewer values a vector: projections on the axes of greatest variance (pca.ts) or on random ones, and the bytes of one. An index keeps what was
// learned beside it and reduces rows and queries alike; the re-rank uses the values as they were. `reduce` is the twin of the kernel.
// Guarantees: what is read back lies within bounds, or `MalformedReduction`. Must not: know metrics beyond whether rows are centred.

import { MalformedIndex } from "../index/segment-index.ts";
import { seededNormals } from "../quantize/seeded.ts";

export interface Reduction {
  readonly kind: "pca" | "random";
  /** Values of a vector before and after. */
  readonly from: number;
  readonly to: number;
  /** Subtracted before; zeros where directions count (cosine, dot). */
  readonly mean: Float32Array;
  /** `to` rows of `from` values. */
  readonly axes: Float32Array;
  /** The share of the sample's variance that the axes keep; of a random projection it is not known: `to / from`. */
  readonly keptShare: number;
  /** Of the ten nearest the share that the index over reduced rows finds, with its re-rank; absent = not measured. */
  readonly recall?: number | undefined;
}

export class MalformedReduction extends MalformedIndex {}

const KINDS = ["pca", "random"] as const;
const HEADER_BYTES = 32;
/** In place of a share that was not measured. */
const UNKNOWN = -1;
const MAGIC = 0x3144_4552; // "RED1"
const MOST = 4096;

/** The reduced vector. */
export function reduce({ from, to, mean, axes }: Reduction, values: ArrayLike<number>): Float32Array {
  if (values.length !== from) throw new RangeError(`a vector of ${values.length} values where ${from} are reduced`);
  const out = new Float32Array(to);
  for (let axis = 0; axis < to; axis++) {
    let sum = 0;
    for (let i = 0, at = axis * from; i < from; i++) sum += (values[i]! - mean[i]!) * axes[at + i]!;
    out[axis] = sum;
  }
  return out;
}

/** @throws RangeError */
export function checkShape(from: number, to: number): void {
  const isWhole = Number.isInteger(from) && Number.isInteger(to);
  if (!isWhole || from < 1 || from > MOST || to < 1 || to > from)
    throw new RangeError(
      `a reduction from ${from} to ${to} values: whole numbers, 1 to ${MOST}, and not more than before`,
    );
}

/** Random axes, scaled so that squared distances are kept on average (Johnson and Lindenstrauss). The seed says it all. */
export function randomReduction({
  from,
  to,
  seed,
}: {
  readonly from: number;
  readonly to: number;
  readonly seed: number;
}): Reduction {
  checkShape(from, to);
  const next = seededNormals(seed);
  const scale = 1 / Math.sqrt(to);
  const axes = Float32Array.from({ length: from * to }, () => next() * scale);
  return { kind: "random", from, to, mean: new Float32Array(from), axes, keptShare: to / from };
}

/** What is stored of a reduction, little-endian: header, mean, axes. */
export function writeReduction({ kind, from, to, mean, axes, keptShare, recall }: Reduction): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + (mean.length + axes.length) * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [MAGIC, KINDS.indexOf(kind), from, to].entries()) view.setUint32(i * 4, word, true);
  view.setFloat64(16, keptShare, true);
  view.setFloat64(24, recall ?? UNKNOWN, true);
  new Float32Array(bytes.buffer, HEADER_BYTES, mean.length).set(mean);
  new Float32Array(bytes.buffer, HEADER_BYTES + mean.length * 4).set(axes);
  return bytes;
}

/** @throws MalformedReduction */
export function readReduction(bytes: Uint8Array): Reduction {
  const refuse = (condition: boolean, what: string): void => {
    if (condition) throw new MalformedReduction(`a stored reduction with ${what}`);
  };
  refuse(bytes.length < HEADER_BYTES, `${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [magic, kindCode, from, to] = [0, 4, 8, 12].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
    number,
  ];
  const kind = KINDS[kindCode];
  refuse(magic !== MAGIC, `the magic number ${magic.toString(16)}`);
  refuse(from < 1 || from > MOST || to < 1 || to > from, `${to} of ${from} values`);
  refuse(bytes.length !== HEADER_BYTES + (1 + to) * from * 4, `${bytes.length} bytes`);
  const [keptShare, measured] = [view.getFloat64(16, true), view.getFloat64(24, true)];
  refuse(!(keptShare >= 0 && keptShare <= 1), `a share of ${keptShare}`);
  refuse(measured !== UNKNOWN && !(measured >= 0 && measured <= 1), `a recall of ${measured}`);
  if (kind === undefined) throw new MalformedReduction("a stored reduction of an unknown kind");
  const values = new Float32Array(bytes.slice(HEADER_BYTES).buffer);
  refuse(!values.every(Number.isFinite), "values that are no numbers");
  const recall = measured === UNKNOWN ? {} : { recall: measured };
  return { kind, from, to, mean: values.slice(0, from), axes: values.slice(from), keptShare, ...recall };
}
