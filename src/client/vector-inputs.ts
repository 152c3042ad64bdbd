// Numbers as JSON and as bytes have them, tensors as JSON has them.
import type { Tensors } from "./vector-types.ts";

/** Numbers that JSON cannot say are refused here: they would arrive as null. @throws TypeError */
export function requireNumbers(values: ArrayLike<number>): void {
  for (let at = 0; at < values.length; at++) {
    const value: unknown = values[at];
    if (typeof value === "number" && Number.isFinite(value)) continue;
    throw new TypeError(`values[${at}] must be a finite number, got ${String(value)}`);
  }
}

export function numbersOf(values: ArrayLike<number>): number[] {
  requireNumbers(values);
  return Array.from(values);
}

/** float32, little endian; of a Float32Array a view. @throws TypeError */
export function floatBytesOf(values: ArrayLike<number>): Uint8Array {
  requireNumbers(values);
  const floats = values instanceof Float32Array ? values : Float32Array.from(values);
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
}

export function tensorFields(tensors: Tensors): object {
  const entries = Object.entries(tensors).map(([name, { data, shape }]) => [name, { data: numbersOf(data), shape }]);
  return Object.fromEntries(entries);
}
