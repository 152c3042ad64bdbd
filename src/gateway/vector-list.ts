// Pages over the shards of a database, one shard after another, each in the order that it keeps.
// Guarantees: a vector that is there all through a listing is given once. Must not: ask a shard for more than the page still holds.
import { base64UrlOf } from "../access/api-key.ts";
import type { VectorShown } from "../wire/vector.ts";
import type { Call } from "./call.ts";
import { invalidRequest } from "./issues.ts";
import { callShard } from "./vector-call.ts";
import type { KnownDatabase } from "./vector-databases.ts";

export interface ListAsk {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly filters?: string | undefined;
  readonly includeMetadata: boolean;
  readonly includeValues: boolean;
}

export interface ListedRow {
  readonly row: VectorShown;
  readonly shard: number;
}

const CURSOR = /^[A-Za-z0-9_-]{2,1000}$/;

/** JSON text of an object, as a query gives it. */
export function filterText(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    JSON.parse(text);
    return text;
  } catch {
    throw invalidRequest([{ path: "filters", message: "is not JSON" }]);
  }
}

/** A shard, and the place in it. */
function writeCursor(shard: number, place: Uint8Array): string {
  return base64UrlOf(Uint8Array.of(shard, ...place));
}

function readCursor(cursor: string | undefined, numShards: number): { shard: number; place: Uint8Array } {
  if (cursor === undefined) return { shard: 0, place: new Uint8Array(0) };
  const refuse = () => invalidRequest([{ path: "cursor", message: "is not one that an earlier page returned" }]);
  if (!CURSOR.test(cursor)) throw refuse();
  let bytes: Uint8Array;
  try {
    const binary = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
    bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    throw refuse();
  }
  const [shard = 0] = bytes;
  if (shard >= numShards) throw refuse();
  return { shard, place: bytes.subarray(1) };
}

export async function pageOfShards(
  call: Call,
  database: KnownDatabase,
  { limit, cursor, filters, includeMetadata, includeValues }: ListAsk,
): Promise<{ readonly rows: readonly ListedRow[]; readonly cursor: string | null }> {
  const filter = filterText(filters);
  const shown = { values: includeValues, metadata: includeMetadata };
  let { shard, place } = readCursor(cursor, database.numShards);
  const rows: ListedRow[] = [];
  while (rows.length < limit && shard < database.numShards) {
    const request = { kind: "list", cursor: place, limit: limit - rows.length, filter, shown } as const;
    const answer = await callShard(call, { database, shard }, request);
    for (const row of answer.rows) if (row) rows.push({ row, shard });
    // A page that a shard cut short for its size ends here too: the next shard's rows would come on top.
    if (answer.cursor.length > 0) return { rows, cursor: writeCursor(shard, answer.cursor) };
    shard++;
    place = new Uint8Array(0);
  }
  return { rows, cursor: shard < database.numShards ? writeCursor(shard, place) : null };
}
