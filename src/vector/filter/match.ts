// What a filter means, for one row's metadata: the definition that indexes are held to, and the way for rows without an index.
import { distanceMeters } from "../metadata/geo.ts";
import { compareText, type JsonObject, type Point, type Scalar, visitMetadata } from "../metadata/values.ts";
import { wordsOf } from "../metadata/words.ts";
import { type Bounds, type Condition, type Filter, isWithin } from "./filter.ts";

/** What is at the paths that filters ask for. */
interface Found {
  readonly scalars: Scalar[];
  readonly points: Point[];
}

export function matches(filter: Filter, metadata: JsonObject): boolean {
  return judge(filter, foundIn(metadata));
}

function foundIn(metadata: JsonObject): ReadonlyMap<string, Found> {
  const paths = new Map<string, Found>();
  const at = (path: string): Found => {
    let found = paths.get(path);
    if (!found) {
      found = { scalars: [], points: [] };
      paths.set(path, found);
    }
    return found;
  };
  visitMetadata(metadata, {
    present: at,
    scalar: (path, value) => at(path).scalars.push(value),
    point: (path, point) => at(path).points.push(point),
  });
  return paths;
}

function judge(filter: Filter, paths: ReadonlyMap<string, Found>): boolean {
  switch (filter.kind) {
    case "and":
      return filter.of.every((inner) => judge(inner, paths));
    case "or":
      return filter.of.some((inner) => judge(inner, paths));
    case "not":
      return !judge(filter.of, paths);
    default: {
      const found = paths.get(filter.path);
      return found !== undefined && holds(filter, found);
    }
  }
}

function holds(condition: Condition, { scalars, points }: Found): boolean {
  switch (condition.kind) {
    case "exists":
      return true;
    case "oneOf":
      return condition.values.some((value) => scalars.includes(value));
    case "allOf":
      return condition.values.every((value) => scalars.includes(value));
    case "between":
      return scalars.some((value) => isBetween(value, condition.bounds));
    case "prefix":
      return scalars.some((value) => typeof value === "string" && value.startsWith(condition.prefix));
    case "words": {
      const words = new Set(scalars.flatMap((value) => (typeof value === "string" ? wordsOf(value) : [])));
      return condition.words.every((word) => words.has(word));
    }
    case "near":
      return points.some((point) => distanceMeters(condition.center, point) <= condition.radiusMeters);
    default:
      return condition satisfies never;
  }
}

function isBetween(value: Scalar, bounds: Bounds): boolean {
  const sample = bounds.gt ?? bounds.gte ?? bounds.lt ?? bounds.lte;
  if (typeof value === "number" && typeof sample === "number") return isWithin(value, bounds, (a, b) => a - b);
  return typeof value === "string" && typeof sample === "string" && isWithin(value, bounds, compareText);
}
