// Transformers in ONNX, for embedders whose entry imports this: `model.onnx`, `tokenizer.json`, `config.json` as Hugging Face lays them out.
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { badFile, EmbeddingRefusal } from "../src/embedding/refusal.ts";
import {
  CONFIG_FILE,
  isGraph,
  jsonOf,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
  windowTokensOf,
} from "../src/embedding/transformer/files.ts";
import type { Tokenizer } from "../src/embedding/transformer/session.ts";
import { Transformer } from "../src/embedding/transformer/transformer.ts";
import { bringFamily, type LoadedModel, type ModelInput } from "./embedder-families.ts";
import { openGraph } from "./onnx-runtime.ts";

/** The weights, and the arenas of a run. */
const MEMORY_FACTOR = 2.5;

/** @throws EmbeddingRefusal */
export function openTokenizer(files: ModelInput["files"]): Tokenizer {
  const json = jsonOf(TOKENIZER_FILE, files.get(TOKENIZER_FILE));
  const config = jsonOf(TOKENIZER_CONFIG_FILE, files.get(TOKENIZER_CONFIG_FILE));
  let hub: HubTokenizer;
  try {
    hub = new HubTokenizer(json, config);
    hub.encode("a", { add_special_tokens: true });
  } catch (error) {
    throw badFile(
      `${TOKENIZER_FILE} cannot be read as a tokenizer (${error instanceof Error ? error.message : String(error)})`,
    );
  }
  const unknown = (json["model"] as { unk_token?: unknown } | undefined)?.unk_token;
  return {
    encode: (text, special) => hub.encode(text, { add_special_tokens: special }).ids,
    unknownId: typeof unknown === "string" ? hub.token_to_id(unknown) : undefined,
  };
}

async function load({ key, definition: { parameters }, files }: ModelInput): Promise<LoadedModel> {
  const [graph] = [...files].filter(([name]) => isGraph(name)).map(([, bytes]) => bytes);
  const tokenizer = openTokenizer(files);
  const windowTokens = windowTokensOf(parameters.windowTokens, jsonOf(CONFIG_FILE, files.get(CONFIG_FILE)));
  const session = await openGraph(graph!);
  const pooling = parameters.pooling === "cls" ? "cls" : "mean";
  let transformer: Transformer;
  try {
    transformer = await Transformer.open(session, tokenizer, { ...parameters, pooling, windowTokens });
  } catch (error) {
    await session.release();
    if (error instanceof EmbeddingRefusal) throw error;
    throw badFile(`cannot be run (${error instanceof Error ? error.message.slice(0, 200) : String(error)})`);
  }
  return held(key, transformer, graph!.length * MEMORY_FACTOR);
}

/** Released when it was asked for and nothing runs any more. */
function held(key: string, transformer: Transformer, memoryBytes: number): LoadedModel {
  let running = 0;
  let isWanted = true;
  const releaseWhenIdle = (): void => {
    if (!isWanted && running === 0) void transformer.release();
  };
  return {
    key,
    memoryBytes,
    dimension: transformer.dimension,
    async run(texts) {
      if (!isWanted && running === 0)
        throw new EmbeddingRefusal("overloaded", "the model was put out of memory for another; try again");
      running++;
      try {
        return await transformer.run(texts);
      } finally {
        running--;
        releaseWhenIdle();
      }
    },
    release() {
      isWanted = false;
      releaseWhenIdle();
    },
  };
}

bringFamily("transformer", load);
