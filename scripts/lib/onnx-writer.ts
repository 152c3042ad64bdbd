// Writes ONNX graphs: the few protobuf messages they consist of (onnx.proto3, IR version 9), without a library.

const encoder = new TextEncoder();

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.from([...bytes, Number(rest)]);
}

const tag = (field: number, wire: number): Uint8Array => varint((field << 3) | wire);
const whole = (field: number, value: number): Uint8Array => joined([tag(field, 0), varint(value)]);
const bytesOf = (field: number, bytes: Uint8Array): Uint8Array => joined([tag(field, 2), varint(bytes.length), bytes]);
const text = (field: number, value: string): Uint8Array => bytesOf(field, encoder.encode(value));
const float = (field: number, value: number): Uint8Array =>
  joined([tag(field, 5), new Uint8Array(Float32Array.of(value).buffer)]);

export const TYPES = { float: 1, int8: 3, int64: 7 } as const;
export type ElementType = keyof typeof TYPES;
type Numbers = Float32Array | Int8Array | BigInt64Array;

const typeOf = (data: Numbers): number =>
  data instanceof Float32Array ? TYPES.float : data instanceof Int8Array ? TYPES.int8 : TYPES.int64;

export function tensor(name: string, dims: readonly number[], data: Numbers): Uint8Array {
  const type = typeOf(data);
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return joined([...dims.map((dim) => whole(1, dim)), whole(2, type), text(8, name), bytesOf(9, raw)]);
}

/** Its numbers are in another file, from `offset`. */
export function externalTensor(
  name: string,
  dims: readonly number[],
  at: { file: string; offset: number; length: number },
) {
  const entries = Object.entries({ location: at.file, offset: String(at.offset), length: String(at.length) });
  const told = entries.map(([key, value]) => bytesOf(13, joined([text(1, key), text(2, value)])));
  return joined([...dims.map((dim) => whole(1, dim)), whole(2, TYPES.float), text(8, name), ...told, whole(14, 1)]);
}

export type Attribute = number | readonly number[] | { readonly float: number };

function attribute(name: string, value: Attribute): Uint8Array {
  if (typeof value === "number") return joined([text(1, name), whole(3, value), whole(20, 2)]);
  if ("float" in value) return joined([text(1, name), float(2, value.float), whole(20, 1)]);
  return joined([text(1, name), ...value.map((item) => whole(8, item)), whole(20, 7)]);
}

export interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string | readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

function node({ op, inputs, output, attributes = {} }: Node): Uint8Array {
  const outputs = typeof output === "string" ? [output] : output;
  const named = Object.entries(attributes).map(([name, value]) => bytesOf(5, attribute(name, value)));
  return joined([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(3, `${outputs[0]}_node`),
    text(4, op),
    ...named,
  ]);
}

export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType;
  /** A text is a dimension that may differ. */
  readonly dims: readonly (number | string)[];
}

function valueInfo({ name, type, dims }: ValueInfo): Uint8Array {
  const shape = joined(dims.map((dim) => bytesOf(1, typeof dim === "string" ? text(2, dim) : whole(1, dim))));
  return joined([text(1, name), bytesOf(2, bytesOf(1, joined([whole(1, TYPES[type]), bytesOf(2, shape)])))]);
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly constants: readonly Uint8Array[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

export function onnxFile({ nodes, constants, inputs, outputs }: Graph): Uint8Array {
  const graph = joined([
    ...nodes.map((item) => bytesOf(1, node(item))),
    text(2, "graph"),
    ...constants.map((item) => bytesOf(5, item)),
    ...inputs.map((item) => bytesOf(11, valueInfo(item))),
    ...outputs.map((item) => bytesOf(12, valueInfo(item))),
  ]);
  return joined([whole(1, 9), text(2, "jade-db"), bytesOf(8, joined([text(1, ""), whole(2, 20)])), bytesOf(7, graph)]);
}
