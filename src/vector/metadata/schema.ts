// A database's metadata schema: which type a field must have where a row has it. Optional; fields it does not name are free.
// Guarantees: what it accepts is bounded (limits.ts). Throws `invalidRequest` that names the field.
import { invalid } from "../failure.ts";
import { MAX_METADATA_DEPTH, MAX_PATH_CHARACTERS } from "./limits.ts";
import { depthOf, isContainer, type Json, type JsonObject, pointOf } from "./values.ts";

const SCALAR_TYPES = ["string", "int", "float", "bool", "datetime"] as const;
const TYPES = [...SCALAR_TYPES, "object", "geo"] as const;
type TypeName = (typeof TYPES)[number];

/** `string`, `array<string>`, `enum:a|b`. */
export type FieldType =
  | { readonly kind: TypeName }
  | { readonly kind: "array"; readonly of: TypeName }
  | { readonly kind: "enum"; readonly values: readonly string[] };

export type MetadataSchema = ReadonlyMap<string, FieldType>;

const DATETIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/;

/** `declared`: field → type as text; nested fields by dots. `at`: the name of the field it came in. */
export function parseSchema(declared: Readonly<Record<string, string>>, at = "metadataSchema"): MetadataSchema {
  return new Map(
    Object.entries(declared).map(([path, text]) => {
      if (path === "" || path.length > MAX_PATH_CHARACTERS)
        throw invalid(`${at}.${path}`, `must be 1 to ${MAX_PATH_CHARACTERS} characters`, {
          limit: MAX_PATH_CHARACTERS,
        });
      return [path, parseType(text, `${at}.${path}`)];
    }),
  );
}

function parseType(text: string, at: string): FieldType {
  if (text.startsWith("enum:")) {
    const values = text.slice("enum:".length).split("|");
    if (values.some((value) => value === "")) throw invalid(at, "must name its values, as in enum:active|archived");
    return { kind: "enum", values };
  }
  const inner = /^array<(.+)>$/.exec(text)?.[1];
  const name = inner ?? text;
  if (!isType(name)) {
    const known = `${TYPES.join(", ")}, array<…> of these, enum:a|b`;
    throw invalid(at, `is "${text.slice(0, 64)}"; types are ${known}`, { value: text.slice(0, 64) });
  }
  return inner === undefined ? { kind: name } : { kind: "array", of: name };
}

function isType(name: string): name is TypeName {
  return (TYPES as readonly string[]).includes(name);
}

/** Depth for every row, types for the declared fields. `null` and absence fit every type. */
export function checkMetadata(metadata: JsonObject, schema: MetadataSchema | undefined, at = "metadata"): void {
  if (depthOf(metadata, MAX_METADATA_DEPTH + 1) > MAX_METADATA_DEPTH)
    throw invalid(at, `is nested deeper than ${MAX_METADATA_DEPTH}`, { limit: MAX_METADATA_DEPTH });
  for (const [path, type] of schema ?? []) {
    const value = valueAt(metadata, path);
    if (value === undefined || value === null || fits(value, type)) continue;
    throw invalid(`${at}.${path}`, `must be ${described(type)}, as the database's metadataSchema says`);
  }
}

function valueAt(metadata: JsonObject, path: string): Json | undefined {
  if (Object.hasOwn(metadata, path)) return metadata[path];
  let value: Json | undefined = metadata;
  for (const name of path.split(".")) {
    if (value === undefined || !isContainer(value) || Array.isArray(value) || !Object.hasOwn(value, name))
      return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}

function fits(value: Json, type: FieldType): boolean {
  switch (type.kind) {
    case "string":
      return typeof value === "string";
    case "int":
      return Number.isSafeInteger(value);
    case "float":
      return typeof value === "number";
    case "bool":
      return typeof value === "boolean";
    case "datetime":
      return typeof value === "string" && DATETIME.test(value) && !Number.isNaN(Date.parse(value));
    case "object":
      return isContainer(value) && !Array.isArray(value);
    case "geo":
      return pointOf(value) !== undefined;
    case "enum":
      return typeof value === "string" && type.values.includes(value);
    case "array":
      return Array.isArray(value) && value.every((element) => fits(element, { kind: type.of }));
    default:
      return type satisfies never;
  }
}

function described(type: FieldType): string {
  if (type.kind === "enum") return `one of ${type.values.join(", ")}`;
  return type.kind === "array" ? `array<${type.of}>` : type.kind;
}
