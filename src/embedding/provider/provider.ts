// A model that somebody else runs: an endpoint that speaks OpenAI's /v1/embeddings, or Workers AI.
// Guarantees: bounded in time, tries and texts a call; what comes back is judged before it is used; nothing of what a provider answers in words, and no
// key, is told to anyone. Must not: do I/O, or read clocks.

import type { Item } from "../item.ts";
import { MAX_OUTPUT_DIMENSION } from "../limits.ts";
import type { Outcome } from "../queue.ts";
import { EmbeddingRefusal, invalid } from "../refusal.ts";
import { requireText } from "../word-encoder.ts";
import {
  DEFAULT_PROVIDER_BATCH,
  DEFAULT_PROVIDER_TIMEOUT_MS,
  PROVIDER_BUDGET_MS,
  PROVIDER_PAUSE_MS,
  PROVIDER_TRIES,
} from "./limits.ts";

export const PROVIDERS = ["openai", "workers-ai"] as const;
export type Provider = (typeof PROVIDERS)[number];

/** Where a remote model is, as its record has it. */
export interface RemoteModel {
  readonly provider: Provider;
  /** By the provider's name for it. */
  readonly model: string;
  /** openai: the whole address, such as https://api.openai.com/v1/embeddings. */
  readonly url?: string | undefined;
  /** openai: the name of the operator's secret that holds the key. */
  readonly secret?: string | undefined;
  /** One try. */
  readonly timeoutMs?: number | undefined;
  /** Texts of one call. */
  readonly batchTexts?: number | undefined;
  /** openai: asked of models that can give shorter vectors. */
  readonly dimensions?: number | undefined;
}

/** What came of one call. */
export type Answered =
  | { readonly kind: "answer"; readonly body: unknown }
  /** With the provider's status; `retryAfterMs` where it says so. */
  | { readonly kind: "status"; readonly status: number; readonly retryAfterMs?: number | undefined }
  /** No connection, no answer in time, or none that can be read. */
  | { readonly kind: "failed"; readonly why: string };

export interface ProviderWorld {
  /** Never throws for what the provider does. */
  readonly ask: (texts: readonly string[], timeoutMs: number) => Promise<Answered>;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** From 0 to 1. */
  readonly random: () => number;
  /** 0 = it may be asked, which the caller then does; else when to come back. Ms. */
  readonly admit: () => number;
  readonly succeeded: () => void;
  readonly failed: () => void;
}

interface Vectors {
  readonly vectors: readonly Float32Array[];
  /** Of all texts; 0 = it did not say. */
  readonly tokens: number;
}

const unavailable = (message: string): EmbeddingRefusal =>
  new EmbeddingRefusal("unavailable", `the provider of the model ${message}; nothing was done`);

/** Statuses after which the same request may succeed. */
const isPassing = (status: number): boolean => status === 408 || status === 425 || status === 429 || status >= 500;
/** Statuses that speak of the texts. */
const isAboutTexts = (status: number): boolean => status === 400 || status === 413 || status === 422;

export class ProviderEncoder {
  readonly #remote: RemoteModel;
  readonly #world: ProviderWorld;
  readonly #isNormal: boolean;
  readonly #dimension: number | null;

  /** `dimension`: null = not known yet: whatever comes is taken. */
  constructor(
    remote: RemoteModel,
    {
      normalize,
      dimension,
      world,
    }: { normalize?: boolean | undefined; dimension: number | null; world: ProviderWorld },
  ) {
    this.#remote = remote;
    this.#world = world;
    this.#isNormal = normalize !== false;
    this.#dimension = dimension;
  }

  /** An outcome for each, in order. @throws EmbeddingRefusal where the provider has none to give */
  async run(items: readonly Item[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    const places: number[] = [];
    for (const [at, item] of items.entries()) {
      const refused = refusalOf(item);
      if (refused) outcomes[at] = refused;
      else places.push(at);
    }
    const untilMs = this.#world.now() + PROVIDER_BUDGET_MS;
    const size = this.#remote.batchTexts ?? DEFAULT_PROVIDER_BATCH;
    for (let from = 0; from < places.length; from += size) {
      const part = places.slice(from, from + size);
      const made = await this.#batch(
        part.map((at) => items[at] as string),
        untilMs,
      );
      for (const [n, at] of part.entries()) outcomes[at] = made[n]!;
    }
    return outcomes;
  }

  /** Where a batch is refused for what is in it, its texts go one by one. */
  async #batch(texts: readonly string[], untilMs: number): Promise<readonly Outcome[]> {
    const answered = await this.#asked(texts, untilMs);
    if (typeof answered !== "number") return this.#outcomes(answered);
    if (texts.length === 1) return [invalid("", `was refused by the provider of the model (status ${answered})`)];
    const outcomes: Outcome[] = [];
    for (const text of texts) outcomes.push(...(await this.#batch([text], untilMs)));
    return outcomes;
  }

  /** Vectors, or the status by which the texts were refused. */
  async #asked(texts: readonly string[], untilMs: number): Promise<Vectors | number> {
    const { now, sleep, random } = this.#world;
    for (let tried = 1; ; tried++) {
      const answered = await this.#once(texts, untilMs);
      if (answered.kind === "answer") return answered.vectors;
      if (answered.kind === "texts") return answered.status;
      const pause = Math.max(answered.retryAfterMs ?? 0, PROVIDER_PAUSE_MS * 2 ** (tried - 1) * (0.5 + random()));
      if (tried === PROVIDER_TRIES || now() + pause >= untilMs) throw unavailable(`${answered.why}, ${tried} times`);
      await sleep(pause);
    }
  }

