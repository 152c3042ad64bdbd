// Numbers and tensors as JSON has them.
import type { Tensors } from "./vector-types.ts";

/** Numbers that JSON cannot say are refused here: they would arrive as null. */
export function numbersOf(values: ArrayLike<number>): number[] {
  return Array.from(values, (value, at) => {
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new TypeError(`values[${at}] must be a finite number, got ${String(value)}`);
  });
}

export function tensorFields(tensors: Tensors): object {
  const entries = Object.entries(tensors).map(([name, { data, shape }]) => [name, { data: numbersOf(data), shape }]);
  return Object.fromEntries(entries);
}
