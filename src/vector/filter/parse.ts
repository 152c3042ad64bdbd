// Filters as users write them → the tree. The plain form (`{"category": "report", "score": {"$gte": 0.8}}`) and boolean trees alike.
// Guarantees: bounded in size and depth; what is wrong is named with its path, and an unknown operator with the known ones.
import { invalid, type VectorRefusal } from "../failure.ts";
import {
  MAX_CONDITIONS,
  MAX_FILTER_DEPTH,
  MAX_FILTER_TEXT_CHARACTERS,
  MAX_FILTER_VALUES,
  MAX_PATH_CHARACTERS,
  MAX_RADIUS_METERS,
} from "../metadata/limits.ts";
import { pointOf, type Scalar, wellFormed } from "../metadata/values.ts";
import { wordsOf } from "../metadata/words.ts";
import type { Bounds, Filter } from "./filter.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Where in the filter something stands. */
interface Place {
  /** As errors show it: `filters.$or[1].score`. */
  readonly at: string;
  /** The metadata's path, "" at the top. */
  readonly path: string;
  readonly depth: number;
}

const BOUNDS: Readonly<Record<string, keyof Bounds>> = { $gt: "gt", $gte: "gte", $lt: "lt", $lte: "lte" };
const OPERATORS =
  "$eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists, $containsAny, $containsAll, $prefix, $text, $geoRadius, $not";

/** `at`: the name of the field that holds the filter. Throws `invalidRequest`. */
export function parseFilter(input: unknown, at = "filters"): Filter {
  return new Parser().object(input, { at, path: "", depth: 0 });
}

class Parser {
  #conditions = 0;

  object(input: unknown, place: Place): Filter {
    const of = Object.entries(this.#fields(input, place)).map(([name, value]) => this.#member(name, value, place));
    return of.length === 1 ? of[0]! : { kind: "and", of };
  }

  #fields(input: unknown, { at, depth }: Place): Fields {
    if (typeof input !== "object" || input === null || Array.isArray(input)) throw invalid(at, "must be an object");
    if (depth > MAX_FILTER_DEPTH)
      throw invalid(at, `is nested deeper than ${MAX_FILTER_DEPTH}`, { limit: MAX_FILTER_DEPTH });
    return input as Fields;
  }

  #member(name: string, value: unknown, place: Place): Filter {
    const at = `${place.at}.${name}`;
    const inner = { ...place, at, depth: place.depth + 1 };
    if (name === "$and" || name === "$or")
      return { kind: name === "$and" ? "and" : "or", of: this.#list(value, inner) };
    if (name === "$not") return { kind: "not", of: this.object(value, inner) };
    if (name.startsWith("$")) throw unknownOperator(name, place);
    const field = place.path === "" && name.startsWith("metadata.") ? name.slice("metadata.".length) : name;
    const path = place.path === "" ? field : `${place.path}.${field}`;
    if (field === "") throw invalid(at, "names no field");
    if (path.length > MAX_PATH_CHARACTERS)
      throw invalid(at, `is longer than ${MAX_PATH_CHARACTERS} characters`, { limit: MAX_PATH_CHARACTERS });
    return this.#field(value, { at, path, depth: inner.depth });
  }

