// What a transformer needs from outside: something that runs an ONNX graph, and something that cuts texts into tokens.

export interface Ids {
  readonly data: BigInt64Array;
  readonly dims: readonly number[];
}

export interface Numbers {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** A graph that is loaded. */
export interface OnnxSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(inputs: Readonly<Record<string, Ids>>): Promise<Readonly<Record<string, Numbers>>>;
  release(): Promise<void>;
}

export interface Tokenizer {
  /** Ids; `special`: with those that stand before and behind a text. */
  encode(text: string, special: boolean): readonly number[];
  /** What stands for words that cannot be cut into tokens. */
  readonly unknownId: number | undefined;
}
