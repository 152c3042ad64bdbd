// Fewer values a vector: projections on the axes of greatest variance (PCA) or on random ones. Pure; a database keeps what was learned
// and reduces rows and queries alike; the re-rank uses the values as they were.
// Guarantees: what is read back lies within bounds, or `MalformedReduction`. Must not: know metrics beyond whether rows are centred.

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
}

export class MalformedReduction extends Error {
  override readonly name = "MalformedReduction";
}

const KINDS = ["pca", "random"] as const;
const HEADER_BYTES = 24;
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

function checkShape(from: number, to: number): void {
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

export interface PcaOptions {
  readonly to: number;
  readonly seed: number;
  /** True under the euclidean metric. */
  readonly isCentred: boolean;
}

/** Rounds of the iteration: axes whose variances are far apart are found in few. */
const PCA_ROUNDS = 12;
/** Rows of the sample between two pauses. */
const PCA_SLICE_ROWS = 64;

/** Learns the axes from a sample by orthogonal iteration, with pauses. Deterministic. */
export function* trainPca(
  sample: readonly ArrayLike<number>[],
  { to, seed, isCentred }: PcaOptions,
): Generator<void, Reduction> {
  const from = sample[0]?.length ?? 0;
  checkShape(from, to);
  const mean = new Float64Array(from);
  if (isCentred) for (const row of sample) for (let i = 0; i < from; i++) mean[i]! += row[i]! / sample.length;
  const next = seededNormals(seed);
  let axes = Float64Array.from({ length: from * to }, next);
  orthonormalise(axes, from, next);
  let variances = new Float64Array(to);
  for (let round = 0; round < PCA_ROUNDS; round++) {
    const moved = new Float64Array(from * to);
    variances = new Float64Array(to);
    for (const [row, values] of sample.entries()) {
      addProjected(values, { mean, axes, moved, variances });
      if (row % PCA_SLICE_ROWS === PCA_SLICE_ROWS - 1) yield;
    }
    if (round === PCA_ROUNDS - 1) break;
    axes = moved;
    orthonormalise(axes, from, next);
    yield;
  }
  let all = 0;
  for (const row of sample) for (let i = 0; i < from; i++) all += (row[i]! - mean[i]!) ** 2;
  const kept = variances.reduce((sum, variance) => sum + variance, 0);
  const keptShare = all === 0 ? 1 : Math.min(1, kept / all);
  return { kind: "pca", from, to, mean: Float32Array.from(mean), axes: Float32Array.from(axes), keptShare };
}

/** Adds what one row does to the axes: (row · axis) × row. */
function addProjected(
  values: ArrayLike<number>,
  to: {
    readonly mean: Float64Array;
    readonly axes: Float64Array;
    readonly moved: Float64Array;
    readonly variances: Float64Array;
  },
): void {
  const { mean, axes, moved, variances } = to;
  const from = mean.length;
  const row = Float64Array.from({ length: from }, (_, i) => values[i]! - mean[i]!);
  for (let axis = 0; axis < variances.length; axis++) {
    const at = axis * from;
    let product = 0;
    for (let i = 0; i < from; i++) product += row[i]! * axes[at + i]!;
    variances[axis]! += product * product;
    for (let i = 0; i < from; i++) moved[at + i]! += product * row[i]!;
  }
}

/** Gram-Schmidt, twice for precision. An axis that vanishes (fewer directions than axes) begins again at random. */
function orthonormalise(axes: Float64Array, from: number, next: () => number): void {
  for (let at = 0; at < axes.length; at += from) {
    const axis = axes.subarray(at, at + from);
    const before = Math.hypot(...axis);
    for (let pass = 0; pass < 2; pass++) subtractOthers(axes, axis, at, from);
    if (Math.hypot(...axis) <= 1e-9 * before || before === 0) {
      for (let i = 0; i < from; i++) axis[i] = next();
      for (let pass = 0; pass < 2; pass++) subtractOthers(axes, axis, at, from);
    }
    const norm = Math.hypot(...axis);
    for (let i = 0; i < from; i++) axis[i]! /= norm;
  }
}

function subtractOthers(axes: Float64Array, axis: Float64Array, at: number, from: number): void {
  for (let other = 0; other < at; other += from) {
    let product = 0;
    for (let i = 0; i < from; i++) product += axis[i]! * axes[other + i]!;
    for (let i = 0; i < from; i++) axis[i]! -= product * axes[other + i]!;
  }
}

/** What is stored of a reduction, little-endian: header, mean, axes. */
export function writeReduction({ kind, from, to, mean, axes, keptShare }: Reduction): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + (mean.length + axes.length) * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [MAGIC, KINDS.indexOf(kind), from, to].entries()) view.setUint32(i * 4, word, true);
  view.setFloat64(16, keptShare, true);
  for (const [i, value] of [...mean, ...axes].entries()) view.setFloat32(HEADER_BYTES + i * 4, value, true);
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
  const keptShare = view.getFloat64(16, true);
  refuse(!(keptShare >= 0 && keptShare <= 1), `a share of ${keptShare}`);
  if (kind === undefined) throw new MalformedReduction("a stored reduction of an unknown kind");
  const values = Float32Array.from({ length: (1 + to) * from }, (_, i) => view.getFloat32(HEADER_BYTES + i * 4, true));
  refuse(!values.every(Number.isFinite), "values that are not finite");
  return { kind, from, to, mean: values.slice(0, from), axes: values.slice(from), keptShare };
}
