// What is wrong with a request, field by field: `details.issues` of `invalidRequest`.
// Guarantees: each issue names its field, the value (cut, never of a field that holds user data) and the limit; bounded list.
import type { z } from "zod";
import { PublicError } from "../wire/error-codes.ts";
import { MAX_ECHO_CHARACTERS, MAX_ISSUES } from "./limits.ts";

export interface Issue {
  /** `operations[3].key`. */
  readonly path: string;
  readonly message: string;
  readonly value?: unknown;
  readonly limit?: unknown;
}

/** Never shown back: what users store, and their secrets. */
const HIDDEN_FIELDS: ReadonlySet<string> = new Set([
  "value",
  "secret",
  "values",
  "queryVector",
  "metadata",
  "input",
  "text",
  "queryText",
]);

export function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? String(part) : `.${String(part)}`;
  }
  return text.slice(0, MAX_ECHO_CHARACTERS);
}

function cut(text: string): string {
  const characters = text.isWellFormed() ? text : text.toWellFormed();
  return characters.length > MAX_ECHO_CHARACTERS ? `${characters.slice(0, MAX_ECHO_CHARACTERS)}…` : characters;
}

/** What may be shown of a field's value; undefined = nothing. */
export function echo(value: unknown): unknown {
  if (typeof value === "string") return cut(value);
  if (value === null || typeof value === "boolean" || typeof value === "number") return value;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "object" ? "an object" : undefined;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

function limitOf(issue: z.core.$ZodIssue): unknown {
  switch (issue.code) {
    case "too_big":
      return Number(issue.maximum);
    case "too_small":
      return Number(issue.minimum);
    case "invalid_value":
      return issue.values;
    case "invalid_union":
      return "options" in issue ? issue.options : undefined;
    case "custom":
      return issue.params?.["limit"];
    default:
      return undefined;
  }
}

const listed = (values: readonly unknown[]): string => `one of ${values.map(String).join(", ")}`;

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case "invalid_type":
      if (value === undefined) return "is required";
      // What a schema says of its own is better: it names the limits.
      return issue.message.startsWith("Invalid input") ? `must be of type ${issue.expected}` : issue.message;
    case "invalid_union": {
      if (!("options" in issue) || !issue.options) return issue.message;
      return value === undefined ? `is required: ${listed(issue.options)}` : `must be ${listed(issue.options)}`;
    }
    case "invalid_value":
      return value === undefined ? "is required" : `must be one of ${issue.values.join(", ")}`;
    case "too_big":
      return `is over the limit of ${issue.maximum}`;
    case "too_small":
      return `is under the least of ${issue.minimum}`;
    default:
      return issue.message;
  }
}

function* issuesOf(issue: z.core.$ZodIssue, input: unknown): Generator<Issue> {
  if (issue.code === "unrecognized_keys") {
    for (const key of issue.keys) yield { path: pathText([...issue.path, cut(key)]), message: "is not a known field" };
    return;
  }
  const value = valueAt(input, issue.path);
  const isHidden = HIDDEN_FIELDS.has(String(issue.path.at(-1)));
  const shown = isHidden ? undefined : echo(value);
  const limit = limitOf(issue);
  yield {
    path: pathText(issue.path),
    message: messageOf(issue, value),
    ...(shown === undefined ? {} : { value: shown }),
    ...(limit === undefined ? {} : { limit }),
  };
}

export function invalidRequest(issues: readonly Issue[]): PublicError {
  const shown = issues.slice(0, MAX_ISSUES);
  const first = shown[0];
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  const parts = first ? [first.path, first.message].filter(Boolean).join(" ") : "the request is invalid";
  const limit =
    typeof first?.limit === "number" && !parts.includes(String(first.limit)) ? `; the limit is ${first.limit}` : "";
  return new PublicError("invalidRequest", `${parts}${limit}${more}`, { issues: shown });
}

/** A schema's own limit is told in place of the range of whole numbers, which is over it. */
function isSuperseded(issue: z.core.$ZodIssue, issues: readonly z.core.$ZodIssue[]): boolean {
  if ((issue.code !== "too_big" && issue.code !== "too_small") || issue.origin !== "int") return false;
  const path = pathText(issue.path);
  return issues.some((other) => other !== issue && other.code === issue.code && pathText(other.path) === path);
}

/** The parsed output, or `invalidRequest`. */
export function parseWith<T extends z.ZodType>(schema: T, input: unknown): z.output<T> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issues: Issue[] = [];
  for (const issue of result.error.issues) {
    if (isSuperseded(issue, result.error.issues)) continue;
    issues.push(...issuesOf(issue, input));
    if (issues.length > MAX_ISSUES) break;
  }
  throw invalidRequest(issues);
}
