// A route of /v1/config: the caller and the scope, the write id, the fields, the keyspace; then its handler.
// Guarantees: authentication comes before anything is read; a mutation has its write id before it can fail.
import { z } from "@hono/zod-openapi";
import type { Scope } from "../access/types.ts";
import { type ErrorCode, PublicError } from "../wire/error-codes.ts";
import { authenticate, requireScope } from "./access.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import { parseJsonObject, readBytes, requireJsonType, requirePlainBody } from "./body.ts";
import { type Call, identifyWrite } from "./call.ts";
import type { KeyspaceName } from "./config-call.ts";
import { camelNames, queryFields, type RawObject } from "./config-fields.ts";
import { parseWith } from "./issues.ts";
import { MAX_ADMIN_BODY_BYTES } from "./limits.ts";
import type { Route, RouteDocument } from "./route.ts";

export interface ConfigInput<Q, B> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Q;
  readonly body: B;
  /** The body as it was sent; empty where there is none. */
  readonly raw: RawObject;
  readonly principal: TenantPrincipal;
  readonly keyspace: KeyspaceName;
}

/** What names the keyspace of a request. */
export type KeyspaceInput = Pick<ConfigInput<unknown, unknown>, "keyspace">;

interface ConfigRouteSpec<Q extends z.ZodType, B extends z.ZodType> extends Omit<RouteDocument, "access"> {
  readonly query: Q;
  readonly body?: B;
  readonly scope: Scope;
  readonly maxBodyBytes?: number;
  /** The body may be bytes of another type, which the handler judges. */
  readonly takesBytes?: boolean;
  /** The body may be of this type too, which the handler judges. */
  readonly takesType?: string;
  /** The body is bytes of this type and nothing else, which the handler judges. */
  readonly bodyType?: string;
  /** The handler reads the body itself, piece by piece. */
  readonly streamsBody?: boolean;
  /** Before the schema judges the body. */
  readonly prepare?: (json: Record<string, unknown>) => void;
  readonly handle: (call: Call, input: ConfigInput<z.output<Q>, z.output<B>>) => Promise<Response>;
}

/** What a keyspace may answer to any write. */
export const CONFIG_WRITE_ERRORS = [
  "unknownOutcome",
  "idempotencyKeyReused",
  "quotaExceeded",
  "conflict",
] as const satisfies readonly ErrorCode[];

const NO_FIELDS = z.strictObject({});
const NO_BYTES: RawObject = { bytes: new Uint8Array(0), start: 0 };
export const BYTES_TYPE = "application/octet-stream";

export function configRoute<Q extends z.ZodType, B extends z.ZodType = typeof NO_FIELDS>(
  spec: ConfigRouteSpec<Q, B>,
): Route {
  const {
    handle,
    scope,
    maxBodyBytes = MAX_ADMIN_BODY_BYTES,
    takesBytes,
    takesType,
    bodyType,
    streamsBody,
    prepare,
    ...document
  } = spec;
  return {
    ...document,
    access: "data",
    async run(call, params) {
      const principal = requireScope(await authenticate(call), scope);
      if (spec.method !== "get") await identifyWrite(call, principal.tenantId);
      const query = parseWith(spec.query, queryFields(call.url.search)) as z.output<Q>;
      const { namespace = "default" } = query as { namespace?: string };
      const keyspace = { tenant: principal.caller.tenant, namespace };
      const common = { params, query, principal, keyspace };
      if (bodyType) {
        requireType(call.request, bodyType);
        if (streamsBody) requirePlainBody(call.request);
        const bytes = streamsBody ? NO_BYTES.bytes : await readBytes(call, maxBodyBytes);
        return handle(call, { ...common, body: {} as z.output<B>, raw: { bytes, start: 0 } });
      }
      // A delete may say everything in its query.
      if (!spec.body || (spec.method === "delete" && call.request.body === null))
        return handle(call, { ...common, body: {} as z.output<B>, raw: NO_BYTES });
      if ((takesBytes && isBytes(call.request)) || (takesType && mediaTypeOf(call.request) === takesType)) {
        const bytes = await readBytes(call, maxBodyBytes);
        return handle(call, { ...common, body: {} as z.output<B>, raw: { bytes, start: 0 } });
      }
      requireJsonType(call.request);
      const bytes = await readBytes(call, maxBodyBytes);
      const json = parseJsonObject(bytes);
      camelNames(json);
      prepare?.(json);
      const body = parseWith(spec.body, json) as z.output<B>;
      return handle(call, { ...common, body, raw: { bytes, start: 0 } });
    },
  };
}

export function isBytes(request: Request): boolean {
  return mediaTypeOf(request) === BYTES_TYPE;
}

export function mediaTypeOf(request: Request): string {
  return (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
}

function requireType(request: Request, wanted: string): void {
  const type = mediaTypeOf(request);
  if (type === wanted) return;
  const shown = type === "" ? "no Content-Type" : `Content-Type ${type.slice(0, 60)}`;
  throw new PublicError("unsupportedMediaType", `the body came with ${shown}; send ${wanted}`);
}
