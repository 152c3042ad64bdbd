// Vectors and hits as JSON: pieces of text and raw bytes. Guarantees: metadata goes out as it came in.
import type { VectorHit, VectorShown, VectorStamp } from "../wire/vector.ts";
import type { Pieces } from "./config-shown.ts";
import { shownFloats } from "./vector-fields.ts";

const shownShard = (shard: number): string => `shard_${String(shard).padStart(2, "0")}`;
const timeOf = (ms: number): string => new Date(ms).toISOString();

function stampText({ version, revision, createdMs, updatedMs }: VectorStamp, shard: number): string {
  const times = `"createdAt":"${timeOf(createdMs)}","updatedAt":"${timeOf(updatedMs)}"`;
  return `"version":${version},"revision":${revision},"shard":"${shownShard(shard)}",${times}`;
}

export function storedPiece(id: string, stamp: VectorStamp, shard: number): string {
  return `{"id":${JSON.stringify(id)},${stampText(stamp, shard)}}`;
}

function contents({ values, metadata }: Pick<VectorShown, "values" | "metadata">): Pieces {
  const pieces: Pieces = [];
  if (values) pieces.push(`,"values":${shownFloats(values)}`);
  if (metadata) pieces.push(',"metadata":', metadata.length === 0 ? "{}" : metadata);
  return pieces;
}

export function vectorPieces(row: VectorShown, shard: number): Pieces {
  return [`{"id":${JSON.stringify(row.id)}`, ...contents(row), `,${stampText(row.stamp, shard)},"deleted":false}`];
}

export function hitPieces(hit: VectorHit): Pieces {
  return [`{"id":${JSON.stringify(hit.id)},"score":${hit.score}`, ...contents(hit), "}"];
}
