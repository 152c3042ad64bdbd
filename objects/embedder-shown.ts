// What a run of texts gave, as it travels: vectors in one block of bytes, failures by their place.
import type { Outcome } from "../src/embedding/queue.ts";
import { EmbeddingRefusal } from "../src/embedding/refusal.ts";
import type { Embedded } from "./embedder-rpc.ts";

interface Run {
  readonly modelId: string;
  readonly dimension: number;
  readonly outcomes: readonly Outcome[];
  /** What a text is called in the request. */
  readonly paths: readonly string[];
}

export function embeddedOf({ modelId, dimension, outcomes, paths }: Run): Embedded {
  const values = new Float32Array(outcomes.length * dimension);
  const failures = outcomes.map((outcome, at) => {
    if (outcome instanceof EmbeddingRefusal) return placed(outcome, paths[at] ?? "input");
    values.set(outcome.values, at * dimension);
    return null;
  });
  const counted = (name: "tokens" | "unknownTokens") =>
    outcomes.map((outcome) => (outcome instanceof EmbeddingRefusal ? 0 : outcome[name]));
  return {
    ...{ modelId, dimension, failures, tokens: counted("tokens"), unknownTokens: counted("unknownTokens") },
    values: new Uint8Array(values.buffer),
  };
}

/** Models speak of a text without knowing its name: their refusals begin with a space. */
function placed({ code, message, details }: EmbeddingRefusal, path: string): NonNullable<Embedded["failures"][number]> {
  const issues = (details?.["issues"] as { path: string }[] | undefined)?.map((issue) => ({ ...issue, path }));
  return { code, message: path + message, ...(issues && { details: { issues } }) };
}
