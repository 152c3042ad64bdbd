// What a vector is made of: a text, an image, or the tensors that a graph asks for.
import { invalid } from "./refusal.ts";

export interface TensorValue {
  /** JSON's numbers. */
  readonly data: Float64Array;
  /** Undefined = as the model declares it. */
  readonly shape?: readonly number[] | undefined;
}

export interface ImageItem {
  /** PNG or JPEG. */
  readonly image: Uint8Array;
}

export interface TensorItem {
  /** By the name of the graph's input. */
  readonly tensor: Readonly<Record<string, TensorValue>>;
}

export type Item = string | ImageItem | TensorItem;

export const INPUT_TYPES = ["text", "image", "tensor"] as const;
export type InputType = (typeof INPUT_TYPES)[number];

export function inputTypeOf(item: Item): InputType {
  if (typeof item === "string") return "text";
  return "image" in item ? "image" : "tensor";
}

/** About what it takes in memory while it waits. */
export function bytesOfItem(item: Item): number {
  if (typeof item === "string") return item.length * 2;
  if ("image" in item) return item.image.length;
  return Object.values(item.tensor).reduce((sum, { data }) => sum + data.byteLength, 0);
}

/** What a model does not take is told by its place. @throws EmbeddingRefusal */
export function requireInput(items: readonly Item[], paths: readonly string[], wanted: InputType): void {
  for (const [at, item] of items.entries()) {
    const type = inputTypeOf(item);
    if (type !== wanted) throw invalid(paths[at] ?? "input", `is of the type ${type}; the model takes ${wanted}`);
  }
}
