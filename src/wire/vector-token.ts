// What a client has seen of a vector database: of each shard the latest place. Handed out with every answer, handed in with a causal read.
// Guarantees: merging never goes back; anything that is not a token throws MalformedBytes.
//
// base64url of: u8 version, varint generation, then for each shard: varint shard, term, revision.
import { ByteReader, MalformedBytes, written } from "./bytes.ts";
import type { ShardPlace } from "./vector.ts";

/** The header of requests and answers. */
export const VECTOR_TOKEN_HEADER = "jade-vector-token";

export interface VectorToken {
  /** Of the database: what is created again under its id has another. */
  readonly generation: number;
  readonly places: ReadonlyMap<number, ShardPlace>;
}

/** 64 shards, with room. */
const MAX_CHARACTERS = 2048;
const TOKEN = /^[A-Za-z0-9_-]+$/;
const VERSION = 1;

export function writeVectorToken({ generation, places }: VectorToken): string {
  const bytes = written((writer) => {
    writer.u8(VERSION);
    writer.varint(generation);
    for (const [shard, { term, revision }] of [...places].sort(([a], [b]) => a - b)) {
      writer.varint(shard);
      writer.varint(term);
      writer.varint(revision);
    }
  });
  const binary = String.fromCharCode(...bytes);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @throws MalformedBytes */
export function readVectorToken(text: string): VectorToken {
  if (text.length > MAX_CHARACTERS || !TOKEN.test(text) || text.length % 4 === 1)
    throw new MalformedBytes("no vector token");
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const reader = new ByteReader(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
  if (reader.u8() !== VERSION) throw new MalformedBytes("a vector token of another version");
  const generation = reader.varint();
  const places = new Map<number, ShardPlace>();
  while (!reader.done) places.set(reader.varint(), { term: reader.varint(), revision: reader.varint() });
  return { generation, places };
}

/** The later place of each shard; of two generations the later one's alone. */
export function mergedTokens(a: VectorToken, b: VectorToken): VectorToken {
  if (a.generation !== b.generation) return a.generation > b.generation ? a : b;
  const places = new Map(a.places);
  for (const [shard, place] of b.places) {
    const held = places.get(shard);
    if (!held || isLater(place, held)) places.set(shard, place);
  }
  return { generation: a.generation, places };
}

function isLater(a: ShardPlace, b: ShardPlace): boolean {
  return a.term > b.term || (a.term === b.term && a.revision > b.revision);
}
