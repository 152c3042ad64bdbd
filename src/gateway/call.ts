// One request on its way through the gateway: ids, trace, route, caller.
// Guarantees: request id and trace id are always set and safe to print. Must not: hold the token.
import type { Scope } from "../access/types.ts";
import type { Principal } from "./authenticator.ts";
import type { Held } from "./load.ts";
import type { Services } from "./services.ts";
import type { VectorReading } from "./vector-reading.ts";
import { type WriteIdentity, writeIdentityFrom } from "./write-identity.ts";

export interface Call {
  readonly services: Services;
  readonly request: Request;
  readonly url: Target;
  /** The client's Host makes no URL: `url` is made up, and the request must be refused. */
  readonly isHostMalformed: boolean;
  /** As routed: without `/api`. */
  readonly path: string;
  readonly startedMs: number;
  readonly requestId: string;
  readonly traceId: string;
  readonly traceparent: string;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** What the isolate's bounds count it for. */
  held: Held;
  /** The pattern, for logs and metrics. */
  route: string;
  principal: Principal | undefined;
  /** Of a session's bearer: its requests have no principal. */
  sessionScope?: Scope | undefined;
  errorCode: string | undefined;
  /** Of a mutation, once it is known; every answer from then on carries it, errors too. */
  writeId: Uint8Array | undefined;
  /** Of requests that concern vectors, once they read or write. */
  reading: VectorReading | undefined;
}

/** What the bearer's credential allows; undefined: not known, or the root, which holds no data. */
export function scopeOf({ principal, sessionScope }: Call): Scope | undefined {
  return principal?.kind === "tenant" ? principal.scope : sessionScope;
}

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?$/;
const API_PREFIX = "/api/v1";
export const UNMATCHED = "unmatched";

/** `/api/v1/x` is `/v1/x`. */
export function routedPath(pathname: string): string {
  const isMirrored = pathname.startsWith(API_PREFIX) && (pathname.length === API_PREFIX.length || pathname[7] === "/");
  return isMirrored ? pathname.slice(4) : pathname;
}

/** The parts of a request's URL that anyone asks for. */
export type Target = Readonly<Pick<URL, "protocol" | "pathname" | "search">>;

/** What a URL parser leaves as it is. */
const PLAIN_PATH = /^(?:\/[A-Za-z0-9_-]+)+$/;
const PLAIN_SEARCH = /^(?:\?[A-Za-z0-9_.~=&%+-]+)?$/;

/** The last origin that a parser took and gave back unchanged: parsing costs 3 µs, and most requests come for one host. */
let known: { readonly origin: string; readonly protocol: string } | undefined;

/** The platform puts the Host header into the URL unread. */
export function targetOf(text: string): Target | undefined {
  const slash = text.indexOf("/", "https://".length);
  if (known && slash === known.origin.length && text.startsWith(known.origin)) {
    const mark = text.indexOf("?", slash);
    const pathname = mark < 0 ? text.slice(slash) : text.slice(slash, mark);
    const search = mark < 0 ? "" : text.slice(mark);
    if (PLAIN_PATH.test(pathname) && PLAIN_SEARCH.test(search)) return { protocol: known.protocol, pathname, search };
  }
  try {
    const { origin, protocol, pathname, search } = new URL(text);
    if (text.startsWith(`${origin}/`)) known = { origin, protocol };
    return { protocol, pathname, search };
  } catch {
    return undefined; // answered as 400 by the gateway
  }
}

const NO_TARGET: Target = { protocol: "http:", pathname: "/", search: "" };

export function beginCall(services: Services, request: Request, context: ExecutionContext): Call {
  const { random } = services;
  const target = targetOf(request.url);
  const url = target ?? NO_TARGET;
  const given = request.headers.get("x-request-id");
  const trace = TRACEPARENT.exec(request.headers.get("traceparent") ?? "");
  const traceId = trace?.[1] ?? random.hex(16);
  const requestId = given !== null && REQUEST_ID.test(given) ? given : traceId;
  return {
    services,
    request,
    url,
    isHostMalformed: target === undefined,
    path: routedPath(url.pathname),
    startedMs: services.now(),
    requestId,
    traceId,
    traceparent: `00-${traceId}-${random.hex(8)}-${trace?.[2] ?? "00"}`,
    waitUntil: (work) => context.waitUntil(work),
    held: { sinceMs: 0, bytes: 0 },
    route: UNMATCHED,
    principal: undefined,
    errorCode: undefined,
    writeId: undefined,
    reading: undefined,
  };
}

/** The write id of a mutation; from here on every answer to it names the id. `scope` = the tenant's id, or `` for the root. */
export async function identifyWrite(call: Call, scope: string): Promise<WriteIdentity> {
  const { random } = call.services;
  const identity = await writeIdentityFrom({
    request: call.request,
    scope,
    randomBytes: (count) => random.bytes(count),
  });
  call.writeId = identity.writeId;
  return identity;
}
