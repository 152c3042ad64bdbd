// The files of a transformer's folder: the graph, the tokenizer, and what their makers say of them.
// Guarantees: what is missing or no JSON is told by the file's name. Must not: do I/O.
import { requireGraph } from "../graph/files.ts";
import { DEFAULT_WINDOW_TOKENS } from "../limits.ts";
import { invalid } from "../refusal.ts";

export const TOKENIZER_FILE = "tokenizer.json";
export const CONFIG_FILE = "config.json";
export const TOKENIZER_CONFIG_FILE = "tokenizer_config.json";

/** @throws EmbeddingRefusal */
export function requireTransformerFiles(files: readonly { readonly name: string }[]): void {
  if (!requireGraph(files, "transformer").includes(TOKENIZER_FILE))
    throw invalid("files", `do not name ${TOKENIZER_FILE}`);
}

/** Tokens of a window: what is asked for, within what the model has places for. */
export function windowTokensOf(windowTokens: number | undefined, config: Record<string, unknown>): number {
  const places = config["max_position_embeddings"];
  const most = typeof places === "number" && places > 0 ? places : Number.POSITIVE_INFINITY;
  if (windowTokens !== undefined && windowTokens > most)
    throw invalid("parameters.windowTokens", `is ${windowTokens}; the model has places for ${most}`, {
      value: windowTokens,
      limit: most,
    });
  return windowTokens ?? Math.min(DEFAULT_WINDOW_TOKENS, most);
}
