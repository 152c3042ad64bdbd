// Tensors that a client gives: judged by what the model declares, and made what its graph takes.
// Guarantees: what a graph is given has the names, types and shapes that it declares. Must not: run anything.

import type { TensorItem, TensorValue } from "../item.ts";
import { MAX_TENSOR_INPUTS, MAX_TENSOR_VALUES } from "../limits.ts";
import { badFile, type EmbeddingRefusal, invalid } from "../refusal.ts";
import type { ElementType, Feed, GraphInput } from "./session.ts";

export interface TensorInput {
  readonly name: string;
  readonly type: ElementType;
  /** Null: any number. */
  readonly shape: readonly (number | null)[];
}

const ARRAYS = {
  float32: (data) => Float32Array.from(data),
  float64: (data) => Float64Array.from(data),
  int8: (data) => Int8Array.from(data),
  uint8: (data) => Uint8Array.from(data),
  bool: (data) => Uint8Array.from(data),
  int32: (data) => Int32Array.from(data),
  int64: (data) => BigInt64Array.from(data, BigInt),
} as const satisfies Record<ElementType, (data: Float64Array) => Feed["data"]>;

/** Of whole numbers, the least and the greatest. */
const RANGES: Readonly<Partial<Record<ElementType, readonly [number, number]>>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  bool: [0, 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

const product = (shape: readonly number[]): number => shape.reduce((all, dim) => all * dim, 1);
const shown = (shape: readonly (number | string | null)[]): string =>
  `[${shape.map((dim) => dim ?? "any").join(", ")}]`;

/** What is declared is possible. @throws EmbeddingRefusal */
export function requireDeclared(inputs: readonly TensorInput[] | undefined): readonly TensorInput[] {
  if (!inputs || inputs.length === 0) throw invalid("inputs", "are needed: the name, type and shape of each input");
  if (inputs.length > MAX_TENSOR_INPUTS)
    throw invalid("inputs", `are ${inputs.length}`, { value: inputs.length, limit: MAX_TENSOR_INPUTS });
  if (new Set(inputs.map(({ name }) => name)).size < inputs.length) throw invalid("inputs", "name one input twice");
  const values = inputs.reduce((sum, { shape }) => sum + product(shape.map((dim) => dim ?? 1)), 0);
  if (values > MAX_TENSOR_VALUES)
    throw invalid("inputs", `have ${values} numbers at least`, { value: values, limit: MAX_TENSOR_VALUES });
  return inputs;
}

/** The graph has the inputs that are declared. @throws EmbeddingRefusal */
export function requireGraphInputs(declared: readonly TensorInput[], graph: readonly GraphInput[]): void {
  for (const { name } of graph)
    if (!declared.some((one) => one.name === name))
      throw badFile(`is a graph with the input ${name}; inputs do not declare it`);
  for (const { name, type, shape } of declared) {
    const own = graph.find((one) => one.name === name);
    if (!own)
      throw badFile(`is a graph of the inputs ${graph.map((one) => one.name).join(", ")}; inputs declare ${name}`);
    const fits =
      own.shape.length === shape.length &&
      own.shape.every((dim, at) => typeof dim !== "number" || dim < 0 || dim === shape[at]);
    if (own.type !== type || !fits)
      throw badFile(
        `is a graph whose input ${name} is ${own.type} ${shown(own.shape)}; inputs declare ${type} ${shown(shape)}`,
      );
  }
}

/** Zeros, where any number may be one. */
export function zeros(declared: readonly TensorInput[]): TensorItem {
  const entries = declared.map(({ name, shape }) => {
    const own = shape.map((dim) => dim ?? 1);
    return [name, { data: new Float64Array(product(own)), shape: own }] as const;
  });
  return { tensor: Object.fromEntries(entries) };
}

/** @throws EmbeddingRefusal whose message goes on from the field's name */
export function feedsOf(declared: readonly TensorInput[], { tensor }: TensorItem): Readonly<Record<string, Feed>> {
  for (const name of Object.keys(tensor))
    if (!declared.some((input) => input.name === name))
      throw invalid("", `has ${name.slice(0, 100)}; the model takes ${declared.map((input) => input.name).join(", ")}`);
  const values = Object.values(tensor).reduce((sum, { data }) => sum + data.length, 0);
  if (values > MAX_TENSOR_VALUES)
    throw invalid("", `has ${values} numbers; the limit is ${MAX_TENSOR_VALUES}`, {
      value: values,
      limit: MAX_TENSOR_VALUES,
    });
  const feeds = declared.map((input) => {
    const value = Object.hasOwn(tensor, input.name) ? tensor[input.name] : undefined;
    if (!value) throw invalid("", `has no ${input.name}`);
    return [input.name, feedOf(input, value)] as const;
  });
  return Object.fromEntries(feeds);
}

function feedOf({ name, type, shape: declared }: TensorInput, { data, shape }: TensorValue): Feed {
  const wrong = (message: string): EmbeddingRefusal => invalid("", `has a ${name} ${message}`);
  const dims = shape ?? declared;
  const fits = dims.length === declared.length && declared.every((dim, at) => dim === null || dim === dims[at]);
  if (!fits) throw wrong(`of the shape ${shown(dims)}; the model takes ${shown(declared)}`);
  if (!dims.every((dim) => dim !== null)) throw wrong(`without shape; the model takes ${shown(declared)}`);
  const length = product(dims as readonly number[]);
  if (data.length !== length || length === 0) throw wrong(`of ${data.length} numbers; ${shown(dims)} has ${length}`);
  const range = RANGES[type];
  const at = range ? data.findIndex((value) => !Number.isInteger(value) || value < range[0] || value > range[1]) : -1;
  if (at >= 0) throw wrong(`with ${data[at]} at ${at}, which is no ${type}`);
  return { type, data: ARRAYS[type](data), dims: dims as readonly number[] };
}
