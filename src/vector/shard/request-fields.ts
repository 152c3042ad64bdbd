// Fields of calls to a shard that several kinds of calls have.
import type { VectorInput, VectorRequest } from "../../wire/vector.ts";
import { invalid, type VectorRefusal } from "../failure.ts";
import type { Filter } from "../filter/filter.ts";
import { parseFilter } from "../filter/parse.ts";

/** @throws VectorRefusal */
export function filterOf(text: string | undefined): Filter | undefined {
  if (text === undefined) return undefined;
  try {
    return parseFilter(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid("filters", "must be valid JSON");
    throw error;
  }
}

/** What a request costs its turn, in bytes of rows. */
export function bytesOf(request: VectorRequest): number {
  if (request.kind === "upsert") return request.rows.reduce((sum, row) => sum + rowBytes(row), 0);
  if (request.kind === "importStage") return request.rows.reduce((sum, { row }) => sum + rowBytes(row), 0);
  if (request.kind === "delete") return request.ids.length * ROW_BYTES;
  if (request.kind === "deleteWhere") return request.limit * ROW_BYTES;
  return ROW_BYTES;
}

function rowBytes({ values, metadata }: VectorInput): number {
  return values.length + metadata.length + ROW_BYTES;
}

/** What a row costs beside its bytes. */
const ROW_BYTES = 128;

export function tooMany(path: string, value: number, limit: number): VectorRefusal {
  return invalid(path, `must be 1 to ${limit}, is ${value}`, { value, limit });
}
