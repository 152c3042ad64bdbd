// The way to the embedder's Worker. Guarantees: where it is away, full or slow the answer says so (503), and nothing was done.
// Must not: be asked for by anything that has its vectors already: searches by vector go on without it.
import type { Embedded, EmbedderServiceRpc } from "../../objects/embedder-rpc.ts";
import { unwrap } from "../../objects/tenancy-rpc.ts";
import { DeadlineExceeded, withDeadline } from "../../objects/with-deadline.ts";
import { bytesOfItem, type Item } from "../embedding/item.ts";
import { MAX_CALL_BYTES, MAX_CALL_TEXTS } from "../embedding/limits.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Call } from "./call.ts";
import { EMBED_BUDGET_MS, EMBED_DEADLINE_MS } from "./limits.ts";

/** What an embedder may answer to texts. */
export const EMBED_ERRORS = ["notFound", "conflict", "overloaded", "dataCorrupt"] as const;

/** @throws PublicError `unavailable` where this deployment has none */
export function embedderOf(call: Call): EmbedderServiceRpc {
  const { EMBEDDER } = call.services.env;
  if (EMBEDDER) return EMBEDDER;
  throw new PublicError("unavailable", "this deployment runs no embedder; send vectors instead of texts");
}

/** Awaits the embedder; whatever fails on the way is `unavailable`. */
export async function askEmbedder<T>(call: Call, work: Promise<T>, limitMs = EMBED_DEADLINE_MS): Promise<T> {
  try {
    return await withDeadline(work, limitMs, "embedder");
  } catch (error) {
    const { requestId, route } = call;
    call.services.log.warn("embedder call failed", { requestId, route }, error);
    const how = error instanceof DeadlineExceeded ? `did not answer within ${limitMs} ms` : "cannot be reached";
    throw new PublicError("unavailable", `the embedder ${how}; searches by vector go on`);
  }
}

export interface TextVector {
  /** float32. */
  readonly values: Uint8Array;
  readonly tokens: number;
  readonly unknownTokens: number;
}

export type TextOutcome = TextVector | PublicError;

export interface Texts {
  readonly tenant: number;
  readonly modelId: string;
  readonly texts: readonly Item[];
  /** What each is called in the request. */
  readonly paths: readonly string[];
}

/** Each text's vector or its refusal, in order; as many calls as they need. */
export async function embedTexts(
  call: Call,
  { tenant, modelId, texts, paths }: Texts,
): Promise<readonly TextOutcome[]> {
  const embedder = embedderOf(call);
  const outcomes: TextOutcome[] = [];
  for (let from = 0, to = 0; from < texts.length; from = to) {
    to = callEnd(texts, from);
    const part = [from, to] as const;
    const ask = { modelId, texts: texts.slice(...part), paths: paths.slice(...part), budgetMs: EMBED_BUDGET_MS };
    outcomes.push(...outcomesOf(unwrap(await askEmbedder(call, embedder.embed(tenant, ask)))));
  }
  return outcomes;
}

/** Behind the last that still goes into one call: at least one. */
function callEnd(texts: readonly Item[], from: number): number {
  let to = from;
  let bytes = 0;
  do bytes += bytesOfItem(texts[to++]!);
  while (to < texts.length && to - from < MAX_CALL_TEXTS && bytes + bytesOfItem(texts[to]!) <= MAX_CALL_BYTES);
  return to;
}

function outcomesOf({ dimension, values, tokens, unknownTokens, failures }: Embedded): readonly TextOutcome[] {
  const bytes = dimension * 4;
  return failures.map((failure, at) => {
    if (failure) return new PublicError(failure.code, failure.message, failure.details);
    return {
      values: values.subarray(at * bytes, (at + 1) * bytes),
      tokens: tokens[at]!,
      unknownTokens: unknownTokens[at]!,
    };
  });
}

/** All of them, or the first refusal. */
export async function requireVectors(call: Call, texts: Texts): Promise<readonly TextVector[]> {
  const outcomes = await embedTexts(call, texts);
  return outcomes.map((outcome) => {
    if (outcome instanceof PublicError) throw outcome;
    return outcome;
  });
}
