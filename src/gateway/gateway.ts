// The HTTP front of the Worker: authenticate, validate, route, answer. No business logic.
// Guarantees: every request ends in an answer of the envelope, is counted by route pattern and, if asked for, logged in one
// line without path, query, key or value. Must not: keep anything of one request for another but caches and counters.
import type { Env } from "../../objects/env.ts";
import { apiHeaders, errorAnswer } from "./answers.ts";
import { beginCall, type Call } from "./call.ts";
import { answerEtcd, etcdErrorAnswer, isEtcdPath } from "./etcd.ts";
import { invalidRequest } from "./issues.ts";
import { type Application, createApplication } from "./openapi.ts";
import type { Route } from "./route.ts";
import { allowedMethods, allRoutes, unroutedError } from "./routes.ts";
import { createServices, type ServiceOverrides, type Services } from "./services.ts";

const KNOWN_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export interface Gateway {
  readonly routes: readonly Route[];
  readonly application: Application;
  readonly services: Services;
  handle(request: Request, context: ExecutionContext): Promise<Response>;
}

export function createGateway(env: Env, overrides?: ServiceOverrides): Gateway {
  const services = createServices(env, overrides);
  const routes = allRoutes(services);
  const application = createApplication(
    routes,
    (call, json) => new Response(json, { headers: apiHeaders(call, { "cache-control": "no-cache" }) }),
  );
  const directOf = directRoutes(routes);
  const dispatch = async (call: Call): Promise<Response> => {
    const { method } = call.request;
    if (call.isHostMalformed) throw invalidRequest([{ path: "Host", message: "is not a host with an optional port" }]);
    if (isEtcdPath(call.path)) return answerEtcd(call);
    if (method === "OPTIONS") return options(call, routes);
    const direct = directOf(method === "HEAD" ? "GET" : method, call.path);
    if (!direct) return application.fetch(routable(call.request), { call });
    call.route = direct.route.path;
    return direct.route.run(call, direct.params);
  };
  const handle = async (request: Request, context: ExecutionContext): Promise<Response> => {
    const call = beginCall(services, request, context);
    let response: Response;
    try {
      call.held = services.load.enter(call.path);
      response = await dispatch(call);
    } catch (error) {
      response = isEtcdPath(call.path) ? etcdErrorAnswer(call, error) : errorAnswer(call, error);
    }
    services.load.leave(call.held);
    finish(call, response.status);
    return request.method === "HEAD" && response.body ? new Response(null, response) : response;
  };
  return { routes, application, services, handle };
}

interface Direct {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

/**
 * The router costs as much as a read does: a path without parameters is looked up, one whose parameter is all the rest (a key of the
 * configuration store) is told by how it begins, others by their parts. What is percent-encoded is left to the router.
 */
function directRoutes(routes: readonly Route[]): (method: string, path: string) => Direct | undefined {
  const exact = new Map<string, Direct>();
  const rest: { readonly method: string; readonly prefix: string; readonly name: string; readonly route: Route }[] = [];
  /** By method and number of parts, in the router's order. */
  const parted = new Map<string, Parted[]>();
  for (const route of routes) {
    const method = route.method.toUpperCase();
    const [prefix = "", name, ...others] = route.path.split(/[{}]/);
    if (name === undefined) exact.set(`${method} ${route.path}`, { route, params: {} });
    else if (!route.isRest) {
      const parts = route.path.split("/");
      const key = `${method} ${parts.length}`;
      parted.set(key, [...(parted.get(key) ?? []), { route, parts }]);
    } else if (others.join("") === "") rest.push({ method, prefix, name, route });
  }
  return (method, path) => {
    const found = exact.get(`${method} ${path}`);
    if (found) return found;
    if (path.includes("%")) return undefined;
    for (const { method: wanted, prefix, name, route } of rest)
      if (method === wanted && path.length > prefix.length && path.startsWith(prefix))
        return { route, params: { [name]: path.slice(prefix.length) } };
    const given = path.split("/");
    for (const { route, parts } of parted.get(`${method} ${given.length}`) ?? []) {
      const params = paramsOf(parts, given);
      if (params) return { route, params };
    }
    return undefined;
  };
}

interface Parted {
  readonly route: Route;
  /** `{db}` where a parameter stands. */
  readonly parts: readonly string[];
}

function paramsOf(parts: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  const params: Record<string, string> = {};
  for (const [at, part] of parts.entries()) {
    const is = given[at]!;
    if (part.startsWith("{") && is !== "") params[part.slice(1, -1)] = is;
    else if (part !== is) return undefined;
  }
  return params;
}

/** HEAD is a GET without its body. One that came with a body cannot be made a GET as it is. */
function routable(request: Request): Request {
  return request.method === "HEAD" ? new Request(request.url, { headers: request.headers }) : request;
}

function options(call: Call, routes: readonly Route[]): Response {
  const allow = allowedMethods(routes, call.path);
  if (allow.length === 0) throw unroutedError(routes, "OPTIONS", call.path);
  return new Response(null, { status: 204, headers: apiHeaders(call, { allow: allow.join(", ") }) });
}

function finish(call: Call, status: number): void {
  const { services, request, route, errorCode } = call;
  const method = KNOWN_METHODS.has(request.method) ? request.method : "OTHER";
  const seconds = Math.max(0, services.now() - call.startedMs) / 1000;
  services.meter.record({ route, method, status, code: errorCode, seconds });
  if (services.settings.log.requests && services.log.isOn("info")) {
    const { principal, requestId, traceId } = call;
    const caller = principal?.kind === "tenant" ? principal.tenantId : principal?.kind;
    const ms = Math.round(seconds * 1e6) / 1000;
    services.log.info("request", { method, route, status, code: errorCode, ms, caller, requestId, traceId });
  }
  services.background.wake(call.waitUntil);
}
