// Models that somebody else runs: requests to endpoints that speak OpenAI's /v1/embeddings, and Workers AI by its binding.
// Guarantees: a key goes only to the address that the operator gave it for; addresses are judged as those of webhooks are; no redirect is followed.
// Must not: log or tell a key, or what a provider says in words.

import type { Settings } from "../src/cluster/settings.ts";
import { TargetBreakers } from "../src/config/webhook-breaker.ts";
import { urlProblem } from "../src/config/webhook-url.ts";
import { MAX_PROVIDER_ANSWER_BYTES, PROVIDER_OPEN_MS } from "../src/embedding/provider/limits.ts";
import { type Answered, ProviderEncoder, type RemoteModel, requireRemote } from "../src/embedding/provider/provider.ts";
import { EmbeddingRefusal, invalid } from "../src/embedding/refusal.ts";
import { parseNetwork } from "../src/wire/networks.ts";
import type { EmbedderEnv } from "./embedder-env.ts";
import type { LoadedModel, ModelInput } from "./embedder-families.ts";
import { DeadlineExceeded, withDeadline } from "./with-deadline.ts";

/** A stand-in: the model's memory is the provider's. */
const MEMORY_BYTES = 4096;
/** Longer pauses than the budget of a call are none that it can keep. Ms. */
const MS_PER_SECOND = 1000;

/** Of all embedders of the isolate: failures of one are known to the others. */
const breakers = new TargetBreakers(PROVIDER_OPEN_MS);

interface Place {
  readonly env: EmbedderEnv;
  readonly settings: Settings["embedding"];
  /** Its dimension is to be learnt, whatever its record says. */
  readonly isNew: boolean;
}

/** @throws EmbeddingRefusal where the record cannot be, or a new model does not answer */
export async function openProvider(
  { key, definition }: Pick<ModelInput, "key" | "definition">,
  place: Place,
): Promise<LoadedModel> {
  const remote = requireRemote(definition.remote);
  const { target, ask } = remote.provider === "openai" ? overHttp(remote, place) : byBinding(remote, place);
  const world = {
    ask,
    now: Date.now,
    sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
    random: Math.random,
    admit: () => breakers.admit(target, Date.now()),
    succeeded: () => breakers.succeeded(target),
    failed: () => breakers.failed(target, Date.now()),
  };
  const { normalize } = definition.parameters;
  const known = place.isNew ? null : definition.outputDimension;
  const dimension = known ?? (await dimensionOf(new ProviderEncoder(remote, { normalize, dimension: null, world })));
  const encoder = new ProviderEncoder(remote, { normalize, dimension, world });
  return { key, dimension, memoryBytes: MEMORY_BYTES, run: (items) => encoder.run(items) };
}

async function dimensionOf(encoder: ProviderEncoder): Promise<number> {
  const [outcome] = await encoder.run(["a"]);
  if (outcome && !(outcome instanceof EmbeddingRefusal)) return outcome.values.length;
  throw new EmbeddingRefusal(
    "conflict",
    `the provider of the model gave no vector of a first text: it${outcome?.message ?? ""}`,
  );
}

interface Way {
  /** What shares one circuit breaker. */
  readonly target: string;
  readonly ask: (texts: readonly string[], timeoutMs: number) => Promise<Answered>;
}

function overHttp({ url = "", model, secret, dimensions }: RemoteModel, { env, settings }: Place): Way {
  const problem = urlProblem(
    url,
    settings.allowedNetworks.map((text) => parseNetwork(text)!),
  );
  if (problem) throw invalid("remote.url", problem);
  const key = secret === undefined ? undefined : keyFor(secret, url, { env, settings });
  const headers = { "content-type": "application/json", ...(key !== undefined && { authorization: `Bearer ${key}` }) };
  return {
    target: new URL(url).host,
    async ask(texts, timeoutMs) {
      const signal = AbortSignal.timeout(timeoutMs);
      try {
        const body = JSON.stringify({ model, input: texts, encoding_format: "float", dimensions });
        const init = { method: "POST", redirect: "manual", headers, body, signal } as const;
        return await answerOf(await (env.EMBEDDING_NETWORK ?? globalThis).fetch(url, init));
      } catch {
        // The words of an error could hold what was sent.
        const why = signal.aborted ? `did not answer within ${timeoutMs} ms` : "cannot be reached";
        return { kind: "failed", why };
      }
    },
  };
}

async function answerOf(response: Response): Promise<Answered> {
  const { status } = response;
  if (status !== 200) {
    await response.body?.cancel();
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    return { kind: "status", status, ...(seconds > 0 && { retryAfterMs: seconds * MS_PER_SECOND }) };
  }
  const text = await boundedText(response);
  try {
    return { kind: "answer", body: text === undefined ? undefined : JSON.parse(text) };
  } catch {
    return { kind: "answer", body: undefined };
  }
}

/** Undefined = it has more than a list of vectors could. */
async function boundedText({ body }: Response): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let [text, bytes] = ["", 0];
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_PROVIDER_ANSWER_BYTES) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The key, where the operator gave it for this address. @throws EmbeddingRefusal */
function keyFor(secret: string, url: string, { env, settings }: Pick<Place, "env" | "settings">): string {
  const own = settings.secrets.find(({ name }) => name === secret);
  if (!own)
    throw invalid(
      "remote.secret",
      `is "${secret.slice(0, 100)}", which the operator has not set up (embedding.secrets)`,
    );
  if (!isWithin(url, own.url)) throw invalid("remote.secret", `"${secret}" is for ${own.url} only`);
  const key = (env as unknown as Readonly<Record<string, unknown>>)[secret];
  if (typeof key === "string" && key !== "") return key;
  throw new EmbeddingRefusal("conflict", `the secret "${secret}" has no value: the operator has to set it`);
}

/** One origin, and below the path. */
function isWithin(url: string, base: string): boolean {
  const [asked, given] = [new URL(url), new URL(base)];
  const path = given.pathname.endsWith("/") ? given.pathname : `${given.pathname}/`;
  return asked.origin === given.origin && `${asked.pathname}/`.startsWith(path);
}

function byBinding({ model }: RemoteModel, { env: { AI } }: Place): Way {
  if (!AI)
    throw new EmbeddingRefusal("conflict", "this deployment has no Workers AI: bind it as AI (wrangler.embedder.toml)");
  return {
    target: `workers-ai/${model}`,
    async ask(texts, timeoutMs) {
      try {
        return { kind: "answer", body: await withDeadline(AI.run(model, { text: texts }), timeoutMs, "Workers AI") };
      } catch (error) {
        const isLate = error instanceof DeadlineExceeded;
        return { kind: "failed", why: isLate ? `did not answer within ${timeoutMs} ms` : "failed" };
      }
    },
  };
}
