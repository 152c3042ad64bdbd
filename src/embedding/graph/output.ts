// The vector in what a graph gives for one image or one set of tensors.
// Guarantees: finite, of length 1 unless asked otherwise; an output of another shape is refused by its shape. Must not: run anything.
import { MAX_OUTPUT_DIMENSION } from "../limits.ts";
import { badFile } from "../refusal.ts";
import type { Numbers, OnnxSession } from "./session.ts";

/** Graphs that pool by themselves say so by these names. */
const POOLED = ["image_embeds", "sentence_embedding", "text_embeds"];

export interface VectorOptions {
  /** Of a row of vectors: their mean, or the first. */
  readonly pooling: "mean" | "cls";
  readonly normalize?: boolean | undefined;
}

export function outputName({ outputNames }: Pick<OnnxSession, "outputNames">): string {
  return POOLED.find((name) => outputNames.includes(name)) ?? outputNames[0]!;
}

/** @throws EmbeddingRefusal */
export function vectorOf(output: Numbers | undefined, { pooling, normalize }: VectorOptions): Float32Array {
  const values = output && pooledOf(output, pooling);
  if (!values || values.length < 1 || values.length > MAX_OUTPUT_DIMENSION)
    throw badFile(`gives an output of [${output?.dims.join(", ") ?? ""}], which is no vector`);
  if (!values.every(Number.isFinite)) throw badFile("gives numbers that are not finite");
  if (normalize === false) return Float32Array.from(values);
  const length = Math.hypot(...values) || 1;
  return Float32Array.from(values, (value) => value / length);
}

function pooledOf({ data, dims }: Numbers, pooling: "mean" | "cls"): Float32Array | Float64Array | undefined {
  if (dims.filter((dim) => dim !== 1).length <= 1) return data;
  const [batch, first, ...rest] = dims;
  if (batch !== 1) return undefined;
  // A vector a token or patch, or a map of numbers a channel.
  if (rest.length === 1) {
    const width = rest[0]!;
    if (pooling === "cls") return data.slice(0, width);
    return means(width, (at) => Array.from({ length: first! }, (_, row) => data[row * width + at]!));
  }
  if (rest.length !== 2) return undefined;
  const area = rest[0]! * rest[1]!;
  return means(first!, (at) => Array.from({ length: area }, (_, place) => data[at * area + place]!));
}

function means(width: number, of: (at: number) => readonly number[]): Float64Array {
  return Float64Array.from({ length: width }, (_, at) => {
    const all = of(at);
    return all.reduce((sum, value) => sum + value, 0) / all.length;
  });
}
