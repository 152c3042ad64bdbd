// What stands in place of a vector in a request: a text, an image, or tensors; and what is judged of it before a model sees it.
// Guarantees: an image travels as bytes, tensors as float64. Must not: decode images, or know which model takes what.
import { z } from "@hono/zod-openapi";
import type { Item, TensorValue } from "../embedding/item.ts";
import { MAX_IMAGE_BYTES, MAX_TENSOR_INPUTS, MAX_TENSOR_VALUES } from "../embedding/limits.ts";
import { bytesOfBase64 } from "./config-fields.ts";
import { invalidRequest } from "./issues.ts";

export const imageField = z.string().openapi({
  description: `Instead of numbers: a PNG or JPEG image in base64, of at most ${MAX_IMAGE_BYTES} bytes. The database's model for images makes them.`,
  format: "byte",
});
export const tensorField = z
  .record(
    z.string().max(200),
    z.strictObject({
      data: z.array(z.number()).min(1).max(MAX_TENSOR_VALUES),
      shape: z.array(z.int().min(1).max(MAX_TENSOR_VALUES)).max(8).optional(),
    }),
  )
  .refine((tensors) => Object.keys(tensors).length <= MAX_TENSOR_INPUTS, `has more than ${MAX_TENSOR_INPUTS} inputs`)
  .openapi({
    description:
      "Instead of numbers: what a model of the family tensor takes, by the names of its inputs: numbers row by row, and their shape where the model leaves it open.",
    example: { x: { data: [1, 0, 2], shape: [1, 3] } },
  });

/** As requests have it; at most one of them. */
export interface RawFields {
  readonly text?: string | undefined;
  readonly image?: string | undefined;
  readonly tensor?: z.output<typeof tensorField> | undefined;
}

export interface PlacedItem {
  readonly item: Item;
  /** What it is called in the request. */
  readonly path: string;
}

/** Fields of a request by the names that they have there. */
const NAMES = { text: "text", image: "image", tensor: "tensor" } as const;

/** Undefined = there is none. */
export function itemOfFields(
  { text, image, tensor }: RawFields,
  names: Readonly<Record<keyof RawFields, string>> = NAMES,
): PlacedItem | undefined {
  const given = [text, image, tensor].filter((one) => one !== undefined).length;
  if (given > 1) throw invalidRequest([{ path: names.text, message: "is given beside another; give one of them" }]);
  if (text !== undefined) return { item: text, path: names.text };
  if (image !== undefined) return { item: { image: imageBytes(image, names.image) }, path: names.image };
  if (tensor === undefined) return undefined;
  const entries = Object.entries(tensor).map(([name, { data, shape }]): [string, TensorValue] => [
    name,
    { data: Float64Array.from(data), shape },
  ]);
  return { item: { tensor: Object.fromEntries(entries) }, path: names.tensor };
}

function imageBytes(image: string, path: string): Uint8Array {
  const bytes = Math.floor((image.length * 3) / 4);
  if (bytes > MAX_IMAGE_BYTES + 2)
    throw invalidRequest([
      {
        path,
        message: `has about ${bytes} bytes; the limit is ${MAX_IMAGE_BYTES}`,
        value: bytes,
        limit: MAX_IMAGE_BYTES,
      },
    ]);
  return bytesOfBase64(image, path);
}
