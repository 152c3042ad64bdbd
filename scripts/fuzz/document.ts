// The OpenAPI document as the fuzzer sees it: operations, generators of valid bodies, judges of answers.
// Guarantees: knows nothing of the routes but what the document says.
import fc from "fast-check";
import { z } from "zod";

export interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
}

interface Parameter {
  readonly name: string;
  readonly in: "query" | "path" | "header";
  readonly required?: boolean;
  readonly schema: Schema;
}

interface Content {
  readonly content?: { readonly "application/json"?: { readonly schema: Schema } };
}

interface OperationObject {
  readonly security?: readonly unknown[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content & { readonly description: string }>>;
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

interface DocumentedAnswer {
  /** Error codes that the description lists. */
  readonly codes: ReadonlySet<string>;
  /** What is wrong with a body; undefined = nothing, or no schema. */
  readonly problem: (json: unknown) => string | undefined;
}

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly isOpen: boolean;
  readonly query: readonly Parameter[];
  readonly body: fc.Arbitrary<unknown> | undefined;
  readonly queryValues: fc.Arbitrary<Readonly<Record<string, unknown>>>;
  readonly answers: ReadonlyMap<number, DocumentedAnswer>;
}

const MAX_ITEMS = 8;

function stringsOf(schema: Schema): fc.Arbitrary<string> {
  if (schema.format === "date-time")
    return fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true }).map((date) => date.toISOString());
  if (schema.pattern) return fc.stringMatching(new RegExp(schema.pattern), { size: "small" });
  return fc.string({
    unit: "binary",
    minLength: schema.minLength ?? 0,
    maxLength: Math.min(schema.maxLength ?? 60, 60),
    size: "medium",
  });
}

function objectsOf(schema: Schema): fc.Arbitrary<unknown> {
  const names = Object.keys(schema.properties ?? {});
  if (names.length === 0) return fc.constant({});
  const model = Object.fromEntries(names.map((name) => [name, valuesOf(schema.properties![name]!)]));
  return fc.record(model, { requiredKeys: [...(schema.required ?? [])] });
}

/** Values that a schema of the document allows, as far as it can say it. */
export function valuesOf(schema: Schema): fc.Arbitrary<unknown> {
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return fc.oneof(...choices.map(valuesOf));
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length > 1) return fc.oneof(...types.map((type) => valuesOf({ ...schema, type })));
  switch (types[0]) {
    case "string":
      return stringsOf(schema);
    case "integer":
      return fc.maxSafeInteger().map((n) => {
        const [least, most] = [schema.minimum ?? 0, schema.maximum ?? Number.MAX_SAFE_INTEGER];
        return least + (Math.abs(n) % (most - least + 1));
      });
    case "number":
      return fc.double({ noNaN: true });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "array":
      return fc.array(valuesOf(schema.items ?? {}), { maxLength: Math.min(schema.maxItems ?? MAX_ITEMS, MAX_ITEMS) });
    case "object":
      return objectsOf(schema);
    default:
      return fc.jsonValue({ maxDepth: 3 });
  }
}

/** Schemas of the document refer to a few shared ones only, so they are put in place. */
function inlined(schema: unknown, shared: Readonly<Record<string, unknown>>): unknown {
  if (Array.isArray(schema)) return schema.map((item) => inlined(item, shared));
  if (typeof schema !== "object" || schema === null) return schema;
  const { $ref } = schema as { $ref?: string };
  if ($ref !== undefined) return inlined(shared[$ref.split("/").at(-1)!], shared);
  return Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, inlined(value, shared)]));
}

function judgeOf(schema: unknown): DocumentedAnswer["problem"] {
  if (schema === undefined) return () => undefined;
  const judge = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
  return (json) => {
    const result = judge.safeParse(json);
    return result.success ? undefined : z.prettifyError(result.error);
  };
}

export function operationsOf(document: OpenApi): readonly Operation[] {
  const { schemas } = document.components;
  const judges = new Map<string, DocumentedAnswer["problem"]>();
  const operations: Operation[] = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, object] of Object.entries(methods)) {
      const query = (object.parameters ?? []).filter((parameter) => parameter.in === "query");
      const answers = new Map<number, DocumentedAnswer>();
      for (const [status, { description, content }] of Object.entries(object.responses)) {
        const schema = inlined(content?.["application/json"]?.schema, schemas);
        const text = JSON.stringify(schema);
        const problem = judges.get(text) ?? judgeOf(schema);
        judges.set(text, problem);
        answers.set(Number(status), { codes: new Set(description.split(", ")), problem });
      }
      const body = object.requestBody?.content?.["application/json"]?.schema;
      const model = Object.fromEntries(query.map(({ name, schema }) => [name, valuesOf(schema)]));
      const requiredKeys = query.filter(({ required }) => required).map(({ name }) => name);
      operations.push({
        ...{ method: method.toUpperCase(), path, query, answers },
        isOpen: object.security?.length === 0,
        body: body && valuesOf(body),
        queryValues: fc.record(model, { requiredKeys }) as Operation["queryValues"],
      });
    }
  }
  return operations;
}
