// What models need from outside: something that runs an ONNX graph, and something that cuts texts into tokens.

/** The types of numbers that graphs are given, by their names in ONNX. */
export const ELEMENT_TYPES = ["float32", "float64", "int8", "uint8", "int32", "int64", "bool"] as const;
export type ElementType = (typeof ELEMENT_TYPES)[number];

export interface Feed {
  /** Default: what the array's own type says. */
  readonly type?: ElementType | undefined;
  readonly data: Float32Array | Float64Array | Int8Array | Uint8Array | Int32Array | BigInt64Array;
  readonly dims: readonly number[];
}

export interface Numbers {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface GraphInput {
  readonly name: string;
  /** As the runtime calls it; empty = it is no tensor. */
  readonly type: string;
  /** A name, or null: any number. */
  readonly shape: readonly (number | string | null)[];
}

/** A graph that is loaded. */
export interface OnnxSession {
  readonly inputs: readonly GraphInput[];
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(inputs: Readonly<Record<string, Feed>>): Promise<Readonly<Record<string, Numbers>>>;
  release(): Promise<void>;
}

export interface Tokenizer {
  /** Ids; `special`: with those that stand before and behind a text. */
  encode(text: string, special: boolean): readonly number[];
  /** What stands for words that cannot be cut into tokens. */
  readonly unknownId: number | undefined;
}
