// What WebSocket upgrades have in common: whose they are, and what is handed on to the object that ends them.
// Guarantees: the API key goes no further than here.
import { isLeaving } from "../../objects/leaving.ts";
import type { Caller, Credential, RateLimit } from "../access/types.ts";
import { type ErrorCode, PublicError } from "../wire/error-codes.ts";
import { authenticate, bearerToken, requireScope } from "./access.ts";
import type { TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";

/** Browsers cannot set headers on a WebSocket: the key comes as base64url behind this. */
const BEARER_SUBPROTOCOL = "jade.bearer.";

export function isUpgrade(request: Request): boolean {
  return request.headers.get("upgrade")?.toLowerCase() === "websocket";
}

export function offeredProtocols(request: Request): readonly string[] {
  const header = request.headers.get("sec-websocket-protocol");
  return header === null ? [] : header.split(",").map((name) => name.trim());
}

function protocolToken(protocols: readonly string[]): string | undefined {
  const carrier = protocols.find((name) => name.startsWith(BEARER_SUBPROTOCOL));
  if (carrier === undefined) return undefined;
  try {
    const base64 = carrier.slice(BEARER_SUBPROTOCOL.length).replaceAll("-", "+").replaceAll("_", "/");
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  } catch {
    return undefined; // not base64: answered like any unknown key
  }
}

/** Who asks, by header or subprotocol, with the scope read-only at least. */
export async function authenticateUpgrade(call: Call): Promise<TenantPrincipal> {
  if (isLeaving()) throw new PublicError("unavailable", "this server is being stopped", { retryAfterSeconds: 1 });
  const token = bearerToken(call.request) ?? protocolToken(offeredProtocols(call.request));
  return requireScope(await authenticate(call, token), "read-only");
}

export interface Bearer {
  readonly caller: Caller;
  /** To end what was opened when its credential ends, and to keep its limits. */
  readonly credential: Credential;
  readonly tenantLimit: RateLimit | null;
  readonly keyLimit: RateLimit | null;
}

export function bearerOf({ caller, credential, view }: TenantPrincipal): Bearer {
  const key = credential.kind === "key" ? view.keys.find(({ keyId }) => keyId === credential.keyId) : undefined;
  return { caller, credential, tenantLimit: view.rateLimit ?? null, keyLimit: key?.rateLimit ?? null };
}

/** The upgrade as the object gets it. */
export function handedOn(request: Request, headers: Readonly<Record<string, string>>): Request {
  const handed = new Headers({ upgrade: "websocket", ...headers });
  for (const name of ["sec-websocket-key", "sec-websocket-version"]) {
    const value = request.headers.get(name);
    if (value !== null) handed.set(name, value);
  }
  return new Request(request.url, { headers: handed });
}

/** Throws the object's refusal. */
export function admittedUpgrade(response: Response): Response {
  const refusal = response.headers.get("jade-refusal");
  if (refusal === null) return response;
  const { code, message } = JSON.parse(refusal) as { readonly code: ErrorCode; readonly message: string };
  throw new PublicError(code, message);
}
