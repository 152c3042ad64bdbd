// Turns zod's issues into lines an operator can act on: field, where it came from, its value, and the limit.
// Guarantees: one problem for each wrong field, unknown fields with the nearest known name.

import type { z } from "zod";
import { nearestName } from "./nearest-name.ts";

export interface ConfigProblem {
  /** Dotted path in jade.yaml. */
  readonly field: string;
  /** JSON of the value that was given, undefined when there is none to show. */
  readonly value: string | undefined;
  readonly message: string;
}

type Issue = z.core.$ZodIssue;

const MAX_SHOWN = 80;

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function show(value: unknown): string | undefined {
  const json = JSON.stringify(value);
  if (json === undefined) return undefined;
  return json.length > MAX_SHOWN ? `${json.slice(0, MAX_SHOWN)}…` : json;
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;

/** The fields of an object schema, seen through defaults; none for anything else. */
function shapeOf(schema: z.core.$ZodType | undefined): Shape {
  const def = schema?._zod.def;
  if (def === undefined) return {};
  if ("innerType" in def) return shapeOf(def.innerType as z.core.$ZodType);
  return "shape" in def ? (def.shape as Shape) : {};
}

/** Of a list, seen through defaults. */
function elementOf(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  const def = schema?._zod.def;
  if (def === undefined) return undefined;
  if ("innerType" in def) return elementOf(def.innerType as z.core.$ZodType);
  return "element" in def ? (def.element as z.core.$ZodType) : undefined;
}

function knownNames(schema: z.core.$ZodType, path: readonly PropertyKey[]): readonly string[] {
  let at: z.core.$ZodType | undefined = schema;
  for (const key of path) at = typeof key === "number" ? elementOf(at) : shapeOf(at)[String(key)];
  return Object.keys(shapeOf(at));
}

function describeIssue(issue: Issue): string {
  switch (issue.code) {
    case "too_big":
      return `must be at most ${issue.maximum}${issue.origin === "string" ? " characters" : ""}`;
    case "too_small":
      return issue.origin === "string" ? "must not be empty" : `must be at least ${issue.minimum}`;
    case "invalid_value":
      return `must be one of ${issue.values.map((value) => String(value)).join(", ")}`;
    case "invalid_type":
      return `must be ${issue.expected === "int" ? "a whole number" : `of type ${issue.expected}`}`;
    default:
      return issue.message;
  }
}

export function problemsOf(
  schema: z.core.$ZodType,
  input: unknown,
  issues: readonly Issue[],
): readonly ConfigProblem[] {
  return issues.flatMap((issue): ConfigProblem[] => {
    if (issue.code !== "unrecognized_keys") {
      const value = show(valueAt(input, issue.path));
      return [{ field: issue.path.join(".") || "(file)", value, message: describeIssue(issue) }];
    }
    const known = knownNames(schema, issue.path);
    return issue.keys.map((key) => {
      const near = nearestName(key, known);
      const hint = near === undefined ? `known here: ${known.join(", ")}` : `did you mean \`${near}\`?`;
      const path = [...issue.path, key];
      return { field: path.join("."), value: show(valueAt(input, path)), message: `unknown field; ${hint}` };
    });
  });
}
