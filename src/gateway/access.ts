// From a request to its caller: the token, then what the route requires.
// Guarantees: a tenant's key learns nothing about other tenants: theirs and absent ones are refused alike.
import { scopeAllows } from "../access/scope.ts";
import type { Scope } from "../access/types.ts";
import { PublicError } from "../wire/error-codes.ts";
import type { Principal, TenantPrincipal } from "./authenticator.ts";
import type { Call } from "./call.ts";

/** Who may call a route. `ownTenant`: the root, or an admin key of the tenant named in the path. */
export type Access = "open" | "anyKey" | "root" | "ownTenant";

const BEARER = /^bearer +(\S+)$/i;

/** Undefined when there is none. */
export function bearerToken(request: Request): string | undefined {
  const header = request.headers.get("authorization");
  if (header === null) return undefined;
  if (header.startsWith("Bearer ") && !header.includes(" ", 7)) return header.slice(7);
  return BEARER.exec(header)?.[1];
}

/** Throws `unauthenticated`, or `rateLimited`: each authenticated request counts once. */
export function authenticate(call: Call, token = bearerToken(call.request)): Principal | Promise<Principal> {
  const found = call.services.authenticator.authenticate(token, call.waitUntil);
  if (found instanceof Promise) return found.then((principal) => admit(call, principal));
  return admit(call, found);
}

/** Counts a request of a caller that is known. */
export function admit<P extends Principal>(call: Call, principal: P): P | Promise<P> {
  call.principal = principal;
  if (principal.kind === "root" || !principal.rate) return principal;
  const waiting = call.services.rates.admit(principal.rate, 1, call.waitUntil);
  return waiting ? waiting.then(() => principal) : principal;
}

/** For requests that are many: those beyond the one that {@link authenticate} counted. */
export function admitMore(
  { services, waitUntil }: Call,
  { rate }: Pick<TenantPrincipal, "rate">,
  more: number,
): Promise<void> | undefined {
  return rate && more > 0 ? services.rates.admit(rate, more, waitUntil, 1) : undefined;
}

export function forbidden(requiredScope: Scope | "root", message: string): PublicError {
  return new PublicError("forbidden", message, { requiredScope });
}

/** The data path: a tenant's key of at least this scope. */
export function requireScope(principal: Principal, required: Scope): TenantPrincipal {
  if (principal.kind === "root") {
    throw forbidden(required, `the root key holds no data; use a tenant's key of scope ${required}`);
  }
  if (scopeAllows(principal.scope, required)) return principal;
  throw forbidden(required, `the API key is ${principal.scope}; this needs ${required}`);
}

/** Administration routes. `tenantId` = the one named in the path. */
export function requireAccess(principal: Principal, access: Access, tenantId: string | undefined): void {
  if (principal.kind === "root" || access === "anyKey" || access === "open") return;
  if (access === "root") throw forbidden("root", "this needs the root key");
  if (principal.tenantId !== tenantId) throw forbidden("root", "a tenant's key opens its own tenant only");
  if (!scopeAllows(principal.scope, "admin"))
    throw forbidden("admin", `the API key is ${principal.scope}; this needs admin`);
}