  #list(value: unknown, place: Place): readonly Filter[] {
    if (!Array.isArray(value) || value.length === 0) throw invalid(place.at, "must be a list of at least one filter");
    return value.map((item, index) => this.object(item, { ...place, at: `${place.at}[${index}]` }));
  }

  /** What is asked of one field: a scalar, a list, operators, or the fields of an object below it. */
  #field(value: unknown, place: Place): Filter {
    const { at, path } = place;
    if (Array.isArray(value)) return this.#count({ kind: "oneOf", path, values: scalars(value, at) }, at);
    if (isScalar(value)) return this.#count({ kind: "oneOf", path, values: [wellFormed(value)] }, at);
    const fields = this.#fields(value, place);
    const names = Object.keys(fields);
    if (names.length === 0) throw invalid(at, `must be a value, a list, or an object of ${OPERATORS}`);
    if (!names.some((name) => name.startsWith("$"))) return this.object(value, place);
    return this.#operators(fields, place);
  }

  #operators(fields: Fields, place: Place): Filter {
    const of: Filter[] = [];
    const bounds: Record<string, number | string> = {};
    for (const [name, value] of Object.entries(fields)) {
      const bound = BOUNDS[name];
      if (bound) bounds[bound] = boundOf(value, `${place.at}.${name}`);
      else of.push(this.#operator(name, value, place));
    }
    if (Object.keys(bounds).length > 0) {
      const types = new Set(Object.values(bounds).map((bound) => typeof bound));
      if (types.size > 1) throw invalid(place.at, "compares with a number and with text; use one of them");
      of.push(this.#count({ kind: "between", path: place.path, bounds }, place.at));
    }
    return of.length === 1 ? of[0]! : { kind: "and", of };
  }

  #operator(name: string, value: unknown, place: Place): Filter {
    const { path } = place;
    const at = `${place.at}.${name}`;
    switch (name) {
      case "$eq":
        return this.#count({ kind: "oneOf", path, values: [scalar(value, at)] }, at);
      case "$ne":
        return { kind: "not", of: this.#count({ kind: "oneOf", path, values: [scalar(value, at)] }, at) };
      case "$in":
      case "$containsAny":
        return this.#count({ kind: "oneOf", path, values: scalars(value, at) }, at);
      case "$nin":
        return { kind: "not", of: this.#count({ kind: "oneOf", path, values: scalars(value, at) }, at) };
      case "$containsAll":
        if (Array.isArray(value) && value.length === 0) throw invalid(at, "must name at least one value");
        return this.#count({ kind: "allOf", path, values: scalars(value, at) }, at);
      case "$exists":
        return this.#existence(value, path, at);
      case "$prefix":
        return this.#count({ kind: "prefix", path, prefix: text(value, at).toWellFormed() }, at);
      case "$text":
        return this.#count({ kind: "words", path, words: words(value, at) }, at);
      case "$geoRadius":
        return this.#near(value, path, at);
      case "$not":
        return { kind: "not", of: this.#field(value, { at, path, depth: place.depth + 1 }) };
      default:
        throw unknownOperator(name, place);
    }
  }

  #existence(value: unknown, path: string, at: string): Filter {
    if (typeof value !== "boolean") throw invalid(at, "must be true or false");
    const exists = this.#count({ kind: "exists", path }, at);
    return value ? exists : { kind: "not", of: exists };
  }

  #near(value: unknown, path: string, at: string): Filter {
    const fields = typeof value === "object" && value !== null ? (value as Fields) : {};
    const center = pointOf(value as never);
    if (!center) throw invalid(at, "must have lat from -90 to 90 and lon from -180 to 180, and radiusMeters");
    const radius = fields["radiusMeters"];
    if (typeof radius !== "number" || !(radius >= 0 && radius <= MAX_RADIUS_METERS)) {
      throw invalid(`${at}.radiusMeters`, `must be a number from 0 to ${MAX_RADIUS_METERS}`, {
        limit: MAX_RADIUS_METERS,
      });
    }
    return this.#count({ kind: "near", path, center, radiusMeters: radius }, at);
  }

  #count<F extends Filter>(filter: F, at: string): F {
    if (++this.#conditions <= MAX_CONDITIONS) return filter;
    throw invalid(at, `is one condition more than the ${MAX_CONDITIONS} of a filter`, { limit: MAX_CONDITIONS });
  }
}

function unknownOperator(name: string, { at, path }: Place): VectorRefusal {
  const known = path === "" ? "$and, $or, $not and names of fields" : OPERATORS;
  return invalid(`${at}.${name}`, `is no operator here; there are ${known}`);
}

function isScalar(value: unknown): value is Scalar {
  return value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

function scalar(value: unknown, at: string): Scalar {
  if (!isScalar(value)) throw invalid(at, "must be text, a number, true, false or null");
  if (typeof value === "string") text(value, at);
  return wellFormed(value);
}

function scalars(value: unknown, at: string): readonly Scalar[] {
  if (!Array.isArray(value)) throw invalid(at, "must be a list");
  if (value.length > MAX_FILTER_VALUES) {
    throw invalid(at, `has ${value.length} values; at most ${MAX_FILTER_VALUES}`, { limit: MAX_FILTER_VALUES });
  }
  return value.map((item, index) => scalar(item, `${at}[${index}]`));
}

function boundOf(value: unknown, at: string): number | string {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value !== "string") throw invalid(at, "must be a number or text");
  return text(value, at).toWellFormed();
}

function text(value: unknown, at: string): string {
  if (typeof value !== "string") throw invalid(at, "must be text");
  if (value.length <= MAX_FILTER_TEXT_CHARACTERS) return value;
  const message = `has ${value.length} characters; at most ${MAX_FILTER_TEXT_CHARACTERS}`;
  throw invalid(at, message, { limit: MAX_FILTER_TEXT_CHARACTERS });
}

function words(value: unknown, at: string): readonly string[] {
  const found = wordsOf(text(value, at));
  if (found.length === 0) throw invalid(at, "has no word: letters or digits");
  return found;
}
