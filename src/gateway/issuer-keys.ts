// The public keys of one issuer of signed tokens: inline, or fetched from its JWKS URL and kept.
// Guarantees: a key that the issuer took out is refused once the set is `refreshMs` old; tokens that it does not verify cause at most
// one fetch a cooldown; while the issuer is away the last set serves for `staleMs`; an answer is bounded in time and size.
// Must not: follow redirects, take secrets for keys, or share a promise between requests (workerd forbids it): others poll.
import { createLocalJWKSet, type JSONWebKeySet } from "jose";
import { PublicError } from "../wire/error-codes.ts";
import { KEYS_FETCH_COOLDOWN_MS, KEYS_FETCH_TIMEOUT_MS, MAX_ISSUER_KEYS, MAX_KEYS_BYTES } from "./limits.ts";

export type FindKey = ReturnType<typeof createLocalJWKSet>;
export type FetchKeys = (url: string, init: RequestInit) => Promise<Response>;
type WaitUntil = (work: Promise<unknown>) => void;

export interface IssuerKeysOptions {
  readonly jwksUrl?: string | undefined;
  readonly jwks?: unknown;
  readonly refreshMs: number;
  readonly staleMs: number;
  readonly now: () => number;
  readonly fetch: FetchKeys;
  /** Told of every failed fetch. */
  readonly onFailure: (error: unknown) => void;
}

interface Held {
  readonly find: FindKey;
  readonly text: string;
  readonly fetchedAtMs: number;
}

const POLL_MS = 10;

/** Keys that verify; an issuer may list others (encryption, secrets by mistake). Throws on anything that is no key set. */
function keySetOf(text: string): JSONWebKeySet {
  const parsed: unknown = JSON.parse(text);
  const keys = (parsed as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys)) throw new Error("the answer is no JSON Web Key Set");
  const usable = keys.filter(
    (key) => typeof key === "object" && key !== null && ["RSA", "EC", "OKP"].includes(key.kty),
  );
  if (usable.length === 0 || usable.length > MAX_ISSUER_KEYS) {
    throw new Error(`the key set has ${usable.length} public keys; it must have 1 to ${MAX_ISSUER_KEYS}`);
  }
  return { keys: usable };
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_KEYS_BYTES) throw new Error(`the key set has over ${MAX_KEYS_BYTES} bytes`);
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return new TextDecoder().decode(bytes);
}

export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  #held: Held | undefined;
  /** Fetches end by then, whatever happens to the request that made them. */
  #fetchingUntilMs = 0;
  #attemptAtMs = Number.NEGATIVE_INFINITY;
  /** What was verified is trusted without another look until then. */
  #trustedUntilMs = 0;
  /** Grows when the keys change: what was verified with older ones must be verified again. */
  generation = 0;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
    if (options.jwks === undefined) return;
    const text = JSON.stringify(options.jwks);
    this.#held = { text, find: createLocalJWKSet(keySetOf(text)), fetchedAtMs: 0 };
    this.#trustedUntilMs = Number.POSITIVE_INFINITY;
  }

  /** True while a token that was verified with `generation` needs no verification. */
  isTrusted(generation: number): boolean {
    return generation === this.generation && this.#options.now() < this.#trustedUntilMs;
  }

  /** Keys young enough to verify with; fetched where needed. Throws `unavailable` when there are none. */
  async current(): Promise<FindKey> {
    if (this.#options.now() >= this.#trustedUntilMs) await this.#refresh();
    const { now, staleMs, refreshMs } = this.#options;
    const held = this.#held;
    const isUsable = held && (now() < this.#trustedUntilMs || now() - held.fetchedAtMs < Math.max(staleMs, refreshMs));
    if (isUsable) return held.find;
    throw new PublicError("unavailable", "the keys of the token's issuer cannot be fetched", { retryAfterSeconds: 10 });
  }

  /** After a token that the set of `generation` does not verify: a younger one, or undefined when that was the youngest a moment ago. */
  async younger(generation: number): Promise<FindKey | undefined> {
    if (generation === this.generation) await this.#refresh();
    return generation === this.generation ? undefined : this.#held?.find;
  }

  /** From half its age on the set is fetched behind a request, so that requests seldom wait. */
  refreshBehind(waitUntil: WaitUntil): void {
    const { now, refreshMs } = this.#options;
    if (!this.#held || now() - this.#held.fetchedAtMs < refreshMs / 2 || !this.#mayFetch()) return;
    waitUntil(this.#refresh());
  }

  #mayFetch(): boolean {
    const { now, jwksUrl } = this.#options;
    const nowMs = now();
    return (
      jwksUrl !== undefined && nowMs >= this.#fetchingUntilMs && nowMs - this.#attemptAtMs >= KEYS_FETCH_COOLDOWN_MS
    );
  }

  async #whenFetched(): Promise<void> {
    while (this.#options.now() < this.#fetchingUntilMs) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  /** Never throws: a failure leaves the old set. */
  async #refresh(): Promise<void> {
    if (!this.#mayFetch()) return this.#whenFetched();
    const { jwksUrl, now, refreshMs, fetch, onFailure } = this.#options;
    const startedMs = now();
    this.#attemptAtMs = startedMs;
    this.#fetchingUntilMs = startedMs + KEYS_FETCH_TIMEOUT_MS;
    try {
      const init: RequestInit = {
        headers: { accept: "application/json" },
        redirect: "manual",
        signal: AbortSignal.timeout(KEYS_FETCH_TIMEOUT_MS),
      };
      const response = await fetch(jwksUrl!, init);
      if (response.status !== 200) throw new Error(`HTTP ${response.status}`);
      const text = await readBounded(response);
      const isSame = text === this.#held?.text;
      const find = isSame ? this.#held!.find : createLocalJWKSet(keySetOf(text));
      if (!isSame) this.generation++;
      this.#held = { text, find, fetchedAtMs: startedMs };
      this.#trustedUntilMs = startedMs + refreshMs;
    } catch (error) {
      onFailure(error);
      this.#serveStale(now());
    } finally {
      this.#fetchingUntilMs = 0;
    }
  }

  /** The issuer is away: what was verified stays trusted until the next attempt, within the bound. */
  #serveStale(nowMs: number): void {
    const { staleMs } = this.#options;
    if (!this.#held || nowMs < this.#trustedUntilMs) return;
    this.#trustedUntilMs = Math.min(nowMs + KEYS_FETCH_COOLDOWN_MS, this.#held.fetchedAtMs + staleMs);
  }
}
