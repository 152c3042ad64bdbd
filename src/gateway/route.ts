// A route of the administration surface: its schemas validate, type the handler and describe it in the OpenAPI document.
// Guarantees: authentication comes before anything is read; bodies, queries and paths are strict; mutations have a write id.
import type { RouteConfig } from "@hono/zod-openapi";
import { z } from "@hono/zod-openapi";
import type { Mutation } from "../../objects/tenancy-rpc.ts";
import { sha256Hex } from "../access/api-key.ts";
import { ERROR_CODES, type ErrorCode } from "../wire/error-codes.ts";
import { type Access, authenticate, bearerToken, requireAccess } from "./access.ts";
import { readJsonBody } from "./body.ts";
import { type Call, identifyWrite } from "./call.ts";
import { parseWith } from "./issues.ts";
import { MAX_ADMIN_BODY_BYTES } from "./limits.ts";
import { parseQuery } from "./query.ts";

export type Method = "get" | "post" | "put" | "patch" | "delete";

export interface RouteDocument {
  readonly method: Method;
  /** `/v1/tenants/{id}` */
  readonly path: string;
  readonly summary: string;
  readonly access: Access | "data";
  /** A probe of liveness must not depend on a key that someone rotated. */
  readonly ignoresKey?: boolean;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** Of `data`; undefined = the answer is no envelope. */
  readonly data?: z.ZodType;
  readonly successStatus?: number;
  /** With the same data. */
  readonly otherSuccess?: readonly number[];
  /** The last parameter takes the rest of the path, `/` included. */
  readonly isRest?: boolean;
  readonly errors: readonly ErrorCode[];
}

/** What the dispatcher knows of a route. */
export interface Route extends RouteDocument {
  readonly run: (call: Call, params: Readonly<Record<string, string>>) => Promise<Response>;
}

/** `/v1/tenants/{id}` as the router writes it. */
export function routerPath({ path, isRest }: Pick<RouteDocument, "path" | "isRest">): string {
  return path.replace(/\{([a-z]+)\}/g, ":$1") + (isRest ? "{.+}" : "");
}

/** What a path must be to be this route's. */
export function pathPattern({ path, isRest }: Pick<RouteDocument, "path" | "isRest">): RegExp {
  const parts = isRest ? path.replace(/\{[a-z]+\}$/, ".+") : path;
  return new RegExp(`^${parts.replace(/\{[a-z]+\}/g, "[^/]+")}$`);
}

export interface RouteInput<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** Of POST, PUT, PATCH, DELETE. */
  readonly mutation: Mutation;
}

export interface RouteSpec<P extends z.ZodObject, Q extends z.ZodType, B extends z.ZodType> extends RouteDocument {
  readonly access: Access;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly handle: (call: Call, input: RouteInput<z.output<P>, z.output<Q>, z.output<B>>) => Promise<Response>;
}

const NO_FIELDS = z.strictObject({});
const NO_MUTATION: Mutation = { writeId: new Uint8Array(0), bodyHash: "" };

export function defineRoute<
  P extends z.ZodObject = typeof NO_FIELDS,
  Q extends z.ZodType = typeof NO_FIELDS,
  B extends z.ZodType = typeof NO_FIELDS,
>(spec: RouteSpec<P, Q, B>): Route {
  const { handle, ...document } = spec;
  return { ...document, run: async (call, rawParams) => handle(call, await readInput(call, spec, rawParams)) };
}

