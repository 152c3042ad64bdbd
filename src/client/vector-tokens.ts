// What this client has seen of its vector databases: each answer carries it, and causal reads hand it in.
// Guarantees: it only grows, in whatever order answers come; bounded.
import { mergedTokens, readVectorToken, type VectorToken, writeVectorToken } from "../wire/vector-token.ts";

/** Databases that are remembered; the one unused for longest is forgotten. */
const MAX_DATABASES = 1000;

export class VectorTokens {
  readonly #tokens = new Map<string, VectorToken>();

  /** Of one database of one namespace. */
  get(key: string): string | undefined {
    const token = this.#tokens.get(key);
    return token && writeVectorToken(token);
  }

  /** @throws MalformedBytes */
  add(key: string, text: string): void {
    const token = readVectorToken(text);
    const held = this.#tokens.get(key);
    this.#tokens.delete(key);
    this.#tokens.set(key, held ? mergedTokens(held, token) : token);
    if (this.#tokens.size <= MAX_DATABASES) return;
    for (const oldest of this.#tokens.keys()) {
      this.#tokens.delete(oldest);
      break;
    }
  }
}
