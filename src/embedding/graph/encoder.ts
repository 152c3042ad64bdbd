// Images, or tensors, to vectors by a graph: one after another, for what one takes is large.
// Guarantees: an item that is refused stops no other; what a graph gives is judged before it is used. Must not: decode, or know a runtime.
import { type Preprocessor, prepared } from "../image/preprocessor.ts";
import type { Picture } from "../image/resize.ts";
import { type Item, inputTypeOf } from "../item.ts";
import type { Outcome } from "../queue.ts";
import { badFile, EmbeddingRefusal, invalid } from "../refusal.ts";
import { outputName, type VectorOptions, vectorOf } from "./output.ts";
import type { Feed, OnnxSession } from "./session.ts";
import { feedsOf, requireGraphInputs, type TensorInput, zeros } from "./tensors.ts";

type Feeds = Readonly<Record<string, Feed>>;

interface Parts {
  readonly session: OnnxSession;
  readonly options: VectorOptions;
  /** Of an item; refuses what is none of the model's. */
  readonly feedsOf: (item: Item) => Feeds | Promise<Feeds>;
}

export class GraphEncoder {
  readonly dimension: number;
  readonly #parts: Parts;

  private constructor(parts: Parts, dimension: number) {
    this.#parts = parts;
    this.dimension = dimension;
  }

  /** Of one input of pictures, of whatever name. Runs a grey one through it. @throws EmbeddingRefusal */
  static async ofImages(
    session: OnnxSession,
    how: Preprocessor & { readonly decode: (bytes: Uint8Array) => Promise<Picture> },
    options: VectorOptions,
  ): Promise<GraphEncoder> {
    const [input, ...others] = session.inputs;
    if (!input || others.length > 0 || input.type !== "float32" || ![0, 4].includes(input.shape.length))
      throw badFile(`is a graph of the inputs ${session.inputNames.join(", ")}; one of float32 pictures is needed`);
    const isChannelsLast = input.shape[3] === 3 && input.shape[1] !== 3;
    const ofPicture = (picture: Picture): Feeds => {
      const { width, height, data } = prepared(picture, how, isChannelsLast);
      return { [input.name]: { data, dims: isChannelsLast ? [1, height, width, 3] : [1, 3, height, width] } };
    };
    const side = 256;
    const grey = { width: side, height: side, data: new Uint8Array(side * side * 3).fill(128) };
    const feedsOf = async (item: Item): Promise<Feeds> =>
      ofPicture(await how.decode((item as { image: Uint8Array }).image));
    return GraphEncoder.#opened({ session, options, feedsOf: wanting("image", feedsOf) }, ofPicture(grey));
  }

  /** @throws EmbeddingRefusal */
  static async ofTensors(
    session: OnnxSession,
    declared: readonly TensorInput[],
    options: VectorOptions,
  ): Promise<GraphEncoder> {
    requireGraphInputs(declared, session.inputs);
    const feeds = (item: Item): Feeds => feedsOf(declared, item as ReturnType<typeof zeros>);
    return GraphEncoder.#opened({ session, options, feedsOf: wanting("tensor", feeds) }, feeds(zeros(declared)));
  }

  static async #opened(parts: Parts, probe: Feeds): Promise<GraphEncoder> {
    const vector = await new GraphEncoder(parts, 0).#run(probe);
    return new GraphEncoder(parts, vector.length);
  }

  release(): Promise<void> {
    return this.#parts.session.release();
  }

  async #run(feeds: Feeds): Promise<Float32Array> {
    const { session, options } = this.#parts;
    const outputs = await session.run(feeds);
    return vectorOf(outputs[outputName(session)], options);
  }

  async run(items: readonly Item[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const item of items) outcomes.push(await this.#outcome(item));
    return outcomes;
  }

  async #outcome(item: Item): Promise<Outcome> {
    let feeds: Feeds;
    try {
      feeds = await this.#parts.feedsOf(item);
    } catch (error) {
      if (error instanceof EmbeddingRefusal) return error;
      throw error;
    }
    const values = await this.#run(feeds).catch((error: unknown) => {
      if (error instanceof EmbeddingRefusal) return undefined;
      throw error;
    });
    if (values?.length === this.dimension) return { values, tokens: 1, unknownTokens: 0 };
    return invalid("", "is something of which the model makes no vector");
  }
}

/** What else comes was told otherwise before. */
function wanting(type: "image" | "tensor", feedsOf: (item: Item) => Feeds | Promise<Feeds>) {
  return (item: Item): Feeds | Promise<Feeds> => {
    if (inputTypeOf(item) === type) return feedsOf(item);
    throw invalid("", `is no ${type}`);
  };
}