async function readInput<P extends z.ZodObject, Q extends z.ZodType, B extends z.ZodType>(
  call: Call,
  spec: RouteSpec<P, Q, B>,
  rawParams: Readonly<Record<string, string>>,
): Promise<RouteInput<z.output<P>, z.output<Q>, z.output<B>>> {
  const isAsked = spec.access !== "open" || (!spec.ignoresKey && bearerToken(call.request) !== undefined);
  if (isAsked) {
    requireAccess(await authenticate(call), spec.access, rawParams["id"]);
  }
  const params = parseWith(spec.params ?? NO_FIELDS, rawParams) as z.output<P>;
  const query = parseWith(spec.query ?? NO_FIELDS, parseQuery(call.url.search)) as z.output<Q>;
  const raw = spec.body ? await readJsonBody(call, MAX_ADMIN_BODY_BYTES) : undefined;
  const body = parseWith(spec.body ?? NO_FIELDS, raw?.json ?? {}) as z.output<B>;
  const mutation = spec.method === "get" ? NO_MUTATION : await mutationOf(call, raw?.json);
  return { params, query, body, mutation };
}

/** The body is hashed as parsed: spacing does not make another request, the order of fields does. */
async function mutationOf(call: Call, json: unknown): Promise<Mutation> {
  const scope = call.principal?.kind === "tenant" ? call.principal.tenantId : "";
  const { writeId } = await identifyWrite(call, scope);
  const text = `${call.request.method}\0${call.path}\0${json === undefined ? "" : JSON.stringify(json)}`;
  return { writeId, bodyHash: await sha256Hex(text) };
}

const errorShape = z
  .object({
    status: z.literal("error"),
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    details: z.record(z.string(), z.unknown()),
    category: z.string(),
    retryable: z.boolean(),
    requestId: z.string(),
    timestamp: z.string(),
  })
  .openapi("Error");

/** Every route may answer these. */
const COMMON_ERRORS: readonly ErrorCode[] = ["invalidRequest", "rateLimited", "internal", "unavailable"];

/** Every route with a body may answer these. */
const BODY_ERRORS: readonly ErrorCode[] = ["malformedJson", "payloadTooLarge", "unsupportedMediaType"];

const IDEMPOTENCY_HEADER = {
  name: "Idempotency-Key",
  in: "header" as const,
  required: false,
  schema: { type: "string" as const, minLength: 1, maxLength: 255 },
  description: "Makes a repetition of this request take effect once, for at least 24 hours.",
};

/** The route in the form of the OpenAPI registry. */
export function openApiOf(route: RouteDocument): RouteConfig {
  const codes = new Set<ErrorCode>([...COMMON_ERRORS, ...route.errors]);
  if (route.access !== "open") for (const code of ["unauthenticated", "forbidden"] as const) codes.add(code);
  // An open route may show more to a key, and then says when it is none.
  else if (!route.ignoresKey) codes.add("unauthenticated");
  if (route.body) for (const code of BODY_ERRORS) codes.add(code);
  const described = new Map<number, string>();
  const responses: RouteConfig["responses"] = { [route.successStatus ?? 200]: successResponse(route) };
  for (const status of route.otherSuccess ?? []) responses[status] = successResponse(route);
  for (const code of codes) {
    const { status } = ERROR_CODES[code];
    const held = described.get(status);
    const description = held ? `${held}, ${code}` : code;
    described.set(status, description);
    responses[status] = { description, content: { "application/json": { schema: errorShape } } };
  }
  const body = route.body && { content: { "application/json": { schema: route.body } }, required: true };
  return {
    method: route.method,
    path: route.path,
    summary: route.summary,
    tags: [route.path.split("/")[2] ?? "server"],
    security: route.access === "open" ? [] : [{ bearer: [] }],
    request: {
      ...(route.params ? { params: route.params } : {}),
      ...(route.query ? { query: route.query as z.ZodObject } : {}),
      ...(body ? { body } : {}),
    },
    ...(route.method === "get" ? {} : { parameters: [IDEMPOTENCY_HEADER] }),
    responses,
  };
}

function successResponse(route: RouteDocument) {
  if (!route.data) return { description: "Success" };
  const schema = z.object({
    status: z.literal("success"),
    message: z.string(),
    data: route.data,
    timestamp: z.iso.datetime(),
  });
  return { description: "Success", content: { "application/json": { schema } } };
}
