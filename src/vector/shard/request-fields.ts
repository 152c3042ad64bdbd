// Fields of calls to a shard that several kinds of calls have.
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

export function tooMany(path: string, value: number, limit: number): VectorRefusal {
  return invalid(path, `must be 1 to ${limit}, is ${value}`, { value, limit });
}
