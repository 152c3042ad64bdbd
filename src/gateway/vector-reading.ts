// How a request reads vectors: from which copies, how new, within which time; and what it may hand on to those after it.
// Guarantees: a token that a client hands in is never answered by an older state; that of an earlier generation of its database says nothing.
import { MalformedBytes } from "../wire/bytes.ts";
import type { ShardPlace } from "../wire/vector.ts";
import {
  mergedTokens,
  readVectorToken,
  VECTOR_TOKEN_HEADER,
  type VectorToken,
  writeVectorToken,
} from "../wire/vector-token.ts";
import { invalidRequest } from "./issues.ts";
import { SHARD_DEADLINE_MS } from "./limits.ts";

export type VectorConsistency = "strong" | "causal" | "eventual";
export const VECTOR_CONSISTENCIES: readonly VectorConsistency[] = ["strong", "causal", "eventual"];

/** A database; created again under its id it has another one. */
interface OfGeneration {
  readonly generation: number;
}

/** Of one request. */
export class VectorReading {
  consistency: VectorConsistency = "strong";
  deadlineMs = SHARD_DEADLINE_MS;
  readonly #given: VectorToken | undefined;
  #seen: VectorToken | undefined;

  /** `token`: as the client gave it. @throws PublicError invalidRequest */
  constructor(token: string | null | undefined) {
    this.#given = token == null ? undefined : givenToken(token);
  }

  /** What an answer of the shard must not be older than. */
  leastOf({ generation }: OfGeneration, shard: number): ShardPlace | undefined {
    return this.#given?.generation === generation ? this.#given.places.get(shard) : undefined;
  }

  /** An answer of a shard. */
  saw({ generation }: OfGeneration, shard: number, { term, revision }: ShardPlace): void {
    const seen = { generation, places: new Map([[shard, { term, revision }]]) };
    this.#seen = this.#seen ? mergedTokens(this.#seen, seen) : seen;
  }

  /** What was handed in and what was seen; undefined = nothing was. */
  get token(): string | undefined {
    if (!this.#seen) return undefined;
    const isOfSame = this.#given?.generation === this.#seen.generation;
    return writeVectorToken(isOfSame ? mergedTokens(this.#given!, this.#seen) : this.#seen);
  }
}

function givenToken(text: string): VectorToken {
  try {
    return readVectorToken(text);
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw invalidRequest([{ path: VECTOR_TOKEN_HEADER, message: "is not one that an answer carried" }]);
  }
}
