// How a request reads vectors: from which copies, how new, within which time; and what it may hand on to those after it.
// Guarantees: a token that a client hands back is never answered by an older state; its database's earlier generations say nothing.
import { base64UrlOf } from "../access/api-key.ts";
import { ByteReader, ByteWriter, MalformedBytes } from "../wire/bytes.ts";
import type { ShardPlace } from "../wire/vector.ts";
import type { Call } from "./call.ts";
import { invalidRequest } from "./issues.ts";
import { SHARD_DEADLINE_MS } from "./limits.ts";
import type { KnownDatabase } from "./vector-databases.ts";

export type VectorConsistency = "strong" | "causal" | "eventual";
export const VECTOR_CONSISTENCIES: readonly VectorConsistency[] = ["strong", "causal", "eventual"];

/** Of a request and of an answer alike. */
export const TOKEN_HEADER = "jade-vector-token";

/** Bytes of a token of 64 shards, with room. */
const MAX_TOKEN_CHARACTERS = 2048;
const TOKEN = /^[A-Za-z0-9_-]+$/;
const VERSION = 1;

export interface ReadAsk {
  readonly consistency?: VectorConsistency | undefined;
  readonly deadlineMs?: number | undefined;
}

interface Token {
  readonly generation: number;
  readonly places: ReadonlyMap<number, ShardPlace>;
}

/** Of one request. */
export class VectorReading {
  consistency: VectorConsistency = "strong";
  deadlineMs = SHARD_DEADLINE_MS;
  #given: Token | undefined;
  #generation = 0;
  readonly #seen = new Map<number, ShardPlace>();

  /** @throws PublicError invalidRequest */
  constructor(request: Request) {
    const text = request.headers.get(TOKEN_HEADER);
    if (text !== null) this.#given = readToken(text);
  }

  /** What the answer must not be older than. */
  leastOf({ generation }: KnownDatabase, shard: number): ShardPlace | undefined {
    return this.#given?.generation === generation ? this.#given.places.get(shard) : undefined;
  }

  /** An answer of a shard. */
  saw({ generation }: KnownDatabase, shard: number, place: ShardPlace): void {
    if (this.#generation !== generation) this.#seen.clear();
    this.#generation = generation;
    const held = this.#seen.get(shard);
    if (!held || isLater(place, held)) this.#seen.set(shard, { term: place.term, revision: place.revision });
  }

  /** What was handed in and what was seen; undefined = nothing was. */
  get token(): string | undefined {
    if (this.#seen.size === 0) return undefined;
    const places = new Map(this.#given?.generation === this.#generation ? this.#given.places : []);
    for (const [shard, place] of this.#seen) {
      const held = places.get(shard);
      if (!held || isLater(place, held)) places.set(shard, place);
    }
    return writeToken({ generation: this.#generation, places });
  }
}

/** Says how a request reads. Once, before its first shard is asked. */
export function readAs(call: Call, { consistency, deadlineMs }: ReadAsk): void {
  const reading = readingOf(call);
  if (consistency) reading.consistency = consistency;
  if (deadlineMs) reading.deadlineMs = deadlineMs;
}

export function readingOf(call: Call): VectorReading {
  call.reading ??= new VectorReading(call.request);
  return call.reading;
}

function isLater(a: ShardPlace, b: ShardPlace): boolean {
  return a.term > b.term || (a.term === b.term && a.revision > b.revision);
}

function writeToken({ generation, places }: Token): string {
  const writer = new ByteWriter(256);
  writer.u8(VERSION);
  writer.varint(generation);
  for (const [shard, { term, revision }] of [...places].sort(([a], [b]) => a - b)) {
    writer.varint(shard);
    writer.varint(term);
    writer.varint(revision);
  }
  return base64UrlOf(writer.take());
}

function readToken(text: string): Token {
  const refusal = invalidRequest([{ path: TOKEN_HEADER, message: "is not one that an answer carried" }]);
  if (text.length > MAX_TOKEN_CHARACTERS || !TOKEN.test(text)) throw refusal;
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const reader = new ByteReader(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
    if (reader.u8() !== VERSION) throw refusal;
    const generation = reader.varint();
    const places = new Map<number, ShardPlace>();
    while (!reader.done) {
      const shard = reader.varint();
      places.set(shard, { term: reader.varint(), revision: reader.varint() });
    }
    return { generation, places };
  } catch (error) {
    // InvalidCharacterError of atob is no error of ours.
    if (error instanceof MalformedBytes || error instanceof DOMException) throw refusal;
    throw error;
  }
}
