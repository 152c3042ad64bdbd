// Transformers in ONNX, for embedders whose entry imports this: `model.onnx`, `tokenizer.json`, `config.json` as Hugging Face lays them out.
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { graphFiles, jsonOf } from "../src/embedding/graph/files.ts";
import type { Tokenizer } from "../src/embedding/graph/session.ts";
import { badFile } from "../src/embedding/refusal.ts";
import {
  CONFIG_FILE,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
  windowTokensOf,
} from "../src/embedding/transformer/files.ts";
import { Transformer } from "../src/embedding/transformer/transformer.ts";
import { bringFamily, type LoadedModel, type ModelInput } from "./embedder-families.ts";
import { heldModel, opened } from "./graph-model.ts";

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
  const graph = graphFiles(files);
  const tokenizer = openTokenizer(files);
  const windowTokens = windowTokensOf(parameters.windowTokens, jsonOf(CONFIG_FILE, files.get(CONFIG_FILE)));
  const pooling = parameters.pooling === "cls" ? "cls" : "mean";
  const options = { ...parameters, pooling, windowTokens } as const;
  return heldModel(key, graph, await opened(graph, (session) => Transformer.open(session, tokenizer, options)));
}

bringFamily("transformer", load);
