// What metadata consists of: paths, and the scalars and points at them. The same walk feeds indexes, schemas and filters.
// Guarantees: one order of values everywhere (text by UTF-8 bytes, as in segments). Pure.

export type Scalar = string | number | boolean | null;
export type Json = Scalar | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

export interface Point {
  /** Degrees, −90..90. */
  readonly lat: number;
  /** Degrees, −180..180. */
  readonly lon: number;
}

export interface MetadataVisitor {
  /** Something is at this path: a scalar, null, an object or an array, even an empty one. Once for each place. */
  present(path: string): void;
  scalar(path: string, value: Scalar): void;
  /** An object with numbers `lat` and `lon` in range; its members are visited as well. */
  point(path: string, point: Point): void;
}

/**
 * Visits all of a row's metadata. Names are joined by dots; elements of an array count at the array's own path, so
 * `{"a":[{"b":1},{"b":2}]}` has the scalars 1 and 2 at `a.b`.
 */
export function visitMetadata(metadata: JsonObject, visitor: MetadataVisitor): void {
  for (const name of Object.keys(metadata)) visit(name, metadata[name]!, visitor);
}

function visit(path: string, value: Json, visitor: MetadataVisitor): void {
  visitor.present(path);
  if (Array.isArray(value)) {
    for (const element of value as readonly Json[]) visitElement(path, element, visitor);
  } else visitElement(path, value, visitor);
}

function visitElement(path: string, value: Json, visitor: MetadataVisitor): void {
  if (!isContainer(value)) return visitor.scalar(path, wellFormed(value));
  if (Array.isArray(value)) return visit(path, value, visitor);
  const point = pointOf(value);
  if (point) visitor.point(path, point);
  const object = value as JsonObject;
  for (const name of Object.keys(object)) visit(`${path}.${name}`, object[name]!, visitor);
}

/** Half a surrogate pair has no UTF-8 form: it is compared as the replacement character, as it is stored in an index. */
export function wellFormed(value: Scalar): Scalar {
  return typeof value === "string" ? value.toWellFormed() : value;
}

export function isContainer(value: Json): value is JsonObject | readonly Json[] {
  return typeof value === "object" && value !== null;
}

export function pointOf(value: Json): Point | undefined {
  if (!isContainer(value) || Array.isArray(value)) return undefined;
  const { lat, lon } = value as { lat?: Json; lon?: Json };
  if (typeof lat !== "number" || typeof lon !== "number") return undefined;
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? { lat, lon } : undefined;
}

/** Levels of objects and arrays; stops counting beyond `most`. */
export function depthOf(value: Json, most: number): number {
  if (!isContainer(value) || most <= 0) return 0;
  let deepest = 0;
  for (const inner of Object.values(value)) deepest = Math.max(deepest, depthOf(inner, most - 1));
  return deepest + 1;
}

/** The order of their UTF-8 bytes. UTF-16's own order differs where a surrogate pair meets U+E000..U+FFFF. */
export function compareText(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    const [unitA, unitB] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (unitA !== unitB) return byteOrder(unitA) - byteOrder(unitB);
  }
  return a.length - b.length;
}

function byteOrder(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