  async #once(texts: readonly string[], untilMs: number) {
    const { ask, now, admit, succeeded, failed } = this.#world;
    const openUntilMs = admit();
    if (openUntilMs > 0)
      throw unavailable(
        `failed several times in a row and is asked again in ${Math.ceil((openUntilMs - now()) / 1000)} s`,
      );
    const { timeoutMs = DEFAULT_PROVIDER_TIMEOUT_MS } = this.#remote;
    const answered = await ask(texts, Math.max(1, Math.min(timeoutMs, untilMs - now())));
    if (answered.kind === "answer") {
      const vectors = this.#read(answered.body, texts.length);
      if (typeof vectors !== "string") {
        succeeded();
        return { kind: "answer", vectors } as const;
      }
      failed();
      // Asked again it would say the same.
      throw unavailable(`gave ${vectors}`);
    }
    if (answered.kind === "status" && !isPassing(answered.status)) {
      // It is there and has its reasons.
      succeeded();
      if (isAboutTexts(answered.status)) return { kind: "texts", status: answered.status } as const;
      throw new EmbeddingRefusal("conflict", `the provider of the model ${reasonOf(answered.status)}`);
    }
    failed();
    if (answered.kind === "failed") return { kind: "again", why: answered.why, retryAfterMs: 0 } as const;
    const { status, retryAfterMs } = answered;
    return { kind: "again", why: `answered with status ${status}`, retryAfterMs } as const;
  }

  /** A text: what is wrong with it. */
  #read(body: unknown, count: number): Vectors | string {
    const read = this.#remote.provider === "openai" ? readOpenAi(body, count) : readWorkersAi(body);
    if (!read || read.rows.length !== count) return `no list of ${count} vectors`;
    const vectors: Float32Array[] = [];
    for (const row of read.rows) {
      if (!Array.isArray(row) || row.length < 1 || row.length > MAX_OUTPUT_DIMENSION || !row.every(Number.isFinite))
        return "something that is no vector";
      const wanted = this.#dimension ?? vectors[0]?.length ?? row.length;
      if (row.length !== wanted) return `a vector of ${row.length} numbers, where ${wanted} were to come`;
      const vector = Float32Array.from(row as number[]);
      const length = this.#isNormal ? Math.hypot(...vector) : 1;
      if (!(length > 0 && Number.isFinite(length))) return "a vector without direction";
      vectors.push(vector.map((value) => value / length));
    }
    return { vectors, tokens: read.tokens };
  }

  #outcomes({ vectors, tokens }: Vectors): readonly Outcome[] {
    // Of several texts it tells the sum only.
    return vectors.map((values) => ({ values, tokens: vectors.length === 1 ? tokens : 0, unknownTokens: 0 }));
  }
}

function refusalOf(item: Item): EmbeddingRefusal | undefined {
  if (typeof item !== "string") return invalid("", "is no text");
  try {
    requireText(item, "");
    return undefined;
  } catch (error) {
    if (error instanceof EmbeddingRefusal) return error;
    throw error;
  }
}

function reasonOf(status: number): string {
  if (status === 401 || status === 403) return `refused the key (status ${status})`;
  if (status === 404) return "does not know the model, or has nothing at this address (status 404)";
  return `answered with status ${status}`;
}

type Rows = { readonly rows: readonly unknown[]; readonly tokens: number } | undefined;
const objectOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};

/** `{data: [{index, embedding}], usage: {prompt_tokens}}`, in any order. */
function readOpenAi(body: unknown, count: number): Rows {
  const { data, usage } = objectOf(body);
  if (!Array.isArray(data) || data.length !== count) return undefined;
  const rows: unknown[] = [];
  for (const [at, one] of data.entries()) {
    const { index = at, embedding } = objectOf(one);
    if (
      typeof index !== "number" ||
      !Number.isInteger(index) ||
      index < 0 ||
      index >= count ||
      rows[index] !== undefined
    )
      return undefined;
    rows[index] = embedding;
  }
  const { prompt_tokens: tokens } = objectOf(usage);
  return { rows, tokens: Number.isSafeInteger(tokens) && (tokens as number) > 0 ? (tokens as number) : 0 };
}

/** `{shape, data: [[…]]}`. */
function readWorkersAi(body: unknown): Rows {
  const { data } = objectOf(body);
  return Array.isArray(data) ? { rows: data, tokens: 0 } : undefined;
}

/** What a record of a remote model must say. @throws EmbeddingRefusal */
export function requireRemote(remote: RemoteModel | undefined): RemoteModel {
  if (!remote) throw invalid("remote", "is needed: where the model is");
  const { provider, url, secret, dimensions } = remote;
  if (provider === "openai" && url === undefined) throw invalid("remote.url", "is needed for the provider openai");
  if (provider === "workers-ai")
    for (const [name, value] of Object.entries({ url, secret, dimensions }))
      if (value !== undefined) throw invalid(`remote.${name}`, "means nothing to the provider workers-ai");
  return remote;
}
